//! Verdicts on data with a known answer.

use std::{sync::Arc, time::Duration};

use outrigger_loadtests::{
    Cause, Connection, Facts, Layout, Outcome, Recorder, Report, Sample,
    compare::{Comparison, Method, Verdict, compare, render},
    report::Slice,
    table::Paint,
};

/// A run of 200 requests/s for 20 s whose service times are `scale` milliseconds times a draw that depends on the seed.
fn run(scale: f64, seed: u64) -> Report {
    let mut recorder = Recorder::new(Arc::new(Layout { targets: vec!["http://a/".to_owned()], ..Layout::default() }));
    let mut state = seed;
    for order in 0..4_000u64 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let draw = ((state >> 33) as f64 + 1.0) / f64::from(1u32 << 31);
        let ns = (scale * 1e6 * (1.0 - draw.min(1.0).ln())) as u64;
        let sent_ns = order * 5_000_000;
        recorder.record(&Sample {
            order,
            target: 0,
            intended_ns: sent_ns,
            able_ns: sent_ns,
            sent_ns,
            done_ns: sent_ns + ns,
            outcome: Outcome::Status(200),
            who: None,
            keys: &[],
            bytes_in: 0,
            bytes_out: 0,
            connection: Connection::Reused,
        });
    }
    let facts = Facts { asked_rate: Some(200.0), concurrency: 8, threads: 1, ..Facts::default() };
    recorder.into_report(facts, Duration::from_secs(20))
}

fn side(scales: &[f64], seed: u64) -> Vec<(String, Report)> {
    scales.iter().zip(seed..).map(|(scale, seed)| (format!("{seed}.json"), run(*scale, seed))).collect()
}

fn verdict_of(comparison: &Comparison, name: &str) -> Verdict {
    comparison.metrics.iter().find(|metric| metric.name == name).unwrap_or_else(|| panic!("{name} is missing")).verdict
}

fn verdict(comparison: &Comparison, name: &str) -> Verdict {
    let metric = comparison.metrics.iter().find(|metric| metric.name == name);
    let metric = metric.unwrap_or_else(|| panic!("{name} is missing"));
    assert!(metric.low <= metric.ratio * 1.01 && metric.ratio <= metric.high * 1.01, "{metric:?}");
    metric.verdict
}

#[test]
fn a_tenth_slower_is_seen_over_runs_that_differ_by_a_hundredth() {
    let (a, b) = (side(&[1.0, 1.01, 0.99], 1), side(&[1.1, 1.11, 1.09], 11));
    let comparison = compare(&a, &b);
    assert_eq!(comparison.method, Method::Runs);
    assert_eq!((verdict(&comparison, "p50"), verdict(&comparison, "rate")), (Verdict::Slower, Verdict::NoSignificantDifference));
    assert_eq!(verdict(&compare(&b, &a), "p50"), Verdict::Faster);
    assert!(comparison.cautions.is_empty(), "{:?}", comparison.cautions);
}

#[test]
fn runs_that_differ_by_a_fifth_among_themselves_hide_a_tenth() {
    let comparison = compare(&side(&[0.8, 1.0, 1.2], 1), &side(&[0.9, 1.1, 1.3], 11));
    for metric in ["p50", "p90", "p99", "mean"] {
        assert_eq!(verdict(&comparison, metric), Verdict::NoSignificantDifference, "{metric}");
    }
}

#[test]
fn a_request_given_up_after_the_end_makes_no_run_slower() {
    let (a, mut b) = (side(&[1.0], 1), side(&[1.0], 1));
    let report = &mut b[0].1;
    report.series.slices.push(Slice { at_ms: 40_000, requests: 1, errors: 1, ..Slice::default() });
    report.requests += 1;
    report.errors.insert(Cause::Timeout, 1);
    let comparison = compare(&a, &b);
    assert_eq!(verdict(&comparison, "rate"), Verdict::NoSignificantDifference);
    assert!(!comparison.is_worse(), "{comparison:?}");
}

#[test]
fn single_runs_are_compared_by_their_slices_and_it_is_said() {
    let comparison = compare(&side(&[1.0], 1), &side(&[1.2], 2));
    assert_eq!(comparison.method, Method::Slices);
    assert_eq!((verdict(&comparison, "p50"), verdict(&comparison, "mean")), (Verdict::Slower, Verdict::Slower));
    assert!(comparison.cautions[0].contains("a single run"));
    let same = compare(&side(&[1.0], 1), &side(&[1.0], 2));
    for metric in ["p50", "mean", "rate"] {
        assert_eq!(verdict(&same, metric), Verdict::NoSignificantDifference, "{metric}: {same:?}");
    }
}

/// The same run with so many of its answers refused, and so many requests that were never answered besides.
fn failing(mut report: Report, refused: u64, unanswered: u64) -> Report {
    report.refused = refused;
    report.requests += unanswered;
    report.errors.insert(Cause::Timeout, unanswered);
    report
}

fn named(reports: impl IntoIterator<Item = Report>) -> Vec<(String, Report)> {
    reports.into_iter().zip(1..).map(|(report, n)| (format!("{n}.json"), report)).collect()
}

