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
    /// Text without version, and the version it was written under.
    written: BTreeMap<String, (String, u64)>,
    /// The last `metadata.resourceVersion` given; each file written gets the next.
    version: u64,
}

impl Publisher {
    /// A publisher into an empty folder. Versions count up from `version`, which must be above those of the user's objects.
    pub fn new(folder: &Path, version: u64) -> Publisher {
        Publisher { folder: folder.to_owned(), written: BTreeMap::new(), version }
    }

    /// The highest version in the folder. A proxy that knows it knows everything published before.
    pub fn version(&self) -> u64 {
        self.written.values().map(|(_, version)| *version).max().unwrap_or(0)
    }

    /// Makes the folder hold these objects, by file name. Only what differs is written.
    ///
    /// Additions come in the order Pods, Services, EndpointSlices, and removals in the opposite order, so that an
    /// endpoint never refers to a pod that is not there.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn publish(&mut self, objects: BTreeMap<String, Value>) -> Result<()> {
        let gone: Vec<String> = self.written.keys().rev().filter(|name| !objects.contains_key(*name)).cloned().collect();
        for (name, object) in objects {
            self.write(name, object)?;
        }
        for name in gone {
            std::fs::remove_file(self.folder.join(&name))?;
            self.written.remove(&name);
        }
        Ok(())
    }

    fn write(&mut self, name: String, mut object: Value) -> Result<()> {
        put(&mut object, &["metadata", "annotations", PUBLISHED_BY], json!("testbed"));
        let text = object.to_string();
        if self.written.get(&name).is_some_and(|(known, _)| *known == text) {
            return Ok(());
        }
        self.version += 1;
        put(&mut object, &["metadata", "resourceVersion"], json!(self.version.to_string()));
        files::write_atomic(&self.folder.join(&name), object.to_string().as_bytes())?;
        self.written.insert(name, (text, self.version));
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
