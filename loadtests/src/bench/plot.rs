//! The comparison as one picture: each proxy's figure over Envoy's, test by test.

use std::fmt::Write as _;

use super::cases::{CASES, Case};
use super::results::Results;
use super::stats;
use super::table::number;

const BARS: [(&str, &str); 3] = [("outrigger", "#1f6feb"), ("haproxy", "#8b949e"), ("nginx", "#c9d1d9")];
const REFERENCE: &str = "envoy";
const LEFT: f64 = 300.0;
const WIDTH: f64 = 520.0;
const BAR: f64 = 9.0;
const ROW: f64 = 40.0;
const TOP: f64 = 64.0;
/// Bars end here; longer ones say how long they are.
const LONGEST: f64 = 1.6;

/// An SVG picture; without rows of Envoy it has no bars.
pub fn svg(results: &Results) -> String {
    let cases: Vec<&Case> = CASES.iter().filter(|case| results.spread(case.name, REFERENCE, case.key()).is_some()).collect();
    let height = TOP + ROW * cases.len() as f64 + 20.0;
    let mut picture = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {height}\" font-family=\"sans-serif\" font-size=\"12\" role=\"img\" \
         aria-label=\"Cost of Outrigger, HAProxy and nginx relative to Envoy\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"12\" y=\"24\" font-size=\"15\" fill=\"#1f2328\">Cost relative to Envoy (shorter is cheaper)</text>\n",
        LEFT + WIDTH + 60.0
    );
    legend(&mut picture);
    grid(&mut picture, height);
    for (index, case) in cases.iter().enumerate() {
        group(&mut picture, results, case, TOP + ROW * index as f64);
    }
    picture + "</svg>\n"
}

fn x(ratio: f64) -> f64 {
    LEFT + WIDTH * ratio.min(LONGEST) / LONGEST
}

fn add(picture: &mut String, element: std::fmt::Arguments<'_>) {
    let written = picture.write_fmt(element);
    debug_assert!(written.is_ok(), "writing to a string");
    picture.push('\n');
}

fn legend(picture: &mut String) {
    for (index, (peer, colour)) in BARS.iter().enumerate() {
        let at = LEFT + 100.0 * index as f64;
        add(picture, format_args!("<rect x=\"{at}\" y=\"38\" width=\"12\" height=\"12\" fill=\"{colour}\"/>"));
        add(picture, format_args!("<text x=\"{}\" y=\"48\" fill=\"#1f2328\">{peer}</text>", at + 18.0));
    }
}

fn grid(picture: &mut String, height: f64) {
    for step in 0..=6_u8 {
        let ratio = f64::from(step) / 4.0;
        let colour = if step == 4 { "#cf222e" } else { "#eaeef2" };
        let at = x(ratio);
        add(picture, format_args!("<line x1=\"{at}\" y1=\"{}\" x2=\"{at}\" y2=\"{}\" stroke=\"{colour}\"/>", TOP - 4.0, height - 18.0));
        add(picture, format_args!("<text x=\"{at}\" y=\"{}\" text-anchor=\"middle\" fill=\"#57606a\">{ratio}</text>", height - 4.0));
    }
}

fn group(picture: &mut String, results: &Results, case: &Case, top: f64) {
    let middle = top + ROW / 2.0;
    add(picture, format_args!("<text x=\"12\" y=\"{}\" fill=\"#1f2328\">{}</text>", middle - 2.0, case.name));
    add(picture, format_args!("<text x=\"12\" y=\"{}\" font-size=\"10\" fill=\"#57606a\">{}</text>", middle + 11.0, case.what));
    for (index, (peer, colour)) in BARS.iter().enumerate() {
        let Some(ratio) = results.ratio(case.name, case.key(), peer, REFERENCE) else { continue };
        let y = top + 4.0 + (BAR + 2.0) * index as f64;
        let end = x(ratio);
        add(picture, format_args!("<rect x=\"{LEFT}\" y=\"{y}\" width=\"{}\" height=\"{BAR}\" fill=\"{colour}\"/>", (end - LEFT).max(1.0)));
        let Some(value) = stats::spread(results.turns(case.name, peer, case.key()).into_values()) else { continue };
        let text = format!("{} ({})", number(ratio), number(value.median));
        add(picture, format_args!("<text x=\"{}\" y=\"{}\" font-size=\"9\" fill=\"#1f2328\">{text}</text>", end + 4.0, y + BAR - 1.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::results::tests::row;

    #[test]
    fn bars_are_as_long_as_the_ratios() {
        let rows = vec![row("start", "outrigger", 0, &[("start_ms", 10.0)]), row("start", "envoy", 0, &[("start_ms", 20.0)])];
        let picture = svg(&Results { rows, ..Results::default() });
        assert!(picture.contains(&format!("width=\"{}\" height=\"9\" fill=\"#1f6feb\"", WIDTH * 0.5 / LONGEST)), "{picture}");
        assert!(picture.contains(">0.50 (10.0)<") && picture.ends_with("</svg>\n"), "{picture}");
    }
}
