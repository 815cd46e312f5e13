//! Volumes: a folder on the host each, filled before the containers start.
//!
//! ConfigMaps and Secrets appear as the kubelet writes them: files are links through `..data`, which is exchanged as
//! a whole when the content changes, so that a reader never sees half of an update.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use outrigger_config::api::kubernetes::{Container, DownwardApiVolumeSource, KeyToPath, PodSpec, Volume, VolumeProjection};

use super::facts::{self, Facts, Sources};
use crate::run::files;

/// Files below a volume with their content.
pub type Content = BTreeMap<PathBuf, Vec<u8>>;

/// What is behind a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backing {
    /// An empty folder that the containers may fill.
    Empty,
    /// Files from ConfigMaps, Secrets and the downward API.
    Files(Content),
    /// A file or folder of the host.
    Host(PathBuf),
}

/// Decides what a volume holds. Kinds that need a cluster's storage become empty folders.
///
/// # Errors
/// When a ConfigMap, Secret or key is missing and not optional.
pub fn backing(volume: &Volume, facts: &Facts, sources: &Sources, containers: &[Container]) -> Result<Backing, String> {
    let namespace = &facts.meta.namespace;
    if let Some(source) = &volume.config_map {
        let keys = sources.config_map(namespace, &source.name);
        return select("ConfigMap", &source.name, keys, &source.items, source.optional, facts).map(Backing::Files);
    }
    if let Some(source) = &volume.secret {
        let keys = sources.secret(namespace, &source.secret_name);
        return select("Secret", &source.secret_name, keys, &source.items, source.optional, facts).map(Backing::Files);
    }
    if let Some(source) = &volume.downward_api {
        return downward(source, facts, containers).map(Backing::Files);
    }
    if let Some(source) = &volume.projected {
        let mut content = Content::new();
        for part in &source.sources {
            content.extend(projection(part, facts, sources, containers)?);
        }
        return Ok(Backing::Files(content));
    }
    Ok(volume.host_path.as_ref().map_or(Backing::Empty, |host| Backing::Host(PathBuf::from(&host.path))))
}

fn projection(part: &VolumeProjection, facts: &Facts, sources: &Sources, containers: &[Container]) -> Result<Content, String> {
    let namespace = &facts.meta.namespace;
    let mut content = Content::new();
    if let Some(source) = &part.config_map {
        let keys = sources.config_map(namespace, &source.name);
        content.extend(select("ConfigMap", &source.name, keys, &source.items, source.optional, facts)?);
    }
    if let Some(source) = &part.secret {
        let keys = sources.secret(namespace, &source.name);
        content.extend(select("Secret", &source.name, keys, &source.items, source.optional, facts)?);
    }
    if let Some(source) = &part.downward_api {
        content.extend(downward(source, facts, containers)?);
    }
    if let Some(source) = &part.service_account_token {
        // Nobody verifies tokens here; the file exists because programs insist on reading it.
        let token = format!("outrigger-testbed:{namespace}:{}", facts.service_account);
        content.insert(inside(&source.path)?, token.into_bytes());
    }
    Ok(content)
}

fn select(
    kind: &str,
    name: &str,
    keys: Option<BTreeMap<String, Vec<u8>>>,
    items: &[KeyToPath],
    optional: bool,
    facts: &Facts,
) -> Result<Content, String> {
    let Some(mut keys) = keys else {
        let missing = format!("{kind} {}/{name} not found", facts.meta.namespace);
        return if optional { Ok(Content::new()) } else { Err(missing) };
    };
    if items.is_empty() {
        return keys.into_iter().map(|(key, bytes)| Ok((inside(&key)?, bytes))).collect();
    }
    let mut content = Content::new();
    for item in items {
        match keys.remove(&item.key) {
            Some(bytes) => drop(content.insert(inside(&item.path)?, bytes)),
            None if optional => {}
            None => return Err(format!("{kind} {}/{name} has no key {:?}", facts.meta.namespace, item.key)),
        }
    }
    Ok(content)
}

fn downward(source: &DownwardApiVolumeSource, facts: &Facts, containers: &[Container]) -> Result<Content, String> {
    let mut content = Content::new();
    for item in &source.items {
        let value = match (&item.field_ref, &item.resource_field_ref) {
            (Some(selector), _) => facts.field(selector)?,
            (None, Some(selector)) => {
                let container = containers.iter().find(|container| container.name == selector.container_name);
                facts::resource(selector, container.ok_or("resourceFieldRef without a container")?)?
            }
            (None, None) => continue,
        };
        content.insert(inside(&item.path)?, value.into_bytes());
    }
    Ok(content)
}

/// A path from a manifest may not lead out of its volume.
fn inside(path: &str) -> Result<PathBuf, String> {
    let path = Path::new(path);
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    if plain && !path.as_os_str().is_empty() { Ok(path.to_owned()) } else { Err(format!("path {path:?} leads out of the volume")) }
}

