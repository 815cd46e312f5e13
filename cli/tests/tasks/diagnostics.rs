//! What is said about the manifests: compared line by line with `diagnostics.golden`.

use std::{collections::BTreeSet, path::Path};

use outrigger_config::{
    compile::compile,
    diagnostic, load,
    model::{Node, ProxyType},
    registry::Registry,
    store::{FileChange, Store},
    string_map::StringMap,
};

use crate::format::Task;

/// Everything said about a task's manifests, by the parser, the validators and the compiler of every proxy concerned;
/// files are named as within the folder.
pub fn lines(task: &Task) -> String {
    let sources = load::read(std::slice::from_ref(&task.folder)).unwrap_or_else(|error| panic!("{}: {error}", task.name()));
    let relative = |path: &Path| path.strip_prefix(&task.folder).unwrap_or(path).to_path_buf();
    let changes = sources.into_iter().map(|source| FileChange { path: relative(&source.path), text: Some(source.text) });
    let mut store = Store::new();
    store.apply(changes.collect());
    let registry = Registry::new(store.objects());
    let mut all = store.diagnostics().to_vec();
    for node in nodes(&store) {
        all.extend(compile(&registry, &node).diagnostics);
    }
    diagnostic::sort(&mut all);
    all.iter().map(|diagnostic| format!("{diagnostic}\n")).collect()
}

/// The ingress gateway, and one sidecar for each namespace.
fn nodes(store: &Store) -> Vec<Node> {
    let namespaces: BTreeSet<&str> = store.objects().map(|object| &*object.id.namespace).filter(|name| !name.is_empty()).collect();
    let sidecars = namespaces.into_iter().map(|namespace| node(ProxyType::Sidecar, namespace, StringMap::new()));
    let labels = StringMap::from([("istio".to_owned(), "ingressgateway".to_owned())]);
    sidecars.chain([node(ProxyType::Router, "istio-system", labels)]).collect()
}

fn node(proxy_type: ProxyType, namespace: &str, labels: StringMap) -> Node {
    Node {
        proxy_type,
        name: "any".into(),
        namespace: namespace.into(),
        ip_addresses: vec![[127, 0, 0, 1].into()],
        labels,
        workload_name: "any".into(),
        ..Node::default()
    }
}

/// The golden file's difference to what is said now, if there is one. With `UPDATE_GOLDEN=1` the file is written instead.
pub fn difference(task: &Task) -> Option<String> {
    let file = task.folder.join("diagnostics.golden");
    let now = lines(task);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &now).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        return None;
    }
    let golden = std::fs::read_to_string(&file).unwrap_or_else(|error| format!("({error})\n"));
    (golden != now).then(|| format!("{}: want\n{golden}got\n{now}", task.name()))
}
