//! Writing files so that a reader sees either the old content or the new one.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result};

/// Replaces `path` by rename; readable by everyone.
///
/// # Errors
/// When the folder cannot be written.
pub fn write_atomic(path: &Path, content: &[u8]) -> Result<()> {
    replace(path, content, 0o644, None)
}

/// Makes a folder with its parents; anyone may enter it, whatever the caller's umask says.
///
/// # Errors
/// When a parent cannot be written.
pub fn make_folder(path: &Path) -> std::io::Result<()> {
    fs::create_dir_all(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

/// Replaces `path` by rename; readable by root alone.
///
/// # Errors
/// When the folder cannot be written.
pub fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    replace(path, content, 0o600, None)
}

/// Replaces `path` by rename; readable by `owner` (user and group id) alone.
///
/// # Errors
/// When the folder cannot be written.
pub fn write_private_for(path: &Path, content: &[u8], owner: u32) -> Result<()> {
    replace(path, content, 0o600, Some(owner))
}

/// The temporary name begins with a dot: watchers of configuration folders leave such files alone.
fn replace(path: &Path, content: &[u8], mode: u32, owner: Option<u32>) -> Result<()> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let temporary = path.with_file_name(format!(".{name}.new"));
    let write = || -> std::io::Result<()> {
        let _ = fs::remove_file(&temporary);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        // Whatever the caller's umask says.
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.write_all(content)?;
        if owner.is_some() {
            std::os::unix::fs::fchown(&file, owner, owner)?;
        }
        fs::rename(&temporary, path)
    };
    write().with_context(|| format!("writing {}", path.display()))
}
