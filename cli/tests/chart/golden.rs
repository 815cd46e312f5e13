//! What each profile and variant renders, word for word, so that a change of the chart is seen in review. Lint has nothing to say.

use std::fmt::Write;
use std::fs;

use crate::cases;

#[test]
fn every_case_renders_what_is_on_record() {
    let folder = cases::folder("charts/tests/golden");
    let mut wrong = Vec::new();
    for (name, rendered) in cases::accepted() {
        let file = folder.join(format!("{}.yaml", name.replace(' ', "-")));
        let text = text(rendered);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&file, &text).expect("writable");
        }
        let recorded = fs::read_to_string(&file).unwrap_or_default();
        if let Some(line) = first_difference(&recorded, &text) {
            wrong.push(format!("{}, line {line}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "these differ; UPDATE_GOLDEN=1 writes them anew:\n{}", wrong.join("\n"));
}

/// All objects, without definitions and dashboards, which have tests of their own, and the notes.
fn text(rendered: &cases::Rendered) -> String {
    let mut text = String::new();
    for object in rendered.objects() {
        if object.source != "templates/crds.yaml" && object.source != "templates/monitoring/dashboards.yaml" {
            let _ = write!(text, "---\n# {}\n{}", object.source, object.text);
        }
    }
    let notes = rendered.notes.trim_end().lines().map(|line| format!("# {line}").trim_end().to_owned() + "\n");
    text + "---\n# NOTES\n" + &notes.collect::<String>()
}

fn first_difference(recorded: &str, text: &str) -> Option<usize> {
    let differs = recorded.lines().zip(text.lines()).position(|(recorded, text)| recorded != text);
    let longer = || (recorded != text).then(|| recorded.lines().count().min(text.lines().count()));
    differs.or_else(longer).map(|index| index + 1)
}

#[test]
fn helm_lint_has_nothing_to_say() {
    for (name, rendered) in cases::accepted() {
        assert_eq!(rendered.error, None, "{name}");
        assert!(rendered.lint.is_empty(), "{name}: {:?}", rendered.lint);
    }
}

#[test]
fn the_notes_say_what_does_not_work_yet() {
    for (name, rendered) in cases::accepted() {
        for said in ["WHAT DOES NOT WORK YET", "xDS", "ConfigMap mounted as the watched folder", "outrigger up"] {
            assert!(rendered.notes.contains(said), "{name}: {said}");
        }
    }
    let notes = &cases::case("beside istiod").notes;
    assert!(notes.contains("istio.io/rev=outrigger") && !notes.contains("istio-injection=enabled"), "{notes}");
}

#[test]
fn the_chart_has_the_version_of_the_program() {
    let chart = fs::read_to_string(cases::folder("charts/outrigger/Chart.yaml")).expect("readable");
    let version = env!("CARGO_PKG_VERSION");
    assert!(chart.contains(&format!("\nversion: {version}\n")) && chart.contains(&format!("\nappVersion: \"{version}\"\n")), "{chart}");
}
