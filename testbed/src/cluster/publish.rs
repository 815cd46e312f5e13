//! Writes the run's own objects where every proxy watches: one file per Pod, Service and EndpointSlice.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Result;
use outrigger_config::object::Object;
use outrigger_config::store::PUBLISHED_BY;
use serde_json::{Value, json};

use super::services::ServiceView;
use super::tree::put;
use crate::run::files;

/// The folder with what it holds.
#[derive(Debug)]
pub struct Publisher {
    folder: PathBuf,
    written: BTreeMap<String, String>,
}

impl Publisher {
    /// A publisher into an empty folder.
    pub fn new(folder: &Path) -> Publisher {
        Publisher { folder: folder.to_owned(), written: BTreeMap::new() }
    }

    /// Makes the folder hold these objects, by file name. Only what differs is written.
    ///
    /// Additions come in the order Pods, Services, EndpointSlices, and removals in the opposite order, so that an
    /// endpoint never refers to a pod that is not there.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn publish(&mut self, objects: BTreeMap<String, Value>) -> Result<()> {
        let mut texts = BTreeMap::new();
        for (name, mut object) in objects {
            put(&mut object, &["metadata", "annotations", PUBLISHED_BY], json!("testbed"));
            texts.insert(name, object.to_string());
        }
        for (name, text) in &texts {
            if self.written.get(name) != Some(text) {
                files::write_atomic(&self.folder.join(name), text.as_bytes())?;
            }
        }
        for name in self.written.keys().rev().filter(|name| !texts.contains_key(*name)) {
            std::fs::remove_file(self.folder.join(name))?;
        }
        self.written = texts;
        Ok(())
    }
}

/// File name of an object; the number gives the order of writing.
pub fn file_name(kind: &str, namespace: &str, name: &str) -> String {
    let order = match kind {
        "Pod" => 1,
        "Service" => 2,
        _ => 3,
    };
    format!("{order}-{}_{namespace}_{name}.json", kind.to_lowercase())
}

/// A Service as the API server shows it: with its addresses.
pub fn service(object: &Object, view: &ServiceView) -> Value {
    let mut json = object.to_json();
    put(&mut json, &["metadata", "namespace"], json!(view.namespace));
    if let Some(first) = view.addresses.first() {
        put(&mut json, &["spec", "clusterIP"], json!(first.to_string()));
        put(&mut json, &["spec", "clusterIPs"], json!(view.addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>()));
    }
    json
}
