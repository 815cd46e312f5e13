//! The cases in `injector/tests/golden`: a folder is a configuration (`configuration/{config,values,mesh}.yaml`), a file `NAME.yaml` in it a
//! manifest with one pod or workload, and `NAME.txt` what is expected of it.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Facts;

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// `folder/name`.
    pub name: String,
    /// Name of the folder.
    pub folder: String,
    /// The manifest's file.
    pub file: PathBuf,
    /// The manifest's text.
    pub text: String,
    /// The object in it.
    pub object: Value,
    /// JSON pointer from the object to the pod.
    pub pointer: &'static str,
}

impl Case {
    /// The pod, or the workload's template, as written.
    pub fn pod(&self) -> &Value {
        self.object.pointer(self.pointer).unwrap_or(&Value::Null)
    }

    /// apiVersion, kind and name of the workload; `None` for a pod.
    pub fn workload(&self) -> Option<(String, String, String)> {
        let text = |pointer: &str| self.object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        (!self.pointer.is_empty()).then(|| (text("/apiVersion"), text("/kind"), text("/metadata/name")))
    }

    /// The pod that a controller would create from the template, or the pod itself: what reaches the webhook.
    pub fn created(&self) -> Value {
        let mut pod = self.pod().clone();
        let Some((api_version, kind, name)) = self.workload() else { return pod };
        let mut owner = json!({ "apiVersion": api_version, "kind": kind, "name": name, "uid": "1", "controller": true });
        pod["apiVersion"] = json!("v1");
        pod["kind"] = json!("Pod");
        pod["metadata"]["namespace"] = json!("shop");
        match kind.as_str() {
            "Deployment" => {
                owner["kind"] = json!("ReplicaSet");
                owner["name"] = json!(format!("{name}-5d4f8c"));
                pod["metadata"]["labels"]["pod-template-hash"] = json!("5d4f8c");
            }
            "CronJob" => {
                owner["kind"] = json!("Job");
                owner["name"] = json!(format!("{name}-29000000"));
            }
            _ => {}
        }
        pod["metadata"]["generateName"] = json!(format!("{}-", owner["name"].as_str().unwrap_or_default()));
        pod["metadata"]["ownerReferences"] = json!([owner]);
        pod
    }

    /// A text of the folder's configuration, if it has one.
    pub fn configuration(&self, key: &str) -> Option<String> {
        std::fs::read_to_string(root().join(&self.folder).join("configuration").join(format!("{key}.yaml"))).ok()
    }

    /// What the contract's table needs to know of the folder's configuration.
    pub fn facts(&self) -> Facts {
        let default = Facts::default();
        match self.folder.as_str() {
            "native" => Facts { native: true, ..default },
            "cni" => Facts { cni: true, ..default },
            "full" => Facts {
                full: true,
                native: true,
                hold: false,
                revision: "canary".to_owned(),
                image: "registry.example/mesh/outrigger:9".to_owned(),
                ..default
            },
            "mesh" => {
                let config = json!({ "drainDuration": "30s", "statusPort": 16020, "holdApplicationUntilProxyStarts": false,
                    "proxyMetadata": { "A": "mesh", "B": "mesh" } });
                let mesh_proxy_config =
                    config.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())).collect();
                Facts { merge: false, mesh_proxy_config, ..default }
            }
            _ => default,
        }
    }

    /// The file with what is expected.
    pub fn expected(&self) -> PathBuf {
        self.file.with_extension("txt")
    }
}

/// Folder of all cases.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../injector/tests/golden")
}

/// All cases, sorted by name.
pub fn cases() -> Vec<Case> {
    let mut found: Vec<Case> =
        list(&root()).into_iter().filter(|path| path.is_dir()).flat_map(|folder| list(&folder)).filter_map(|file| read(&file)).collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

fn list(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.unwrap_or_else(|error| panic!("{}: {error}", folder.display())).path()).collect()
}

fn read(file: &Path) -> Option<Case> {
    if file.extension().is_none_or(|extension| extension != "yaml") {
        return None;
    }
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let document = outrigger_config::yaml::documents(&text).into_iter().next().unwrap_or_else(|| panic!("{}: empty", file.display()));
    let object = document.node.unwrap_or_else(|error| panic!("{}: {}: {}", file.display(), error.position, error.message)).to_json();
    let name = |path: Option<&Path>| path.and_then(Path::file_stem).map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let folder = name(file.parent());
    let pointer = match object["kind"].as_str() {
        Some("Pod") | None => "",
        Some("CronJob") => "/spec/jobTemplate/spec/template",
        Some(_) => "/spec/template",
    };
    Some(Case { name: format!("{folder}/{}", name(Some(file))), folder, file: file.to_owned(), pointer, object, text })
}
