//! Whether a report is as expected. Pure: a complaint for everything that is not.

use std::collections::{BTreeMap, BTreeSet};

use outrigger_loadtests::{CountBy, Report};

use crate::format::{Check, Counts, Expect};

/// The properties whose values the check wants counted.
pub fn properties(check: &Check) -> Vec<CountBy> {
    let named: BTreeSet<&String> = check.expect.count.keys().chain(check.expect.at_least.count.keys()).collect();
    named.into_iter().map(|name| name.parse().unwrap_or_else(|error| panic!("check {:?}: {error:#}", check.name))).collect()
}

/// Everything in which the report differs from the expectation.
pub fn complaints(expect: &Expect, report: &Report) -> Vec<String> {
    let mut wrong = Vec::new();
    if report.error_count() != expect.errors {
        wrong.push(format!("errors: want {}, got {} {:?}", expect.errors, report.error_count(), report.error_examples));
    }
    for (what, want, got) in exact(expect, report) {
        let keys: BTreeSet<&String> = want.keys().chain(got.keys()).collect();
        for key in keys {
            let (want, got) = (of(want, key), of(&got, key));
            if want.abs_diff(got) > expect.tolerance || (want == 0) != (got == 0) {
                wrong.push(format!("{what} {key:?}: want {want}, got {got}"));
            }
        }
    }
    for (what, want, got) in minimal(expect, report) {
        for (key, least) in want.iter().filter(|(key, least)| of(&got, key) < **least) {
            wrong.push(format!("{what} {key:?}: want at least {least}, got {}", of(&got, key)));
        }
    }
    others(expect, report, &mut wrong);
    wrong
}

fn others(expect: &Expect, report: &Report, wrong: &mut Vec<String>) {
    if let Some(allowed) = &expect.only_status {
        for status in report.statuses.keys().filter(|status| !allowed.contains(status)) {
            wrong.push(format!("status {status} should not occur"));
        }
    }
    if let Some(turns) = &expect.turns {
        let counts = || report.pods.values().map(|pod| pod.requests);
        let spread = counts().max().unwrap_or_default() - counts().min().unwrap_or_default();
        if report.pods.len() != turns.pods || spread > turns.spread {
            wrong.push(format!("want {} pods within {}, got {:?}", turns.pods, turns.spread, report.pods));
        }
    }
    let (sooner, median) = (report.latency.min_us, report.latency.p50_us);
    if let Some(least) = expect.latency_ms.at_least.filter(|least| sooner < (least * 1000) as f64) {
        wrong.push(format!("want no answer before {least} ms, got one after {sooner} us"));
    }
    if let Some(most) = expect.latency_ms.median_at_most.filter(|most| median > (most * 1000) as f64) {
        wrong.push(format!("want half of the answers within {most} ms, got {median} us"));
    }
}

type Comparison<'a> = (String, &'a Counts, Counts);

fn exact<'a>(expect: &'a Expect, report: &Report) -> Vec<Comparison<'a>> {
    let pods = report.pods.iter().map(|(name, pod)| (name.clone(), pod.requests)).collect();
    let fixed = [
        ("status", &expect.status, statuses(report)),
        ("version", &expect.version, report.versions.clone()),
        ("pod", &expect.pods, pods),
        ("grpc-status", &expect.grpc_status, report.grpc_statuses.clone()),
    ];
    let fixed = fixed.into_iter().filter_map(|(what, want, got)| Some((what.to_owned(), want.as_ref()?, got)));
    fixed.chain(groups(&expect.count, report)).collect()
}

fn minimal<'a>(expect: &'a Expect, report: &Report) -> Vec<Comparison<'a>> {
    let status = ("status".to_owned(), &expect.at_least.status, statuses(report));
    std::iter::once(status).chain(groups(&expect.at_least.count, report)).collect()
}

fn groups<'a>(wanted: &'a BTreeMap<String, Counts>, report: &Report) -> Vec<Comparison<'a>> {
    let found = |name: &String| report.groups.get(name).cloned().unwrap_or_default();
    wanted.iter().map(|(name, want)| (name.clone(), want, found(name))).collect()
}

fn statuses(report: &Report) -> Counts {
    report.statuses.iter().map(|(status, count)| (status.to_string(), *count)).collect()
}

fn of(counts: &Counts, key: &str) -> u64 {
    counts.get(key).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expect(text: &str) -> Expect {
        toml::from_str(text).expect("an expectation")
    }

    fn report() -> Report {
        let json = r#"{"url":"http://a","requests":10,"seconds":1,"rate":9,"statuses":{"200":6,"503":3},
            "versions":{"v1":6,"v2":3},"errors":{"timeout":1},
            "pods":{"a":{"version":"v1","requests":6},"b":{"version":"v2","requests":3}},
            "groups":{"header:x":{"yes":8,"":1}},
            "latency":{"min_us":20000,"mean_us":1,"p50_us":90000,"p90_us":1,"p99_us":1,"max_us":1}}"#;
        serde_json::from_str(json).expect("a report")
    }

    fn holds(text: &str) -> bool {
        complaints(&expect(&format!("errors = 1\n{text}")), &report()).is_empty()
    }

    #[test]
    fn exact_counts_hold_only_as_they_are() {
        assert!(holds("status = { 200 = 6, 503 = 3 }"));
        assert!(!holds("status = { 200 = 6 }"), "a status nobody expected");
        assert!(!holds("status = { 200 = 6, 503 = 3, 404 = 1 }"), "a status that did not come");
        assert!(!holds("version = { v1 = 5, v2 = 4 }"));
        assert!(holds("version = { v1 = 5, v2 = 4 }\ntolerance = 1"));
        assert!(!holds("version = { v1 = 6, v2 = 3, v3 = 1 }\ntolerance = 1"), "a tolerance does not excuse absence");
        assert!(holds("count.'header:x' = { yes = 8, '' = 1 }"));
        assert!(!holds("count.'header:y' = { yes = 8 }"));
    }

    #[test]
    fn errors_have_to_be_expected() {
        assert!(!complaints(&expect(""), &report()).is_empty());
    }

    #[test]
    fn bounds_hold_or_do_not() {
        assert!(holds("at-least.status = { 503 = 3 }"));
        assert!(!holds("at-least.status = { 503 = 4 }"));
        assert!(!holds("only-status = [200]"));
        assert!(holds("turns = { pods = 2, spread = 3 }"));
        assert!(!holds("turns = { pods = 2, spread = 2 }"));
        assert!(!holds("turns = { pods = 3, spread = 3 }"));
        assert!(holds("latency-ms = { at-least = 20, median-at-most = 90 }"));
        assert!(!holds("latency-ms = { at-least = 21 }"));
        assert!(!holds("latency-ms = { median-at-most = 89 }"));
    }
}
