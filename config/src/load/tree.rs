//! What there is in a folder, and in those below it.

use std::ffi::OsString;
use std::fs::DirEntry;
use std::io;
use std::path::{Path, PathBuf};

use super::{Unlisted, is_configuration, matches, named};

/// Folders nested deeper than this are a loop of links.
const MAX_FOLDERS: usize = 32;

/// What there is in a folder and below. Within a folder the names are sorted, which gives all paths in their order.
#[derive(Default)]
pub(super) struct Tree {
    pub(super) files: Vec<PathBuf>,
    pub(super) unlisted: Vec<Unlisted>,
}

impl Tree {
    /// Adds what is in a folder and below.
    ///
    /// # Errors
    /// A folder that cannot be listed itself. A loop of links, as it concerns more than one folder: what is above is found once
    /// more at each turn.
    pub(super) fn add(&mut self, folder: &Path) -> io::Result<()> {
        let entries = entries_of(folder).map_err(|error| named(folder, &error))?;
        self.add_entries(folder, entries, 0)
    }

    fn add_entries(&mut self, folder: &Path, entries: Vec<Entry>, depth: usize) -> io::Result<()> {
        if depth > MAX_FOLDERS {
            return Err(io::Error::other(format!("{}: more than {MAX_FOLDERS} folders deep", folder.display())));
        }
        for (name, kind) in entries {
            let path = folder.join(name);
            match kind {
                Ok(Kind::Folder) => match entries_of(&path) {
                    Ok(entries) => self.add_entries(&path, entries, depth + 1)?,
                    Err(error) => self.miss(path, &error),
                },
                // Its reading says why it cannot be asked.
                Ok(Kind::File) | Err(_) if is_configuration(&path) => self.files.push(path),
                Ok(Kind::File | Kind::Other) => {}
                Err(error) => self.miss(path, &error),
            }
        }
        Ok(())
    }

    /// Takes note of what cannot be listed, unless it is gone: that is a change like any other.
    fn miss(&mut self, path: PathBuf, error: &io::Error) {
        if error.kind() != io::ErrorKind::NotFound {
            let error = named(&path, error);
            self.unlisted.push(Unlisted { path, error });
        }
    }
}

/// What a folder knows of something in it.
type Entry = (OsString, io::Result<Kind>);

/// What is in a folder and not hidden, in the order of the names.
fn entries_of(folder: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if !name.as_encoded_bytes().starts_with(b".") {
            entries.push((name, kind(&entry)));
        }
    }
    entries.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    Ok(entries)
}

/// What an entry of a folder, or the target of a link there, can give.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Folder,
    File,
    /// A pipe, socket or device.
    Other,
}

/// The folder knows what most of its entries are; of a link the target must be asked.
fn kind(entry: &DirEntry) -> io::Result<Kind> {
    let kind = match entry.file_type() {
        Ok(kind) if !kind.is_symlink() => kind,
        _ => std::fs::metadata(entry.path())?.file_type(),
    };
    Ok(if kind.is_dir() {
        Kind::Folder
    } else if kind.is_file() {
        Kind::File
    } else {
        Kind::Other
    })
}

/// The files of a folder that fit a pattern, in the order of their names.
pub(super) fn expand(folder: &Path, pattern: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| named(folder, &error))? {
        let entry = entry.map_err(|error| named(folder, &error))?;
        let fits = entry.file_name().to_str().is_some_and(|name| matches(pattern.as_bytes(), name.as_bytes()));
        // What cannot be asked counts as a file, whose reading then says why.
        if fits && matches!(kind(&entry), Ok(Kind::File) | Err(_)) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}
