//! A run: its folder, its lock, what others see of it, and what is left of it after a crash.
//!
//! ```text
//! /run/outrigger/NAME/lock          held as long as the run lives
//!                     state.json    what `ps`, `logs` and `exec` read
//!                     ca/           root certificate and key
//!                     config/       generated objects, watched by every proxy
//!                     mirror/       copies of manifests that only root can read
//!                     applied/      objects written by a program that drives the run
//!                     pods/NS_POD/  one folder per pod: files, volumes, certificates, logs
//! ```

pub mod cleanup;
pub mod files;
pub mod mirror;
pub mod state;
pub mod watch;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Where runs live.
pub const ROOT: &str = "/run/outrigger";

/// The folder of a run whose lock this process holds.
#[derive(Debug)]
pub struct RunFolder {
    name: String,
    path: PathBuf,
    _lock: File,
}

impl RunFolder {
    /// Takes the name, or with `None` the first free one of `default`, `default-2`, ..., and makes the folder anew.
    ///
    /// What an earlier run of that name left behind is removed first.
    ///
    /// # Errors
    /// When a run of this name lives, the name is unusable, or the folder cannot be made.
    pub fn take(name: Option<&str>) -> Result<RunFolder> {
        let Some(name) = name else {
            for name in default_names() {
                if let Some(folder) = Self::try_take(&name)? {
                    return Ok(folder);
                }
            }
            bail!("a hundred runs are up already");
        };
        let name = parse_name(name)?;
        match Self::try_take(&name)? {
            Some(folder) => Ok(folder),
            None => bail!("a run named {name:?} is up already: choose another --name, or end it with `outrigger down --name {name}`"),
        }
    }

    fn try_take(name: &str) -> Result<Option<RunFolder>> {
        let path = folder(name);
        // Nobody may take a folder for a crashed one's between its making and its locking.
        let _turn = take_turn()?;
        fs::create_dir_all(&path).with_context(|| format!("making {} (root is needed)", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        File::create(path.join("lock"))?;
        let Some(lock) = try_lock(&path)? else { return Ok(None) };
        cleanup::remove_leftovers(name)?;
        for part in ["pods", "config", "applied", "ca"] {
            let part = path.join(part);
            fs::create_dir_all(&part)?;
            fs::set_permissions(&part, fs::Permissions::from_mode(0o755))?;
        }
        // Secrets and keys are in there; containers get their parts by mounts.
        fs::set_permissions(path.join("pods"), fs::Permissions::from_mode(0o700))?;
        fs::set_permissions(path.join("ca"), fs::Permissions::from_mode(0o700))?;
        Ok(Some(RunFolder { name: name.to_owned(), path, _lock: lock }))
    }

    /// Name of the run.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A pod's folder.
    pub fn pod(&self, namespace: &str, name: &str) -> PathBuf {
        pod_folder(&self.path, namespace, name)
    }
}

/// A name as it may be given to a run.
///
/// # Errors
/// When namespaces and interfaces cannot be named after it.
pub fn parse_name(name: &str) -> Result<String> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || name.len() > 40 || !name.bytes().all(fits) {
        bail!("name {name:?}: expected up to 40 lower-case letters, digits and dashes");
    }
    Ok(name.to_owned())
}

/// The names of runs that were given none, in the order in which they are taken.
fn default_names() -> impl Iterator<Item = String> {
    (1..=100).map(|n| if n == 1 { "default".to_owned() } else { format!("default-{n}") })
}

/// Whether this is the name of a run that was given none.
pub fn is_default(name: &str) -> bool {
    default_names().any(|default| default == name)
}

/// The folder of a run.
pub fn folder(name: &str) -> PathBuf {
    Path::new(ROOT).join(name)
}

/// A pod's folder in a run's folder.
pub fn pod_folder(run: &Path, namespace: &str, name: &str) -> PathBuf {
    run.join("pods").join(format!("{namespace}_{name}"))
}

/// Takes a run's lock, if nobody holds it.
///
/// # Errors
/// When there is no lock file: the run is being removed.
pub fn try_lock(folder: &Path) -> Result<Option<File>> {
    let file = folder.join("lock");
    let lock = OpenOptions::new().append(true).open(&file);
    let lock = lock.with_context(|| format!("opening {} (root is needed)", file.display()))?;
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("locking {}", file.display())),
    }
}

/// Waits for the turn to take or remove names and addresses: at most one process at a time does.
///
/// # Errors
/// When the lock file cannot be opened.
pub fn take_turn() -> Result<File> {
    fs::create_dir_all(ROOT).with_context(|| format!("making {ROOT} (root is needed)"))?;
    let file = Path::new(ROOT).join(".turn");
    let lock = OpenOptions::new().create(true).append(true).open(&file);
    let lock = lock.with_context(|| format!("opening {} (root is needed)", file.display()))?;
    lock.lock()?;
    Ok(lock)
}

/// Names of all runs that have a folder, living or crashed, sorted.
pub fn names() -> Vec<String> {
    let Ok(entries) = fs::read_dir(ROOT) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    names
}
