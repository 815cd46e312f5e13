//! Manifests from files, folders and standard input.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use outrigger_config::{load, yaml};
use outrigger_injector::{Namespace, manifest};
use serde_json::Value;

use crate::failure::WrongUsage;

/// Where manifests come from.
#[derive(clap::Args)]
pub struct Input {
    /// Manifest, folder of manifests, or - for standard input; may be given several times
    #[arg(short = 'f', long = "filename", value_name = "FILE|DIR|-", required = true)]
    pub files: Vec<PathBuf>,
    /// Namespace of objects that do not say one
    #[arg(short = 'n', long, value_name = "NAME", default_value = "default")]
    pub namespace: String,
}

/// A text with the name it is known by in messages.
pub struct Source {
    /// Path as given or found, or `standard input`.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Namespaces by name.
pub type Namespaces = BTreeMap<String, Namespace>;

impl Input {
    /// Reads everything, in the order given; files of a folder in the order of their paths.
    ///
    /// # Errors
    /// What cannot be read, is not UTF-8 or too large; a folder without manifests.
    pub fn read(&self) -> Result<Vec<Source>> {
        let stdin = self.files.iter().filter(|path| path.as_os_str() == "-").count();
        ensure!(stdin <= 1, WrongUsage::new("-f -: standard input can be read only once"));
        let mut sources = Vec::new();
        for path in &self.files {
            if path.as_os_str() == "-" {
                sources.push(Source { name: "standard input".to_owned(), text: text(std::io::stdin().lock(), "standard input")? });
                continue;
            }
            // The error begins with the path: this one, or one below it.
            let files = load::list(std::slice::from_ref(path)).map_err(|error| anyhow!("-f {error}"))?;
            ensure!(!files.is_empty(), "-f {}: no file here ends in .yaml, .yml or .json", path.display());
            for file in files {
                sources.push(read_file(&file)?);
            }
        }
        Ok(sources)
    }
}

/// Reads one file.
///
/// # Errors
/// As [`Input::read`].
pub fn read_file(path: &Path) -> Result<Source> {
    let name = path.display().to_string();
    let file = std::fs::File::open(path).with_context(|| name.clone())?;
    Ok(Source { text: text(file, &name)?, name })
}

fn text(from: impl std::io::Read, name: &str) -> Result<String> {
    let mut bytes = Vec::new();
    let limit = yaml::MAX_TEXT as u64;
    from.take(limit + 1).read_to_end(&mut bytes).with_context(|| name.to_owned())?;
    ensure!(bytes.len() as u64 <= limit, "{name}: larger than {} MiB", limit >> 20);
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(error) => {
            let line = error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
            bail!("{name}:{line}: expected UTF-8; nothing is changed")
        }
    }
}

/// The Namespace objects of the input. A label Kubernetes sets itself is added. Sources that cannot be read are passed over here; they are
/// told about where their workloads are looked for.
pub fn namespaces(sources: &[Source]) -> Namespaces {
    let objects = sources.iter().filter_map(|source| manifest::objects(&source.text).ok()).flatten();
    objects.filter_map(|object| namespace(&object.value)).map(|namespace| (namespace.name.clone(), namespace)).collect()
}

fn namespace(object: &Value) -> Option<Namespace> {
    if object["kind"] != "Namespace" || object["apiVersion"] != "v1" {
        return None;
    }
    let name = object.pointer("/metadata/name")?.as_str()?.to_owned();
    let mut labels = strings(object, "labels");
    labels.insert("kubernetes.io/metadata.name".to_owned(), name.clone());
    Some(Namespace { name, labels, annotations: strings(object, "annotations") })
}

/// An object's labels or annotations; a value that lacks its quotes counts as its text.
pub fn strings(object: &Value, field: &str) -> BTreeMap<String, String> {
    let map = object.pointer("/metadata").and_then(|metadata| metadata.get(field)).and_then(Value::as_object);
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    map.into_iter().flatten().map(|(key, value)| (key.clone(), text(value))).collect()
}

/// An object with the place it comes from.
pub struct Object {
    /// `file:line`.
    pub place: String,
    /// The object.
    pub value: Value,
}

/// All objects of the input.
///
/// # Errors
/// Documents that cannot be read, all of them.
pub fn objects(sources: &[Source]) -> Result<Vec<Object>> {
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for source in sources {
        match manifest::objects(&source.text) {
            Ok(objects) => found.extend(
                objects.into_iter().map(|object| Object { place: format!("{}:{}", source.name, object.line), value: object.value }),
            ),
            Err(errors) => failures.extend(errors.iter().map(|error| format!("{}:{error}", source.name))),
        }
    }
    if failures.is_empty() { Ok(found) } else { bail!("{}", failures.join("\n")) }
}
