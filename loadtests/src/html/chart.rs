//! One plot: scales, axes and lines as SVG, and what the readout under the pointer shows.

use std::fmt::{self, Write};

use serde::Serialize;

use super::text::{Escaped, json};

pub(crate) const WIDTH: f64 = 720.0;
pub(crate) const HEIGHT: f64 = 280.0;
const LEFT: f64 = 66.0;
const RIGHT: f64 = 26.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 40.0;

/// From values to places on an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scale {
    Linear { low: f64, high: f64 },
    Log { low: f64, high: f64 },
}

impl Scale {
    /// For times: logarithmic once they span more than a factor of 30, as else the small ones cannot be told apart.
    pub(crate) fn times(values: impl Iterator<Item = f64> + Clone) -> Self {
        let high = values.clone().fold(0.0, f64::max);
        let low = values.filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
        if low.is_finite() && high / low > 30.0 {
            Self::Log { low: 10f64.powf(low.log10().floor()), high: 10f64.powf(high.log10().ceil()) }
        } else {
            Self::from_zero(high)
        }
    }

    /// From 0 to a little above.
    pub(crate) fn from_zero(high: f64) -> Self {
        Self::Linear { low: 0.0, high: if high > 0.0 { high * 1.08 } else { 1.0 } }
    }

    /// The place, 0 to 1.
    fn part(self, value: f64) -> f64 {
        let part = match self {
            Self::Linear { low, high } => (value - low) / (high - low),
            Self::Log { low, high } => (value.max(low).log10() - low.log10()) / (high.log10() - low.log10()),
        };
        if part.is_finite() { part.clamp(0.0, 1.0) } else { 0.0 }
    }

    /// Round values along the scale.
    pub(crate) fn ticks(self) -> Vec<f64> {
        match self {
            Self::Linear { low, high } => {
                let step = round_step((high - low) / 5.0);
                (0..=10).map(|i| low + f64::from(i) * step).filter(|tick| *tick <= high * 1.0001).collect()
            }
            Self::Log { low, high } => {
                let decades = (high.log10() - low.log10()).round() as i32;
                (0..=decades).map(|decade| low * 10f64.powi(decade)).collect()
            }
        }
    }
}

/// A figure without the zeros behind its point.
pub(crate) fn trimmed(text: &str) -> String {
    let (figure, unit) = text.split_at(text.find(' ').unwrap_or(text.len()));
    if figure.contains('.') { format!("{}{unit}", figure.trim_end_matches('0').trim_end_matches('.')) } else { text.to_owned() }
}

/// 1, 2 or 5 times a power of ten, not below.
fn round_step(step: f64) -> f64 {
    if !(step.is_finite() && step > 0.0) {
        return 1.0;
    }
    let power = 10f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|round| *round >= step * 0.9999).unwrap_or(step)
}

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Line,
    /// Dashed: something wanted rather than found.
    Wanted,
    /// Filled between this series and the one below it.
    Stacked,
    /// Upright bars, stacked.
    Bars,
}

/// Values over the chart's common places along the x axis.
pub(crate) struct Series {
    pub(crate) name: String,
    /// The colour: `c0` ... `c9`, or a class of the style sheet.
    pub(crate) class: String,
    pub(crate) mark: Mark,
    pub(crate) values: Vec<f64>,
}

/// A plot to be drawn.
pub(crate) struct Chart {
    pub(crate) id: &'static str,
    pub(crate) title: String,
    /// What it says, for those who cannot see it.
    pub(crate) note: String,
    pub(crate) x: Scale,
    pub(crate) x_ticks: Vec<(f64, String)>,
    pub(crate) x_label: &'static str,
    /// Places along the x axis, and the words for each in the readout.
    pub(crate) at: Vec<(f64, String)>,
    pub(crate) y: Scale,
    pub(crate) y_label: &'static str,
    pub(crate) show: fn(f64) -> String,
    pub(crate) series: Vec<Series>,
}

/// What the script needs.
#[derive(Serialize)]
struct Readout {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    at: Vec<(f64, String)>,
    series: Vec<(String, String, Vec<String>)>,
}

impl Chart {
    fn x(&self, value: f64) -> f64 {
        LEFT + self.x.part(value) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.part(value) * (HEIGHT - TOP - BOTTOM)
    }

    /// Writes the figure.
    pub(crate) fn write(&self, out: &mut String) -> fmt::Result {
        let (id, title, note) = (self.id, Escaped(&self.title), Escaped(&self.note));
        writeln!(out, "<figure class=\"chart\" id=\"{id}\">\n<figcaption><h2>{title}</h2>")?;
        self.legend(out)?;
        writeln!(out, "</figcaption>")?;
        writeln!(out, "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}: {note}\">")?;
        self.axes(out)?;
        self.draw(out)?;
        writeln!(out, "</svg>\n<script type=\"application/json\">{}</script>\n</figure>", json(&self.readout()))
    }

