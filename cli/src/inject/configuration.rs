//! The injector's settings from the files that `istioctl kube-inject` takes.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use outrigger_config::yaml;
use outrigger_injector::configuration::Configuration;
use outrigger_injector::settings::{Policy, Settings};
use serde_json::Value;

use super::input;
use crate::stdio;

/// Flags of the configuration, named as istioctl names them.
#[derive(clap::Args)]
pub struct Flags {
    /// Revision whose control plane the pods belong to
    #[arg(long, value_name = "NAME")]
    revision: Option<String>,
    /// Templates, selectors and annotations: the key `config` of the injector's ConfigMap, or the whole ConfigMap
    #[arg(long = "injectConfigFile", value_name = "FILE")]
    inject_config_file: Option<PathBuf>,
    /// MeshConfig: the key `mesh` of the mesh's ConfigMap, or the whole ConfigMap
    #[arg(long = "meshConfigFile", value_name = "FILE")]
    mesh_config_file: Option<PathBuf>,
    /// Helm values: the key `values` of the injector's ConfigMap, or a values file
    #[arg(long = "valuesFile", value_name = "FILE")]
    values_file: Option<PathBuf>,
}

impl Flags {
    /// Reads the files, and tells on standard error what in them has no effect. The policy is always "enabled": whoever injects by hand
    /// wants it, and labels and annotations still decide.
    ///
    /// # Errors
    /// A file that cannot be read or understood.
    pub fn settings(&self) -> Result<Settings> {
        let inject = self.inject_config_file.as_deref().map(read).transpose()?;
        let key = |file: &Option<Given>, key: &str| file.as_ref().and_then(|file| file.key(key));
        let values = match &self.values_file {
            Some(path) => Some(read(path)?.whole_or("values").with_context(|| format!("--valuesFile {}", path.display()))?),
            None => key(&inject, "values"),
        };
        let mesh = match &self.mesh_config_file {
            Some(path) => Some(read(path)?.whole_or("mesh").with_context(|| format!("--meshConfigFile {}", path.display()))?),
            None => None,
        };
        let config = match (inject, &self.inject_config_file) {
            (Some(file), Some(path)) => file.whole_or("config").with_context(|| format!("--injectConfigFile {}", path.display()))?,
            _ => String::new(),
        };
        let configuration = Configuration::read(&config, values.as_deref(), mesh.as_deref()).context(self.names())?;
        for warning in &configuration.warnings {
            stdio::warn(&format!("outrigger: warning: {warning}"));
        }
        let mut settings = configuration.settings;
        settings.policy = Policy::Enabled;
        if let Some(revision) = &self.revision {
            settings.revision.clone_from(revision);
        }
        Ok(settings)
    }

    /// The files that were given, for messages.
    fn names(&self) -> String {
        let files = [
            ("--injectConfigFile", &self.inject_config_file),
            ("--meshConfigFile", &self.mesh_config_file),
            ("--valuesFile", &self.values_file),
        ];
        let named = files.iter().filter_map(|(flag, path)| Some(format!("{flag} {}", path.as_ref()?.display())));
        named.collect::<Vec<_>>().join(", ")
    }
}

/// A file that is either a text of its own or a ConfigMap with several.
struct Given {
    text: String,
    data: Option<Value>,
}

fn read(path: &Path) -> Result<Given> {
    let text = input::read_file(path)?.text;
    let config_map = match &yaml::documents(&text)[..] {
        [document] => document.node.as_ref().ok().map(yaml::Node::to_json).filter(|value| value["kind"] == "ConfigMap"),
        _ => None,
    };
    Ok(Given { data: config_map.map(|map| map["data"].clone()), text })
}

impl Given {
    /// A key of the ConfigMap.
    fn key(&self, key: &str) -> Option<String> {
        Some(self.data.as_ref()?.get(key)?.as_str()?.to_owned())
    }

    /// A key of the ConfigMap, or the text if it is none.
    ///
    /// # Errors
    /// A ConfigMap without that key: it is another one than was meant.
    fn whole_or(self, key: &str) -> Result<String> {
        if self.data.is_none() {
            return Ok(self.text);
        }
        self.key(key).with_context(|| format!("expected a ConfigMap with the key `{key}` under `data`, or the text of that key"))
    }
}
