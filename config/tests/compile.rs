//! Compiled snapshots: every `golden/compile/NAME.yaml` for the workload its first line names gives `NAME.json`.
//!
//! The first line is `# node: sidecar NAMESPACE/POD` or `# node: router NAMESPACE/POD`; the pod is in the file.
//! `UPDATE_GOLDEN=1 cargo test -p outrigger-config --test compile` writes the files anew; read the difference before
//! committing it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use outrigger_config::compile::compile;
use outrigger_config::diagnostic::Severity;
use outrigger_config::model::{Node, ProxyType};
use outrigger_config::parse::parse;
use outrigger_config::registry::Registry;
use serde_json::Value;

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/compile");
    let entries = fs::read_dir(&folder).expect("the folder of golden files");
    let mut cases: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    cases.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    cases.sort();
    cases
}

/// The workload that the first line names, as its pod describes it.
fn node(text: &str, registry: &Registry) -> Node {
    let line = text.lines().next().unwrap_or_default();
    let words: Vec<&str> = line.strip_prefix("# node: ").expect("first line `# node: ...`").split_whitespace().collect();
    let [role, pod] = words.as_slice() else { panic!("first line: {line}") };
    let (namespace, name) = pod.split_once('/').expect("NAMESPACE/POD");
    let find = |workload: &&std::sync::Arc<outrigger_config::registry::Workload>| workload.namespace == namespace && workload.pod == name;
    let workload = registry.workloads().iter().find(find).unwrap_or_else(|| panic!("no pod {pod}"));
    Node {
        name: name.to_owned(),
        service_account: workload.service_account.clone(),
        ip_addresses: workload.addresses.clone(),
        labels: workload.labels.clone(),
        workload_name: workload.workload_name.clone(),
        ..example_node(if *role == "router" { ProxyType::Router } else { ProxyType::Sidecar }, namespace, ("", ""))
    }
}

/// The snapshot and diagnostics, without the node, which the input says already.
fn compiled(path: &Path) -> Value {
    let text = fs::read_to_string(path).expect("a readable case");
    let parsed = parse(Path::new("input.yaml"), &text);
    let errors = parsed.diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
    assert_eq!(errors.map(ToString::to_string).collect::<Vec<_>>(), Vec::<String>::new(), "{}", path.display());
    let registry = Registry::new(&parsed.objects);
    let result = compile(&registry, &node(&text, &registry));
    let again = compile(&registry, &node(&text, &registry));
    let mut snapshot = serde_json::to_value(&result.snapshot).expect("serialisable");
    assert_eq!(Some(&snapshot), serde_json::to_value(&again.snapshot).ok().as_ref(), "compiling twice gives the same");
    if let Some(map) = snapshot.as_object_mut() {
        map.remove("node");
        let mesh = serde_json::to_value(&compile(&Registry::new(&[]), &node(&text, &registry)).snapshot.mesh).ok();
        if map.get("mesh") == mesh.as_ref() {
            map.remove("mesh");
        }
        let diagnostics: Vec<String> = result.diagnostics.iter().map(ToString::to_string).collect();
        map.insert("diagnostics".to_owned(), diagnostics.into());
    }
    shorten(&mut snapshot);
    snapshot
}

/// Leaves out what says nothing (empty and absent values, limits and timeouts at their defaults) and writes durations in
/// milliseconds, so that a golden file shows what its case is about.
fn shorten(value: &mut Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(shorten),
        Value::Object(map) if map.len() == 2 && map.contains_key("nanos") => {
            let part = |key| map.get(key).and_then(Value::as_u64).unwrap_or_default();
            *value = format!("{} ms", part("secs") * 1000 + part("nanos") / 1_000_000).into();
        }
        Value::Object(map) => {
            map.values_mut().for_each(shorten);
            // Istio's default policy stands in nearly every route.
            if let Some(retry) = map.get_mut("retry").filter(|retry| retry["retry_on"]["grpc_status"] == serde_json::json!([14, 1])) {
                *retry = "default".into();
            }
            map.retain(|key, value| !says_nothing(key, value));
        }
        _ => {}
    }
}

fn says_nothing(key: &str, value: &Value) -> bool {
    let default = match key {
        "connect_timeout" => "10000 ms",
        "backoff" => "25 ms",
        "idle_timeout" => "3600000 ms",
        _ => "",
    };
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::String(text) => text == default,
        Value::Number(number) if key == "max_concurrent_streams" => number.as_u64() == Some(100),
        Value::Number(number) if key == "max_requests_per_connection" => number.as_u64() == Some(0),
        Value::Number(number) => number.as_u64() == Some(u32::MAX.into()),
        Value::Bool(true) => key == "ignore_previous_hosts",
    }
}

#[test]
fn snapshots_are_as_recorded() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let cases = cases();
    assert!(!cases.is_empty());
    let mut different = Vec::new();
    for case in &cases {
        let golden = case.with_extension("json");
        let now = serde_json::to_string_pretty(&compiled(case)).expect("serialisable") + "\n";
        if update {
            fs::write(&golden, &now).expect("a writable folder");
        } else if fs::read_to_string(&golden).unwrap_or_default() != now {
            different.push(golden.display().to_string());
        }
    }
    assert!(different.is_empty(), "changed: {different:#?}; see the head of this file");
}

/// Every example compiles, for a gateway and for a sidecar in each namespace it names, without a complaint, and every
/// destination it routes to exists.
#[test]
fn examples_compile_without_complaints() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let folders: Vec<PathBuf> =
        folders(&root).into_iter().chain(folders(&root.join("tasks"))).filter(|path| !path.ends_with("tasks")).collect();
    assert!(folders.len() > 1, "no examples found");
    for folder in folders {
        let files = outrigger_config::load::read(std::slice::from_ref(&folder)).expect("a readable example");
        let objects: Vec<_> = files.iter().flat_map(|file| parse(&file.path, &file.text).objects).collect();
        let registry = Registry::new(&objects);
        let namespaces: BTreeSet<&str> = objects.iter().map(|object| &*object.id.namespace).filter(|name| !name.is_empty()).collect();
        for namespace in namespaces {
            for (proxy_type, labels) in [(ProxyType::Sidecar, ("app", "client")), (ProxyType::Router, ("istio", "ingressgateway"))] {
                let workload = example_node(proxy_type, namespace, labels);
                let result = compile(&registry, &workload);
                let mut complaints: Vec<String> = result.diagnostics.iter().map(ToString::to_string).collect();
                unknown_clusters(&serde_json::to_value(&result.snapshot).expect("serialisable"), &mut complaints);
                assert_eq!(complaints, Vec::<String>::new(), "{}", folder.display());
            }
        }
    }
}

fn folders(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root).into_iter().flatten().filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

/// Destinations that lead nowhere: an entry with a weight and no cluster.
fn unknown_clusters(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Array(list) => list.iter().for_each(|value| unknown_clusters(value, found)),
        Value::Object(map) => {
            if map.contains_key("weight") && map.get("cluster") == Some(&Value::Null) {
                found.push(format!("unknown cluster {}", map["name"]));
            }
            map.values().for_each(|value| unknown_clusters(value, found));
        }
        _ => {}
    }
}

fn example_node(proxy_type: ProxyType, namespace: &str, (label, value): (&str, &str)) -> Node {
    Node {
        proxy_type,
        name: "client".to_owned(),
        namespace: namespace.to_owned(),
        labels: [(label.to_owned(), value.to_owned())].into(),
        workload_name: "client".to_owned(),
        ..Node::default()
    }
}
