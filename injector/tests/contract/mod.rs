//! The sidecar contract, sections 3.5 to 3.8, as a table of fields, and a checker of injected pods against it.
//!
//! Written from the contract alone: nothing here calls the injector, so that whatever changes a pod (the library, the webhook, the command
//! line) is held to the same table. Other tests include it by path:
//!
//! ```ignore
//! #[path = "../../injector/tests/contract/mod.rs"]
//! mod contract;
//! ```
#![allow(dead_code, reason = "each test that includes this uses its own part of it")]

pub mod cases;
pub mod expect;
mod rows;

use std::collections::BTreeMap;

use serde_json::Value;

pub use rows::ROWS;

/// One row: in pods of which `when` is true, `path` has `value`.
pub struct Row {
    /// `proxy/...`, `init/...` or `pod/...`; list items with a name are found by it, others by number.
    pub path: &'static str,
    /// What is there.
    pub value: Expected,
    /// For which pods.
    pub when: fn(&Injection<'_>) -> bool,
}

/// What a row expects.
pub enum Expected {
    /// This JSON.
    Json(&'static str),
    /// What follows from the pod and the configuration.
    Computed(fn(&Injection<'_>) -> Value),
    /// Nothing.
    Absent,
}

/// What is configured, as far as the contract depends on it. The default is what an installation without any values has.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The pod's namespace.
    pub namespace: String,
    /// Of the injector.
    pub revision: String,
    /// Of both containers.
    pub image: String,
    /// Native sidecars are on.
    pub native: bool,
    /// Istio's CNI plugin writes the rules.
    pub cni: bool,
    /// The application waits for the proxy where nobody says otherwise.
    pub hold: bool,
    /// Further facts of the folder `full`.
    pub full: bool,
    /// `defaultConfig` of the mesh.
    pub mesh_proxy_config: BTreeMap<String, Value>,
    /// Metrics are merged.
    pub merge: bool,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            namespace: "shop".to_owned(),
            revision: "default".to_owned(),
            image: format!("outrigger:{}", env!("CARGO_PKG_VERSION")),
            native: false,
            cni: false,
            hold: true,
            full: false,
            mesh_proxy_config: BTreeMap::new(),
            merge: true,
        }
    }
}

/// Values in the cases that cannot be understood where they stand; they count as not given.
const UNPARSABLE: [&str; 6] = ["80,x", "redirect", "128MB", "70000", "[]", "perhaps"];

/// A pod before and after.
pub struct Injection<'p> {
    /// As written by the user.
    pub before: &'p Value,
    /// As injected.
    pub after: &'p Value,
    /// What is configured.
    pub facts: &'p Facts,
    /// The user's annotations.
    pub annotations: BTreeMap<String, String>,
    /// The workload, where the pod comes from a template.
    pub workload: Option<(String, String, String)>,
}

impl<'p> Injection<'p> {
    /// `workload` is apiVersion, kind and name, where the pod comes from a template.
    pub fn new(before: &'p Value, after: &'p Value, facts: &'p Facts, workload: Option<(String, String, String)>) -> Self {
        let mut annotations = texts(before, "annotations");
        annotations.retain(|_, value| !UNPARSABLE.contains(&value.as_str()));
        Self { before, after, facts, annotations, workload }
    }

    /// A container of any list.
    pub fn container(&self, name: &str) -> Option<&'p Value> {
        let lists = ["/spec/initContainers", "/spec/containers"];
        lists.iter().filter_map(|list| self.after.pointer(list)?.as_array()).flatten().find(|container| container["name"] == name)
    }

    /// A user's annotation.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.get(name).map(String::as_str)
    }

    /// Containers the user wrote, the proxy's own apart.
    pub fn applications(&self) -> impl Iterator<Item = &'p Value> {
        items(self.before, "containers").iter().filter(|container| container["name"] != "istio-proxy")
    }

    fn at(&self, path: &str) -> Option<&'p Value> {
        let (root, rest) = path.split_once('/')?;
        let start = match root {
            "proxy" => self.container("istio-proxy")?,
            "init" => self.container(if self.facts.cni { "istio-validation" } else { "istio-init" })?,
            _ => self.after,
        };
        rest.split('/').try_fold(start, |value, step| descend(value, &step.replace("~1", "/")))
    }
}

/// A string map of `metadata`.
pub fn texts(pod: &Value, field: &str) -> BTreeMap<String, String> {
    let map = pod["metadata"][field].as_object().into_iter().flatten();
    map.map(|(name, value)| (name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned))).collect()
}

/// A list of `spec`.
pub fn items<'p>(pod: &'p Value, list: &str) -> &'p [Value] {
    pod["spec"][list].as_array().map_or(&[], Vec::as_slice)
}

fn descend<'v>(value: &'v Value, step: &str) -> Option<&'v Value> {
    match value {
        Value::Array(items) => match step.parse::<usize>() {
            Ok(index) => items.get(index),
            Err(_) => items.iter().find(|item| item["name"] == step),
        },
        value => value.get(step),
    }
}

/// What in an injected pod contradicts the table; empty if nothing does.
pub fn check(injection: &Injection<'_>) -> Vec<String> {
    let mut problems: Vec<String> =
        ROWS.iter().filter(|row| (row.when)(injection)).filter_map(|row| contradiction(row, injection)).collect();
    problems.extend(expect::order_of_variables(injection));
    problems.extend(expect::order_of_containers(injection));
    problems.extend(expect::probes(injection));
    problems.extend(expect::untouched(injection));
    problems
}

/// How many rows speak about this pod.
pub fn rows_that_apply(injection: &Injection<'_>) -> usize {
    ROWS.iter().filter(|row| (row.when)(injection)).count()
}

fn contradiction(row: &Row, injection: &Injection<'_>) -> Option<String> {
    let expected = match &row.value {
        Expected::Absent => None,
        Expected::Json(text) => Some(serde_json::from_str(text).unwrap_or_else(|error| panic!("row {}: {error}", row.path))),
        Expected::Computed(compute) => Some(compute(injection)),
    };
    let found = injection.at(row.path).cloned();
    let show = |value: &Option<Value>| value.as_ref().map_or_else(|| "nothing".to_owned(), Value::to_string);
    (found != expected).then(|| format!("{}: expected {}, found {}", row.path, show(&expected), show(&found)))
}