    fn legend(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "<ul class=\"legend\">")?;
        for series in &self.series {
            let dashed = if series.mark == Mark::Wanted { " dashed" } else { "" };
            writeln!(out, "<li><i class=\"{}{dashed}\"></i>{}</li>", series.class, Escaped(&series.name))?;
        }
        writeln!(out, "</ul>")
    }

    fn axes(&self, out: &mut String) -> fmt::Result {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for tick in self.y.ticks() {
            let y = self.y(tick);
            writeln!(out, "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/>")?;
            writeln!(
                out,
                "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 6.0,
                y + 4.0,
                Escaped(&trimmed(&(self.show)(tick)))
            )?;
        }
        for (tick, label) in &self.x_ticks {
            let x = self.x(*tick);
            writeln!(out, "<path class=\"grid\" d=\"M{x:.1} {TOP}V{bottom}\"/>")?;
            writeln!(out, "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>", bottom + 16.0, Escaped(label))?;
        }
        writeln!(out, "<path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom}H{right}\"/>")?;
        let middle = (LEFT + right) / 2.0;
        writeln!(out, "<text class=\"label\" x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>", HEIGHT - 6.0, self.x_label)?;
        let up = (TOP + bottom) / 2.0;
        writeln!(out, "<text class=\"label\" transform=\"translate(13 {up}) rotate(-90)\" text-anchor=\"middle\">{}</text>", self.y_label)
    }

    fn draw(&self, out: &mut String) -> fmt::Result {
        let mut below = vec![0.0; self.at.len()];
        for series in &self.series {
            let class = &series.class;
            match series.mark {
                Mark::Line => writeln!(out, "<path class=\"line {class}\" d=\"{}\"/>", self.line(&series.values))?,
                Mark::Wanted => writeln!(out, "<path class=\"line dashed {class}\" d=\"{}\"/>", self.line(&series.values))?,
                Mark::Stacked | Mark::Bars => {
                    let top: Vec<f64> = below.iter().zip(&series.values).map(|(below, value)| below + value).collect();
                    let shape = if series.mark == Mark::Bars { self.bars(&below, &top) } else { self.band(&below, &top) };
                    writeln!(out, "<path class=\"area {class}\" d=\"{shape}\"/>")?;
                    below = top;
                }
            }
        }
        Ok(())
    }

    fn points(&self, values: &[f64]) -> Vec<(f64, f64)> {
        self.at.iter().zip(values).map(|((at, _), value)| (self.x(*at), self.y(*value))).collect()
    }

    /// A line through the values; values that are none (NaN) interrupt it.
    fn line(&self, values: &[f64]) -> String {
        let mut out = String::new();
        let mut pen_down = false;
        for ((at, _), value) in self.at.iter().zip(values) {
            if value.is_nan() {
                pen_down = false;
                continue;
            }
            let verb = if pen_down { 'L' } else { 'M' };
            let _infallible = write!(out, "{verb}{:.1} {:.1}", self.x(*at), self.y(*value));
            pen_down = true;
        }
        out
    }

    fn band(&self, below: &[f64], top: &[f64]) -> String {
        let there = self.points(top).into_iter();
        let back = self.points(below).into_iter().rev();
        let corners = there.chain(back).map(|(x, y)| format!("{x:.1} {y:.1}")).collect::<Vec<_>>();
        if corners.is_empty() { String::new() } else { format!("M{}Z", corners.join("L")) }
    }

    fn bars(&self, below: &[f64], top: &[f64]) -> String {
        let width = ((WIDTH - LEFT - RIGHT) / self.at.len().max(1) as f64 * 0.8).clamp(1.0, 24.0);
        let bars = self.points(top).into_iter().zip(self.points(below));
        let bars = bars.filter(|((_, top), (_, below))| below - top > 0.01);
        bars.map(|((x, top), (_, below))| format!("M{:.1} {below:.1}V{top:.1}h{width:.1}V{below:.1}Z", x - width / 2.0)).collect()
    }

    fn readout(&self) -> Readout {
        let at = self.at.iter().map(|(at, words)| ((self.x(*at) * 10.0).round() / 10.0, words.clone()));
        let shown = |value: &f64| if value.is_nan() { String::new() } else { (self.show)(*value) };
        let series =
            self.series.iter().map(|series| (series.name.clone(), series.class.clone(), series.values.iter().map(shown).collect()));
        Readout { left: LEFT, right: WIDTH - RIGHT, top: TOP, bottom: HEIGHT - BOTTOM, at: at.collect(), series: series.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within_the_scale() {
        assert_eq!(Scale::from_zero(100.0).ticks(), [0.0, 50.0, 100.0]);
        assert_eq!(Scale::Log { low: 10.0, high: 1000.0 }.ticks(), [10.0, 100.0, 1000.0]);
        assert_eq!(Scale::from_zero(0.0).ticks().len(), 6);
    }

    #[test]
    fn ticks_are_written_without_needless_zeros() {
        assert_eq!(["100.0 ms", "1.500 s", "100 µs", "10", "0.50"].map(trimmed), ["100 ms", "1.5 s", "100 µs", "10", "0.5"]);
    }

    #[test]
    fn times_far_apart_get_a_logarithmic_scale() {
        assert_eq!(Scale::times([3.0, 200.0].into_iter()), Scale::Log { low: 1.0, high: 1000.0 });
        assert!(matches!(Scale::times([100.0, 200.0].into_iter()), Scale::Linear { .. }));
        assert!(matches!(Scale::times([0.0].into_iter()), Scale::Linear { .. }));
    }

    #[test]
    fn no_value_leaves_the_plot() {
        for scale in [Scale::from_zero(1.0), Scale::Log { low: 1.0, high: 10.0 }, Scale::Linear { low: 1.0, high: 1.0 }] {
            for value in [-5.0, 0.0, 1e12, f64::NAN, f64::INFINITY] {
                assert!((0.0..=1.0).contains(&scale.part(value)), "{scale:?} {value}");
            }
        }
    }
}
