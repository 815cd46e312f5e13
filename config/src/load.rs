//! The texts of configuration files: from folders, globs and single files. The only part of this crate that reads files.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

/// A file with its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// As reached from the path that was given.
    pub path: PathBuf,
    /// The content; bytes that are not UTF-8 are replaced by U+FFFD, which a parser then reports where it matters.
    pub text: String,
}

/// Reads all configuration files under `paths`, in the order of their paths.
///
/// A folder means every `.yaml`, `.yml` and `.json` file in it and below; hidden entries are passed over, so that of a
/// mounted ConfigMap (`..data` and the links into it) each file is read once. A last component with `*` or `?` is a pattern.
/// A file named directly may have any name.
///
/// # Errors
/// A path that does not exist or cannot be read. A file that disappears while a folder is read is passed over: its removal
/// is a change like any other.
pub fn read(paths: &[PathBuf]) -> io::Result<Vec<SourceFile>> {
    let files = list(paths)?;
    let mut sources = Vec::with_capacity(files.len());
    for path in files {
        if let Some(text) = read_file(&path)? {
            sources.push(SourceFile { path, text });
        }
    }
    Ok(sources)
}

/// The files that [`read`] reads, without reading them.
///
/// # Errors
/// A path that does not exist or a folder that cannot be read.
pub fn list(paths: &[PathBuf]) -> io::Result<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::new();
    for path in paths {
        if path.is_dir() {
            walk(path, &mut files, 0)?;
        } else if let Some(pattern) = pattern(path) {
            expand(path, pattern, &mut files)?;
        } else {
            std::fs::metadata(path).map_err(|error| named(path, &error))?;
            files.insert(path.clone());
        }
    }
    Ok(files)
}

/// Whether a file found in a folder is configuration, by its name.
pub fn is_configuration(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let extension = path.extension().and_then(|extension| extension.to_str());
    !hidden && matches!(extension, Some("yaml" | "yml" | "json"))
}

/// The text of a file; `None` when it does not exist any more.
///
/// # Errors
/// Whatever else prevents reading, with the path in the message.
pub fn read_file(path: &Path) -> io::Result<Option<String>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(named(path, &error)),
    }
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Folders nested deeper than this are a loop of links.
const MAX_FOLDERS: usize = 32;

fn walk(folder: &Path, files: &mut BTreeSet<PathBuf>, depth: usize) -> io::Result<()> {
    if depth > MAX_FOLDERS {
        return Err(io::Error::other(format!("{}: more than {MAX_FOLDERS} folders deep", folder.display())));
    }
    for entry in std::fs::read_dir(folder).map_err(|error| named(folder, &error))? {
        let path = entry.map_err(|error| named(folder, &error))?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden {
            continue;
        }
        if path.is_dir() {
            walk(&path, files, depth + 1)?;
        } else if is_configuration(&path) {
            files.insert(path);
        }
    }
    Ok(())
}

/// The last component when it has wildcards and no file has that very name.
fn pattern(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?;
    (name.contains(['*', '?']) && !path.exists()).then_some(name)
}

fn expand(path: &Path, pattern: &str, files: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let before = files.len();
    for entry in std::fs::read_dir(folder).map_err(|error| named(folder, &error))? {
        let entry = entry.map_err(|error| named(folder, &error))?;
        let fits = entry.file_name().to_str().is_some_and(|name| matches(pattern.as_bytes(), name.as_bytes()));
        if fits && entry.path().is_file() {
            files.insert(entry.path());
        }
    }
    if files.len() == before {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("{}: no file fits this pattern", path.display())));
    }
    Ok(())
}

/// Glob matching of one name with `*` and `?`, in linear space and without recursion.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    n = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests;
