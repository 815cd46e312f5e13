//! Merged reports.

use outrigger_loadtests::{Report, merge::merge, report::mixed_schemas};

use crate::shopfront;

fn at(started: f64) -> Report {
    let mut report = shopfront::report(1.0);
    report.run.started = started;
    report
}

#[test]
fn generators_side_by_side_add_their_rates() {
    let one = at(1000.0);
    let merged = merge(vec![at(1000.0), at(1005.0)]);
    assert_eq!((merged.requests, merged.seconds), (2 * one.requests, 25.0));
    assert!((merged.rate - 2.0 * 1995.0 / 25.0).abs() < 1e-9, "{}", merged.rate);
    assert_eq!(merged.run.asked_rate, Some(160.0), "4,000 requests due in 25 s");
    assert_eq!(merged.run.merged, 2);
    assert_eq!(merged.series.slices.iter().map(|slice| slice.requests).sum::<u64>(), merged.requests);
}

#[test]
fn one_generator_that_was_the_limit_is_not_hidden_by_others_that_were_not() {
    let mut limited = at(1_000.0);
    limited.generator.limits = vec!["its thread was busy 97 % of the time".to_owned()];
    let merged = merge(vec![at(1_000.5), limited]);
    assert_eq!(merged.generator.limits, ["run 1: its thread was busy 97 % of the time"]);
    assert_eq!(merge(vec![merged, at(1_001.0)]).generator.limits, ["run 1: its thread was busy 97 % of the time"]);
}

#[test]
fn repetitions_are_put_end_to_end_without_the_pauses() {
    let merged = merge(vec![at(9000.0), at(1000.0), at(5000.0)]);
    assert_eq!((merged.seconds, merged.run.concurrency, merged.run.asked_rate), (60.0, 8, Some(100.0)));
    assert!((merged.rate - 99.75).abs() < 1e-9);
    let slices = &merged.series.slices;
    assert!(slices.last().is_some_and(|last| last.at_ms < 61_000), "{:?}", slices.last());
    assert!(slices.len() <= 240);
}

#[test]
fn counts_and_distributions_are_those_of_all_runs() {
    let (one, slow) = (at(1000.0), shopfront::report(3.0));
    let merged = merge(vec![one.clone(), slow.clone()]);
    for (merged, a, b) in [
        (&merged.histograms.latency, &one.histograms.latency, &slow.histograms.latency),
        (
            &merged.breakdown.answer["pod"]["shopfront-v2-a1x"].histograms.service,
            &one.breakdown.answer["pod"]["shopfront-v2-a1x"].histograms.service,
            &slow.breakdown.answer["pod"]["shopfront-v2-a1x"].histograms.service,
        ),
    ] {
        let mut sum = a.clone();
        sum.add(b);
        assert_eq!(merged, &sum);
    }
    assert_eq!(merged.version("v1"), 2000);
    assert_eq!(merged.pods["shopfront-v2-a1x"].requests, 600);
    assert_eq!(merged.error_examples.len(), 3, "of one cause no more than in one run");
    assert!(merged.checks.is_empty() && merged.expected.is_some());
}

#[test]
fn a_report_of_an_older_version_keeps_the_whole_at_that_version_and_it_is_said() {
    let old = Report { schema: 1, ..at(1000.0) };
    let all = [old, at(2000.0)];
    assert!(mixed_schemas(all.iter()).is_some_and(|note| note.contains("different versions")));
    assert_eq!(mixed_schemas(all[1..].iter()), None);
    assert_eq!(merge(all.to_vec()).schema, 1);
}

#[test]
fn a_merged_report_survives_its_json_and_merges_again() -> serde_json::Result<()> {
    let twice = merge(vec![at(1000.0), at(2000.0)]);
    let again: Report = serde_json::from_str(&serde_json::to_string(&twice)?)?;
    assert_eq!(again, twice);
    let thrice = merge(vec![again, at(3000.0)]);
    assert_eq!((thrice.run.merged, thrice.requests), (3, 6000));
    assert_eq!(merge(Vec::new()).requests, 0);
    Ok(())
}
