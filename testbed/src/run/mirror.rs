//! Copies of manifests that only root can read.
//!
//! Proxies watch the user's own files wherever they can: what a person saves is what they see, with nothing between.
//! But a proxy runs without any right, and a folder may be closed to others (`mktemp -d`, a strict umask). Then it
//! watches a copy, which the testbed keeps up to date.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use outrigger_config::load;
use outrigger_config::store::FileChange;

use super::files;

/// A copy of the manifests below a folder.
#[derive(Clone, Debug)]
pub struct Mirror {
    source: PathBuf,
    target: PathBuf,
}

impl Mirror {
    /// A copy of what is below `source`, empty until [`Mirror::follow`] is told of files.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new(source: &Path, target: &Path) -> Result<Mirror> {
        files::make_folder(target)?;
        Ok(Mirror { source: source.to_owned(), target: target.to_owned() })
    }

    /// Repeats changes in the copy; those of other folders are left alone.
    ///
    /// # Errors
    /// When the copy cannot be written.
    pub fn follow(&self, changes: &[FileChange]) -> Result<()> {
        for change in changes {
            let Ok(part) = change.path.strip_prefix(&self.source) else { continue };
            let copy = self.target.join(part);
            match &change.text {
                None => drop(fs::remove_file(copy)),
                Some(text) => {
                    self.make_parents(part)?;
                    files::write_atomic(&copy, text.as_bytes())?;
                }
            }
        }
        Ok(())
    }

    fn make_parents(&self, part: &Path) -> Result<()> {
        let mut folder = self.target.clone();
        for name in part.parent().into_iter().flat_map(Path::iter) {
            folder.push(name);
            files::make_folder(&folder)?;
        }
        Ok(())
    }
}

/// Whether an unprivileged user sees the folder and every manifest in it, once somebody has led them there.
pub fn is_open(folder: &Path) -> bool {
    let allows = |path: &Path, bits: u32| fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & bits == bits);
    let open_folder = |path: &Path| allows(path, 0o005);
    let Ok(manifests) = load::list(&[folder.to_owned()]) else { return false };
    let between = |file: &Path| file.ancestors().skip(1).take_while(|parent| *parent != folder).all(open_folder);
    open_folder(folder) && manifests.iter().all(|file| allows(file, 0o004) && between(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(path: PathBuf, text: Option<&str>) -> FileChange {
        FileChange { path, text: text.map(String::from) }
    }

    #[test]
    fn a_copy_follows_its_own_folder_only() {
        let folder = tempfile::tempdir().unwrap();
        let (source, target) = (folder.path().join("source"), folder.path().join("target"));
        let mirror = Mirror::new(&source, &target).unwrap();
        let other = folder.path().join("other/a.yaml");
        mirror.follow(&[change(source.join("sub/a.yaml"), Some("1")), change(other, Some("2"))]).unwrap();
        assert_eq!(fs::read_to_string(target.join("sub/a.yaml")).unwrap(), "1");
        assert!(!target.join("a.yaml").exists());
        assert!(is_open(&target), "whatever the source is like");
        mirror.follow(&[change(source.join("sub/a.yaml"), None)]).unwrap();
        assert!(!target.join("sub/a.yaml").exists());
    }

    #[test]
    fn a_folder_is_open_if_all_its_manifests_can_be_reached() {
        let folder = tempfile::tempdir().unwrap();
        let mode = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let file = folder.path().join("a.yaml");
        fs::write(&file, "").unwrap();
        mode(&file, 0o644);
        mode(folder.path(), 0o700);
        assert!(!is_open(folder.path()));
        mode(folder.path(), 0o755);
        assert!(is_open(folder.path()));
        mode(&file, 0o600);
        assert!(!is_open(folder.path()));
    }
}
