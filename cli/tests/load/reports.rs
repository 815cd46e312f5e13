//! Work with reports in files: `merge` and `compare`.

use std::path::Path;

use tempfile::TempDir;

use crate::{load, outcome, server};

/// A folder with the report of a short run of each of these URLs: `0.json`, `1.json`, ...
fn runs(urls: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (n, url) in urls.iter().enumerate() {
        let run = load(&[url, "-n", "200", "-c", "2", "-o", "json"]);
        assert!(run.status.code().is_some_and(|status| status < 2), "{}", outcome(&run).1);
        std::fs::write(folder.path().join(format!("{n}.json")), run.stdout).expect("written");
    }
    folder
}

fn file(folder: &TempDir, name: &str) -> String {
    Path::join(folder.path(), name).display().to_string()
}

#[test]
fn a_side_whose_answers_are_all_503_fails_the_comparison_and_the_other_way_round_does_not() {
    let folder = runs(&[&server::content(), &server::url(503, &["web-1"])]);
    let (good, bad) = (file(&folder, "0.json"), file(&folder, "1.json"));
    let (status, said) = outcome(&load(&["compare", &good, &bad, "--fail-if-slower"]));
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("B fails more"), "{said}");
    let (status, said) = outcome(&load(&["compare", &good, &bad]));
    assert_eq!(status, Some(0), "nothing was demanded: {said}");
    let (status, said) = outcome(&load(&["compare", &good, &good, "--fail-if-slower"]));
    assert_eq!(status, Some(0), "{said}");
}

#[test]
fn compare_takes_two_sides_and_says_how_to_give_several_runs_of_one() {
    let folder = runs(&[&server::content()]);
    let run = file(&folder, "0.json");
    let (status, said) = outcome(&load(&["compare", &run, &run, &run]));
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("3 arguments, but there are two sides") && said.contains("a1.json,a2.json b1.json,b2.json"), "{said}");
    let several = format!("{run},{run}");
    let compared = load(&["compare", &several, &several, "-o", "json"]);
    let compared: serde_json::Value = serde_json::from_slice(&compared.stdout).expect("JSON");
    assert_eq!((&compared["method"], compared["a"]["runs"].as_array().map(Vec::len)), (&"runs".into(), Some(2)));
    let usage = outcome(&load(&["compare", "--help"])).1;
    assert!(usage.contains("compare [OPTIONS] <A1,A2,...> <B1,B2,...>\n"), "{usage}");
}

#[test]
fn merge_adds_up_judges_and_tells_of_targets_that_differ() {
    let url = server::content();
    let folder = runs(&[&url, &url, &server::content()]);
    let [first, second, other] = ["0.json", "1.json", "2.json"].map(|name| file(&folder, name));
    let merged = load(&["merge", &first, &second, "-o", "json"]);
    let report: serde_json::Value = serde_json::from_slice(&merged.stdout).expect("JSON");
    assert_eq!((merged.status.code(), &report["requests"], &report["run"]["merged"]), (Some(0), &400.into(), &2.into()));
    assert_eq!(outcome(&merged).1.matches("different targets").count(), 0);
    let (status, said) = outcome(&load(&["merge", &first, &second, "--slo", "rate>1000000000"]));
    assert_eq!(status, Some(1), "{said}");
    let (status, said) = outcome(&load(&["merge", &first, &other]));
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("the runs had different targets: http://"), "{said}");
}

#[test]
fn a_file_that_is_no_report_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("x.json"), "{}").expect("written");
    let (status, said) = outcome(&load(&["merge", &file(&folder, "x.json")]));
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("x.json is no report"), "{said}");
}
