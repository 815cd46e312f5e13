//! Dashboards show metrics that exist: those of a gateway that really runs, and those the injector registers.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use outrigger_injector::webhook::{Part, State};
use serde_json::{Value, json};

use crate::cases;

fn boards() -> Vec<(String, Value)> {
    let folder = cases::folder("charts/outrigger/dashboards");
    let files = fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable").path());
    let read = |file: std::path::PathBuf| {
        let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
        (name, serde_json::from_str(&fs::read_to_string(&file).expect("readable")).expect("JSON"))
    };
    files.map(read).collect()
}

/// Every query of a board: of panels and of variables.
fn queries(board: &Value) -> Vec<String> {
    let panels = board["panels"].as_array().expect("panels").iter();
    let expressions = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten()).map(|target| &target["expr"]);
    let variables = board["templating"]["list"].as_array().expect("variables").iter().map(|variable| &variable["query"]["query"]);
    expressions.chain(variables).filter_map(|query| Some(query.as_str()?.to_owned())).collect()
}

const PREFIXES: [&str; 5] = ["istio_", "envoy_", "outrigger_", "sidecar_injection_", "galley_"];

/// Names of metrics in a query, without the suffixes of histograms.
fn metrics(query: &str) -> BTreeSet<String> {
    let words = query.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let named = words.filter(|word| PREFIXES.iter().any(|prefix| word.starts_with(prefix)));
    named.map(|word| word.strip_suffix("_bucket").unwrap_or(word).to_owned()).collect()
}

#[test]
fn every_metric_shown_is_one_that_is_exported() {
    let mut exported = of_a_gateway();
    exported.extend(of_the_injector());
    let boards = boards();
    assert!(boards.len() >= 5);
    for (name, board) in &boards {
        let queries = queries(board);
        assert!(queries.len() > 8, "{name}: {}", queries.len());
        for query in queries {
            let shown = metrics(&query);
            assert!(!shown.is_empty() || query == "prometheus", "{name}: no metric in {query}");
            let missing: Vec<_> = shown.difference(&exported).collect();
            assert!(missing.is_empty(), "{name}: nothing exports {missing:?}; exported are {exported:?}");
        }
    }
}

/// Starts a gateway in a network namespace of its own, sends it a request and a TCP connection, and asks what it counted.
fn of_a_gateway() -> BTreeSet<String> {
    let script = cases::folder("cli/tests/chart/gateway.sh");
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new("unshare");
    command.args(["--net", "bash"]).arg(script).arg(env!("CARGO_BIN_EXE_outrigger")).arg(folder.path());
    let output = command.output().expect("unshare is there");
    let page = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "this needs root, and curl: {page}{}", String::from_utf8_lossy(&output.stderr));
    families(&page)
}

/// Families of an exposition, a histogram as one.
fn families(page: &str) -> BTreeSet<String> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.map(|line| line.split(' ').next().expect("a name").to_owned()).collect()
}

/// What the injector registers, once each of its parts has had a word to say; a counter as its sample is named.
fn of_the_injector() -> BTreeSet<String> {
    let state = State::default();
    state.settled(Part::Configuration, "read".to_owned());
    state.metrics.rejected(415);
    let page = state.metrics.render();
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types.map(|(name, kind)| if kind == "counter" { format!("{name}_total") } else { name.to_owned() }).collect()
}

#[test]
fn every_query_is_one_that_prometheus_understands() {
    let mut rules = Vec::new();
    for (_, board) in boards() {
        for query in queries(&board).iter().filter(|query| !query.starts_with("label_values") && *query != "prometheus") {
            let filled = query.replace("$__rate_interval", "5m").replace('$', "v_");
            rules.push(json!({"record": format!("rule:{}", rules.len()), "expr": filled}));
        }
    }
    assert!(rules.len() > 60, "{}", rules.len());
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("rules.yaml");
    fs::write(&file, json!({"groups": [{"name": "dashboards", "rules": rules}]}).to_string()).expect("writable");
    let checked = Command::new("promtool").args(["check", "rules"]).arg(&file).output();
    let checked = checked.expect("promtool, of Debian's package prometheus: `scripts/deps test`, which `make test` runs, installs it");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn dashboards_are_ones_that_grafana_takes() {
    let mut uids = BTreeSet::new();
    for (name, board) in boards() {
        assert!(uids.insert(board["uid"].as_str().expect("given").to_owned()), "{name}");
        assert_eq!(board["templating"]["list"][0]["type"], "datasource", "{name}: the data source can be chosen");
        let panels = board["panels"].as_array().expect("panels");
        let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_i64().expect("given")).collect();
        assert_eq!(ids.len(), panels.len(), "{name}: panels share an id");
        let variables: Vec<_> = board["templating"]["list"]
            .as_array()
            .expect("given")
            .iter()
            .map(|v| format!("${}", v["name"].as_str().expect("given")))
            .collect();
        for query in queries(&board) {
            for word in query.split('$').skip(1) {
                let word: String = word.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                assert!(word == "__rate_interval" || variables.contains(&format!("${word}")), "{name}: ${word} is no variable");
            }
        }
        for (index, panel) in panels.iter().enumerate() {
            let place = &panel["gridPos"];
            assert!(place["x"].as_i64().expect("given") + place["w"].as_i64().expect("given") <= 24, "{name}: panel {index} is too wide");
        }
    }
}

#[test]
fn the_chart_carries_every_dashboard_as_it_is() {
    let rendered = cases::case("demo");
    for (name, board) in boards() {
        let map = rendered.one("ConfigMap", &format!("outrigger-dashboard-{name}"));
        let text = map["data"][format!("{name}.json")].as_str().expect("the file");
        assert_eq!(serde_json::from_str::<Value>(text).expect("JSON"), board, "{name}");
        assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
    }
}
