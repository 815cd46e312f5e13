//! The HTML report, looked at by a real browser.

use std::{fs, path::Path, process::Command};

use outrigger_loadtests::{Report, html::render};

use crate::shopfront;

/// Runs headless Chromium on the file and returns the DOM after its script ran, and what it logged.
fn browse(page: &Path, folder: &Path, further: &[&str]) -> (String, String) {
    let profile = folder.join("profile");
    let flags =
        ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--no-first-run"];
    let logging = ["--enable-logging=stderr", "--log-level=0", "--virtual-time-budget=2000"];
    let output = Command::new("timeout")
        .args(["--kill-after=5", "90", "chromium"])
        .args(flags)
        .args(logging)
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(further)
        .arg(format!("file://{}", page.display()))
        .output()
        .expect("chromium (Debian package chromium; scripts/deps test installs it)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// What the page reports about itself, written into its DOM by a script that only the test adds.
const PROBE: &str = r##"<script>
const probe = document.createElement("output");
probe.id = "probe";
const figure = document.querySelector("#rate"), svg = figure && figure.querySelector("svg");
let readout = "";
if (svg) {
  const place = svg.getBoundingClientRect();
  svg.dispatchEvent(new PointerEvent("pointermove", { clientX: place.left + place.width / 2, clientY: place.top + 50 }));
  readout = figure.querySelector(".readout").textContent;
}
const wide = [...document.querySelectorAll("svg path.line, svg path.area")].filter((path) => path.getBBox().width > 100).length;
probe.textContent = JSON.stringify({
  ready: document.documentElement.dataset.ready,
  fetched: performance.getEntriesByType("resource").map((entry) => entry.name),
  figures: [...document.querySelectorAll("figure.chart")].map((figure) => figure.id),
  wide, readout,
  bars: document.querySelectorAll("#totals .bar rect.mark").length,
  overflows: document.documentElement.scrollWidth > document.documentElement.clientWidth,
});
document.body.append(probe);
</script>"##;

fn probed(report: &Report) -> (serde_json::Value, String, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let page = folder.path().join("report.html");
    fs::write(&page, render(report).replace("</body>", &format!("{PROBE}</body>"))).expect("written");
    let (dom, log) = browse(&page, folder.path(), &["--window-size=1280,1600", "--dump-dom"]);
    let begin = dom.find("<output id=\"probe\">").map(|at| at + "<output id=\"probe\">".len());
    let json = begin.and_then(|at| dom.get(at..)?.split("</output>").next()).unwrap_or_else(|| panic!("no probe in {dom}\n{log}"));
    let json = json.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    (serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}")), dom, log)
}

#[test]
fn chromium_draws_every_plot_without_an_error_or_a_request() {
    let (probe, _, log) = probed(&shopfront::report(1.0));
    assert_eq!(probe["ready"], "true", "{log}");
    assert_eq!(probe["figures"], serde_json::json!(["percentiles", "rate", "latency", "errors", "answers"]));
    assert_eq!(probe["fetched"], serde_json::json!([]));
    assert!(probe["wide"].as_u64() >= Some(12), "two of percentiles, two of rate, four of latency, four of answers: {probe}");
    assert_eq!(probe["bars"], 4);
    assert_eq!(probe["overflows"], false);
    assert!(probe["readout"].as_str().is_some_and(|text| text.contains("answered")), "{probe}");
    assert!(!log.contains("CONSOLE"), "{log}");
}

#[test]
fn what_servers_say_stays_text() {
    let evil = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">";
    let mut report = shopfront::report(1.0);
    report.url = evil.to_owned();
    report.versions = [(evil.to_owned(), 5), ("v1".to_owned(), 5)].into();
    report.run.count_by = vec![evil.to_owned()];
    report.groups = [(evil.to_owned(), report.versions.clone())].into();
    report.expected = None;
    report.error_examples = vec![evil.to_owned()];
    report.checks.iter_mut().for_each(|check| check.name = evil.to_owned());
    report.breakdown.url.insert(evil.to_owned(), Default::default());
    for slice in &mut report.series.slices {
        slice.answers = [(evil.to_owned(), [(evil.to_owned(), 3)].into())].into();
    }
    let (probe, dom, log) = probed(&report);
    assert_eq!(probe["ready"], "true", "{log}");
    assert!(!dom.contains("<title>owned") && !dom.contains("<img"), "markup of a server's was run");
    assert!(!log.contains("CONSOLE"), "{log}");
    assert_eq!(probe["fetched"], serde_json::json!([]));
}

#[test]
fn a_run_without_answers_is_a_page_too() {
    let (probe, ..) = probed(&Report { url: "http://a/".to_owned(), ..Report::default() });
    assert_eq!(probe["figures"], serde_json::json!([]));
}

/// Its pixels are not compared: fonts differ from machine to machine.
#[test]
fn chromium_takes_a_picture() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let page = folder.path().join("report.html");
    fs::write(&page, render(&shopfront::report(1.0))).expect("written");
    let picture = folder.path().join("report.png");
    browse(&page, folder.path(), &["--window-size=1280,1600", &format!("--screenshot={}", picture.display())]);
    let bytes = fs::read(&picture).expect("a picture");
    assert!(bytes.starts_with(b"\x89PNG") && bytes.len() > 50_000, "{} bytes", bytes.len());
}