#[test]
fn a_side_that_answers_with_failures_alone_is_worse_however_fast_it_is() {
    for runs in [1, 3] {
        let good = named((0..runs).map(|seed| run(1.0, seed)));
        let bad = named((10..10 + runs).map(|seed| failing(run(1.0, seed), 4000, 0)));
        let comparison = compare(&good, &bad);
        assert_eq!((comparison.failed.verdict, comparison.is_worse()), (Verdict::FailsMore, true), "{runs}");
        let text = render(&comparison, Paint::Plain);
        let row = text.lines().find(|line| line.starts_with("failed")).unwrap_or_default();
        assert!(row.contains("100.00 %") && row.ends_with("B fails more"), "{text}");
        let back = compare(&bad, &good);
        assert_eq!((back.failed.verdict, back.is_worse()), (Verdict::FailsLess, false), "{back:?}");
    }
}

#[test]
fn a_few_failures_on_both_sides_are_no_difference() {
    let (a, b) = (named([failing(run(1.0, 1), 20, 0)]), named([failing(run(1.0, 1), 25, 0)]));
    let comparison = compare(&a, &b);
    assert_eq!((comparison.failed.verdict, comparison.is_worse()), (Verdict::NoSignificantDifference, false));
}

#[test]
fn percentiles_among_requests_that_were_never_answered_are_infinite() {
    let good = named((0..3).map(|seed| run(1.0, seed)));
    let bad = named((0..3).map(|seed| failing(run(1.0, seed), 0, 400)));
    let comparison = compare(&good, &bad);
    assert_eq!((verdict_of(&comparison, "p99"), verdict_of(&comparison, "p50")), (Verdict::Slower, Verdict::Slower));
    assert_eq!(verdict_of(&compare(&bad, &good), "p99"), Verdict::Faster);
    assert_eq!(verdict_of(&compare(&bad, &bad), "p99"), Verdict::NoSignificantDifference);
    let text = render(&comparison, Paint::Plain);
    let p99 = text.lines().find(|line| line.starts_with("p99 ")).unwrap_or_default();
    assert!(p99.contains("never") && p99.ends_with("B is slower"), "{text}");
}

#[test]
fn different_targets_are_pointed_out_within_a_side_and_not_between_the_sides() {
    let (a, mut b) = (side(&[1.0], 1), side(&[1.0, 1.0], 2));
    b.iter_mut().for_each(|(_, report)| report.url = "http://b/".to_owned());
    assert!(!compare(&a, &b).cautions.iter().any(|caution| caution.contains("targets")));
    b[0].1.url = "http://a/".to_owned();
    assert!(compare(&a, &b).cautions.contains(&"B: the runs had different targets: http://a/, http://b/".to_owned()));
}

#[test]
fn a_server_that_stood_still_for_a_while_is_slower_also_by_single_runs() {
    for (when, stall) in [("amid the run", 5_000..13_000), ("to the end of it", 12_000..20_000)] {
        let (a, mut b) = (side(&[1.0], 1), side(&[1.0], 2));
        let stalled = &mut b[0].1;
        stalled.series.slices.retain(|slice| !stall.contains(&slice.at_ms));
        stalled.rate *= 0.6;
        let comparison = compare(&a, &b);
        assert_eq!(verdict_of(&comparison, "rate"), Verdict::Slower, "{when}: {comparison:?}");
    }
}

#[test]
fn a_side_with_some_runs_that_never_answered_in_time_is_no_certainty() {
    let good = named((0..3).map(|seed| run(1.0, seed)));
    let mixed = named([run(1.0, 5), failing(run(1.0, 6), 0, 400), run(1.0, 7)]);
    for comparison in [compare(&good, &mixed), compare(&mixed, &good), compare(&mixed, &mixed)] {
        let p99 = comparison.metrics.iter().find(|metric| metric.name == "p99").expect("a metric");
        assert!(p99.verdict == Verdict::Unknown && p99.low.is_nan(), "{p99:?}");
    }
}

#[test]
fn other_rates_and_short_runs_are_pointed_out() {
    let (a, mut b) = (side(&[1.0, 1.0], 1), side(&[1.0, 1.0], 3));
    b[0].1.run.asked_rate = Some(100.0);
    assert!(compare(&a, &b).cautions.iter().any(|caution| caution.contains("same rate")));
    b[0].1.series.slices.truncate(3);
    b[0].1.seconds = 0.3;
    let short = compare(&a[..1], &b[..1]);
    assert!(short.metrics.iter().all(|metric| metric.verdict == Verdict::Unknown));
    assert!(render(&short, Paint::Plain).contains("too little data"));
}

#[test]
fn closed_loops_with_other_connections_and_runs_that_were_ended_are_pointed_out() {
    let closed = |concurrency, interrupted| {
        let mut report = run(1.0, concurrency);
        report.run = Facts { asked_rate: None, concurrency, interrupted, ..report.run };
        report
    };
    let cautions = compare(&named([closed(1, false)]), &named([closed(10, true)])).cautions.join("; ");
    assert!(cautions.contains("the runs had 1 and 10 connections"), "{cautions}");
    assert!(cautions.contains("the run ended early"), "{cautions}");
    let alike = compare(&named([closed(8, false)]), &named([closed(8, false)])).cautions.join("; ");
    assert!(!alike.contains("connections") && !alike.contains("early"), "{alike}");
}

#[test]
fn the_table_is_aligned_and_names_the_runs() {
    let text = render(&compare(&side(&[1.0, 1.01], 1), &side(&[2.0, 2.01], 11)), Paint::Plain);
    assert!(text.starts_with("A  8000 answers, 0 failed: 1.json, 2.json\n"), "{text}");
    let p50 = text.lines().find(|line| line.starts_with("p50")).unwrap_or_default();
    assert!(p50.ends_with("B is slower") && p50.contains(" to "), "{text}");
}