/// Makes the folder hold what it should; returns what to mount.
///
/// # Errors
/// When the folder cannot be written.
pub fn provide(folder: &Path, backing: &Backing) -> std::io::Result<PathBuf> {
    match backing {
        Backing::Host(path) => Ok(path.clone()),
        Backing::Empty => {
            fs::create_dir_all(folder)?;
            fs::set_permissions(folder, fs::Permissions::from_mode(0o777))?;
            Ok(folder.to_owned())
        }
        Backing::Files(content) => {
            files::make_folder(folder)?;
            if !holds(folder, content) {
                exchange(folder, content)?;
            }
            Ok(folder.to_owned())
        }
    }
}

/// Brings the volumes of a running pod up to date. What has disappeared meanwhile stays as it is.
///
/// # Errors
/// When a folder cannot be written.
pub fn refresh(pod: &Path, spec: &PodSpec, facts: &Facts, sources: &Sources) -> std::io::Result<()> {
    for volume in &spec.volumes {
        if let Ok(files @ Backing::Files(_)) = backing(volume, facts, sources, &spec.containers) {
            provide(&folder(pod, &volume.name), &files)?;
        }
    }
    Ok(())
}

/// Where a pod's volume is.
pub fn folder(pod: &Path, volume: &str) -> PathBuf {
    pod.join("volumes").join(volume)
}

/// Whether the folder has this content already; a needless exchange would wake everybody who watches it.
fn holds(folder: &Path, content: &Content) -> bool {
    fn count(folder: &Path) -> usize {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| if entry.path().is_dir() { count(&entry.path()) } else { 1 }).sum()
    }
    let data = folder.join("..data");
    let same = |(path, bytes): (&PathBuf, &Vec<u8>)| fs::read(data.join(path)).is_ok_and(|found| found == *bytes);
    data.is_dir() && count(&data) == content.len() && content.iter().all(same)
}

fn exchange(folder: &Path, content: &Content) -> std::io::Result<()> {
    let data = folder.join("..data");
    let old = fs::read_link(&data).ok();
    let generation = old.as_ref().and_then(|old| old.to_str()?.strip_prefix("..")?.parse::<u64>().ok()).unwrap_or(0) + 1;
    let name = format!("..{generation}");
    files::make_folder(&folder.join(&name))?;
    for (path, bytes) in content {
        let file = folder.join(&name).join(path);
        let inner = path.ancestors().skip(1).filter(|ancestor| !ancestor.as_os_str().is_empty());
        for ancestor in inner.collect::<Vec<_>>().into_iter().rev() {
            files::make_folder(&folder.join(&name).join(ancestor))?;
        }
        fs::write(&file, bytes)?;
        fs::set_permissions(file, fs::Permissions::from_mode(0o644))?;
    }
    let fresh = folder.join("..data_new");
    let _ = fs::remove_file(&fresh);
    symlink(&name, &fresh)?;
    fs::rename(&fresh, &data)?;
    link_entries(folder, content)?;
    if let Some(old) = old {
        let _ = fs::remove_dir_all(folder.join(old));
    }
    Ok(())
}

/// The visible names: one link per top-level entry, through `..data`.
fn link_entries(folder: &Path, content: &Content) -> std::io::Result<()> {
    let wanted: Vec<&std::ffi::OsStr> = content.keys().filter_map(|path| path.iter().next()).collect();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if !name.as_encoded_bytes().starts_with(b"..") && !wanted.contains(&name.as_os_str()) {
            fs::remove_file(folder.join(&name))?;
        }
    }
    for name in wanted {
        let link = folder.join(name);
        if !link.is_symlink() {
            symlink(Path::new("..data").join(name), link)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(entries: &[(&str, &str)]) -> Content {
        entries.iter().map(|(path, text)| (PathBuf::from(path), text.as_bytes().to_vec())).collect()
    }

    #[test]
    fn a_changed_volume_is_exchanged_as_a_whole_and_lost_keys_disappear() {
        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).ok();
        provide(folder.path(), &Backing::Files(content(&[("a", "1"), ("dir/b", "2")]))).unwrap();
        assert_eq!((read("a").as_deref(), read("dir/b").as_deref()), (Some("1"), Some("2")));
        provide(folder.path(), &Backing::Files(content(&[("a", "3")]))).unwrap();
        assert_eq!((read("a").as_deref(), read("dir/b")), (Some("3"), None));
        assert!(!folder.path().join("dir").is_symlink());
    }

    #[test]
    fn a_path_that_leads_out_of_the_volume_is_refused() {
        assert!(inside("../../etc/passwd").is_err());
        assert!(inside("/etc/passwd").is_err());
        assert!(inside("a/b").is_ok());
    }
}
