//! Pods and workloads of every kind, injected as the webhook and as `outrigger inject` would: each is held to the contract's table, told by
//! what differs from the plainest pod (files `golden/*/*.txt`), injected twice, and taken out of the mesh again.
//! `OUTRIGGER_BLESS=1 cargo test -p outrigger-injector --test golden` writes the files anew.

mod contract;

use std::collections::BTreeSet;

use contract::cases::{Case, cases};
use contract::{Injection, check, rows_that_apply};
use outrigger_injector::owner::Owner;
use outrigger_injector::{Configuration, Context, Injected, Namespace, inject, uninject};
use serde_json::Value;

fn context(case: &Case) -> (Context, Vec<String>) {
    let text = |key| case.configuration(key);
    let configuration = Configuration::read(&text("config").unwrap_or_default(), text("values").as_deref(), text("mesh").as_deref());
    let configuration = configuration.unwrap_or_else(|error| panic!("{}: {error}", case.name));
    let workload = case.workload().map(|(api_version, kind, name)| Owner { api_version, kind, name });
    let namespace = Namespace {
        name: "shop".to_owned(),
        labels: [("istio-injection".to_owned(), "enabled".to_owned())].into(),
        ..Namespace::default()
    };
    (Context { namespace, settings: configuration.settings, workload, ..Context::default() }, configuration.warnings)
}

/// Whether the table speaks about all of a pod: a fragment may add anything.
fn in_table(case: &Case) -> bool {
    case.folder != "templates"
}

fn hold_to_the_table(case: &Case, before: &Value, after: &Value, workload: Option<(String, String, String)>) {
    let facts = case.facts();
    let injection = Injection::new(before, after, &facts, workload);
    let problems = check(&injection);
    assert!(problems.is_empty() || !in_table(case), "{}: against the contract:\n{}", case.name, problems.join("\n"));
    assert!(rows_that_apply(&injection) > 25, "{}: hardly any row applies", case.name);
}

/// Everything that must hold of an injected pod besides its looks.
fn hold(case: &Case, before: &Value, context: &Context, injected: &Injected) {
    let again = inject(&injected.pod, context).unwrap_or_else(|error| panic!("{}: {error}", case.name));
    assert_eq!(again.pod, injected.pod, "{}: injecting the injected pod must change nothing", case.name);
    assert_eq!(again.warnings, injected.warnings, "{}: and say the same", case.name);
    assert_eq!(uninject(&injected.pod).as_ref(), Some(before), "{}: taking it out must restore the pod", case.name);
}

#[test]
fn every_case_is_held_to_the_contract_and_to_its_golden_file() {
    let cases = cases();
    assert!(cases.len() >= 80, "only {} cases", cases.len());
    let base = cases.iter().find(|case| case.name == "default/pod").expect("the plainest pod");
    let base = inject(base.pod(), &context(base).0).expect("the plainest pod is injected").pod;
    let base: BTreeSet<String> = lines(&base);
    let mut different = Vec::new();
    for case in &cases {
        let (context, warnings) = context(case);
        let found = match inject(case.pod(), &context) {
            Err(error) => format!("refused: {error}\n"),
            Ok(injected) => {
                hold_to_the_table(case, case.pod(), &injected.pod, case.workload());
                hold(case, case.pod(), &context, &injected);
                tell(case, &base, &warnings, &injected)
            }
        };
        if std::env::var_os("OUTRIGGER_BLESS").is_some() {
            std::fs::write(case.expected(), &found).expect("golden files can be written");
        }
        if found != std::fs::read_to_string(case.expected()).unwrap_or_default() {
            different.push(case.name.clone());
        }
    }
    assert!(different.is_empty(), "{different:?} changed; bless, then read `git diff`");
}

#[test]
fn the_pods_that_controllers_create_are_held_to_the_contract_too() {
    for case in cases() {
        let created = case.created();
        let context = Context { workload: None, ..context(&case).0 };
        if let Ok(injected) = inject(&created, &context) {
            hold_to_the_table(&case, &created, &injected.pod, None);
            hold(&case, &created, &context, &injected);
        }
    }
}

#[test]
fn every_row_of_the_table_speaks_about_some_case() {
    let mut spoken = vec![false; contract::ROWS.len()];
    for case in cases() {
        let facts = case.facts();
        if let Ok(injected) = inject(case.pod(), &context(&case).0) {
            let injection = Injection::new(case.pod(), &injected.pod, &facts, case.workload());
            spoken.iter_mut().zip(contract::ROWS).for_each(|(spoken, row)| *spoken |= (row.when)(&injection));
        }
    }
    let silent: Vec<&str> = contract::ROWS.iter().zip(spoken).filter(|(_, spoken)| !spoken).map(|(row, _)| row.path).collect();
    assert!(silent.is_empty(), "rows that no case exercises: {silent:?}");
}

/// What the case's pod has and the plainest one has not (`+`), and the other way round (`-`); what the user wrote is left out.
fn tell(case: &Case, base: &BTreeSet<String>, warnings: &[String], injected: &Injected) -> String {
    let after = lines(&injected.pod);
    let written = lines(case.pod());
    let is_base = case.name == "default/pod";
    let mut told: Vec<String> = warnings.iter().map(|warning| format!("configuration warning: {warning}")).collect();
    told.extend(injected.warnings.iter().map(|warning| format!("warning: {warning}")));
    told.extend(after.iter().filter(|line| !written.contains(*line) && (is_base || !base.contains(*line))).map(|line| format!("+ {line}")));
    told.extend(base.iter().filter(|line| !after.contains(*line) && is_rendered(line)).map(|line| format!("- {line}")));
    let version = format!("outrigger:{}", env!("CARGO_PKG_VERSION"));
    told.iter().map(|line| format!("{}\n", line.replace(&version, "outrigger:VERSION"))).collect()
}

/// Lines of the plainest pod that are not its own application's.
fn is_rendered(line: &str) -> bool {
    !line.starts_with("spec.containers[app]") && !line.starts_with("metadata.name") && !line.starts_with("metadata.labels.app")
}

/// A pod as one line per value; named items of lists go by their names.
fn lines(pod: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    flatten("", pod, &mut found);
    for (list, path) in [("containers", "spec.containers"), ("initContainers", "spec.initContainers")] {
        let names: Vec<&str> = contract::items(pod, list).iter().filter_map(|item| item["name"].as_str()).collect();
        found.insert(format!("{path}: {}", names.join(" ")));
    }
    found
}

fn flatten(path: &str, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            let separator = if path.is_empty() { "" } else { "." };
            fields.iter().filter(|(name, _)| *name != "name" || path.starts_with("metadata")).for_each(|(name, value)| {
                flatten(&format!("{path}{separator}{name}"), value, found);
            });
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (index, item) in items.iter().enumerate() {
                let key = item["name"].as_str().map_or_else(|| index.to_string(), str::to_owned);
                flatten(&format!("{path}[{key}]"), item, found);
            }
        }
        value => drop(found.insert(format!("{path} = {value}"))),
    }
}
