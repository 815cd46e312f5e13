//! The text summary, character for character.

use outrigger_loadtests::table::{Paint, render};

use crate::shopfront;

/// `UPDATE_GOLDEN=1` writes what is rendered now into the file; read the difference before committing it.
#[test]
fn the_text_summary_is_as_recorded() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/results/summary.txt");
    let rendered = render(&shopfront::report(1.0), Paint::Plain);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &rendered).expect("written");
    }
    let golden = std::fs::read_to_string(path).expect("tests/results/summary.txt");
    assert_eq!(rendered, golden, "see tests/results/summary.rs");
}

#[test]
fn answers_by_grpc_status_have_times_like_those_by_status() {
    let mut report = shopfront::report(1.0);
    report.grpc_statuses.insert("0".to_owned(), 1990);
    report.breakdown.grpc_status.insert("0".to_owned(), report.breakdown.status["200"].clone());
    let text = render(&report, Paint::Plain);
    let row = text.lines().skip_while(|line| !line.starts_with("grpc-status")).nth(1).unwrap_or_default();
    assert!(row.ends_with("403.2 ms"), "{row}: {text}");
}

#[test]
fn colour_only_adds_escapes() {
    let report = shopfront::report(1.0);
    let painted = render(&report, Paint::Colour);
    assert!(painted.contains("\x1b[32mok\x1b[0m") && painted.contains("\x1b[31mWRONG\x1b[0m"));
    let mut bare = painted;
    while let Some(at) = bare.find('\x1b') {
        let end = bare[at..].find('m').expect("the end of an escape") + at;
        bare.replace_range(at..=end, "");
    }
    assert_eq!(bare, render(&report, Paint::Plain));
}
