//! A schedule of several rates in summary, page, JSON and merged reports.

use std::{sync::Arc, time::Duration};

use outrigger_loadtests::{
    Cause, Connection, Facts, Layout, Outcome, Recorder, Report, Sample,
    html::render as page,
    merge::merge,
    schedule::Stage,
    table::{Paint, render},
};

const MS: u64 = 1_000_000;

/// A second each at 10 and 20 a second, and a ramp down to 10 in another, where every fifth request is lost.
fn report() -> Report {
    let second = Some(Duration::from_secs(1));
    let stages = vec![Stage::constant(10.0, second), Stage::constant(20.0, second), Stage { from: 20.0, to: 10.0, length: second }];
    let layout = Layout { targets: vec!["http://a/".to_owned()], stages, ..Layout::default() };
    let mut recorder = Recorder::new(Arc::new(layout));
    for order in 0..45 {
        let due = if order < 10 {
            order * 100
        } else if order < 30 {
            1000 + (order - 10) * 50
        } else {
            2000 + (order - 30) * 66
        };
        let outcome = if order >= 30 && order % 5 == 0 { Outcome::Error(Cause::Timeout, &"late") } else { Outcome::Status(200) };
        recorder.record(&Sample {
            order,
            target: 0,
            intended_ns: due * MS,
            able_ns: due * MS,
            sent_ns: due * MS,
            done_ns: (due + 5) * MS,
            outcome,
            who: None,
            keys: &[],
            bytes_in: 0,
            bytes_out: 0,
            connection: Connection::Reused,
        });
    }
    recorder.into_report(Facts { asked_rate: Some(15.0), concurrency: 1, ..Facts::default() }, Duration::from_secs(3))
}

#[test]
fn the_summary_names_the_rates_and_says_how_each_went() {
    let text = render(&report(), Paint::Plain);
    assert!(text.contains("10, 20, 20 to 10 requests/s asked"), "{text}");
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    for row in ["stage asked/s got/s p50 p99 failed", "0 to 1 s 10 10 5.001 ms 5.001 ms 0", "1 to 2 s 20 20 5.001 ms 5.001 ms 0"] {
        assert!(rows.contains(&row.split(' ').collect()), "{row}: {text}");
    }
    assert!(rows.contains(&"2 to 3 s 20 to 10 12 5.001 ms 5.001 ms 3".split(' ').collect()), "{text}");
}

/// The heights of the dashed line of the plot of rates.
fn wanted(page: &str) -> Vec<f64> {
    let chart = page.split("id=\"rate\"").nth(1).and_then(|rest| rest.split("</svg>").next()).unwrap_or_default();
    let path = chart.split("line dashed want\" d=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
    path.split(['M', 'L']).filter_map(|point| point.split(' ').nth(1)?.parse().ok()).collect()
}

#[test]
fn the_page_draws_the_schedule_and_lists_its_stages() {
    let report = report();
    let text = page(&report);
    let heights = wanted(&text);
    assert_eq!(heights.len(), report.series.slices.last().map_or(0, |last| last.at_ms as usize / 100 + 1));
    let (low, high) = (heights[0], heights[15]);
    assert!(heights[..10].iter().all(|height| *height == low) && heights[10..20].iter().all(|height| *height == high) && high < low);
    assert!(heights[21..].is_sorted() && heights[25] > high && heights[25] < low, "{heights:?}");
    assert!(text.contains("By stage of the schedule") && text.contains("<td>20 to 10</td>"), "{text}");
}

#[test]
fn stages_survive_the_json_and_merging() -> serde_json::Result<()> {
    let again: Report = serde_json::from_str(&serde_json::to_string(&report())?)?;
    assert_eq!(again, report());
    let later = Report { run: Facts { started: 100.0, ..report().run }, ..report() };
    let merged = merge(vec![report(), later]);
    assert_eq!(merged.stages.iter().map(|stage| stage.requests).collect::<Vec<_>>(), [20, 40, 30]);
    assert_eq!(merged.stages[1].to_rate, 20.0, "repetitions keep their rate");
    assert!(wanted(&page(&merged)).windows(2).all(|two| two[0] == two[1]), "one after the other, they have one mean rate");
    Ok(())
}

#[test]
fn a_merged_report_weighs_its_stages_by_all_the_time_that_its_runs_spent_in_them() {
    let got = |rate: f64, started| {
        let mut report = Report { run: Facts { started, ..report().run }, ..report() };
        report.stages.iter_mut().for_each(|stage| stage.rate = rate);
        report
    };
    let (a, b, c) = (got(10.0, 0.0), got(10.0, 100.0), got(40.0, 200.0));
    let at_once = merge(vec![a.clone(), b.clone(), c.clone()]);
    assert_eq!(at_once.stages.iter().map(|stage| (stage.rate, stage.lasted_seconds)).collect::<Vec<_>>(), [(20.0, Some(3.0)); 3]);
    assert_eq!(merge(vec![merge(vec![a, b]), c]).stages, at_once.stages);
}
