//! The texts of configuration files: from folders, globs and single files. The only part of this crate that reads files.

mod tree;

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use self::tree::{Tree, expand};
use crate::yaml::MAX_TEXT;

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
/// A file named directly may have any name, and may be a pipe, which is read to its end; in folders and patterns only regular
/// files count, as nothing else there may keep the reader waiting.
///
/// # Errors
/// A path that does not exist or cannot be read, a file larger than [`MAX_TEXT`]. A file that disappears while a folder is read is
/// passed over: its removal is a change like any other.
pub fn read(paths: &[PathBuf]) -> io::Result<Vec<SourceFile>> {
    let files = list(paths)?;
    let mut sources = Vec::with_capacity(files.len());
    for path in files {
        let text = if paths.contains(&path) && is_stream(&path) { Some(read_stream(&path)?) } else { read_file(&path)? };
        if let Some(text) = text {
            sources.push(SourceFile { path, text });
        }
    }
    Ok(sources)
}

/// The files that [`read`] reads, without reading them: each once, in the order of their paths.
///
/// # Errors
/// A path that does not exist, a folder that cannot be read, a pattern that no file fits.
pub fn list(paths: &[PathBuf]) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        match list_one(path)? {
            Listing::Files(mut found, unlisted) => {
                if let Some(folder) = unlisted.into_iter().next() {
                    return Err(folder.error);
                }
                files.append(&mut found);
            }
            Listing::NothingFits => return Err(nothing_fits(path)),
        }
    }
    // One folder comes in order.
    if paths.len() > 1 {
        files.sort();
        files.dedup();
    }
    Ok(files)
}

/// What a path stands for at the moment.
#[derive(Debug)]
pub enum Listing {
    /// These files, in the order of their paths, and whatever is in folders below that cannot be listed.
    Files(Vec<PathBuf>, Vec<Unlisted>),
    /// It is a pattern, its folder was listed, and no file there fits.
    NothingFits,
}

/// A folder of which nobody knows which files are in it, or something that may be a link to one.
#[derive(Debug)]
pub struct Unlisted {
    /// Where.
    pub path: PathBuf,
    /// Why, with the path.
    pub error: io::Error,
}

/// As [`list`], of one path; that nothing fits a pattern is no error, nor is a folder below that cannot be listed.
///
/// # Errors
/// A path that does not exist or cannot be listed itself, a loop of folders: nobody knows which files there are.
pub fn list_one(path: &Path) -> io::Result<Listing> {
    let mut tree = Tree::default();
    match (std::fs::metadata(path), pattern(path)) {
        (Ok(metadata), _) if metadata.is_dir() => tree.add(path)?,
        (Ok(_), _) => tree.files.push(path.to_owned()),
        (Err(error), Some(pattern)) if error.kind() == io::ErrorKind::NotFound => {
            tree.files = expand(folder_of(path), pattern)?;
            if tree.files.is_empty() {
                return Ok(Listing::NothingFits);
            }
        }
        (Err(error), _) => return Err(named(path, &error)),
    }
    Ok(Listing::Files(tree.files, tree.unlisted))
}

/// What there is to say about a pattern that no file fits.
pub fn nothing_fits(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{}: no file fits this pattern", path.display()))
}

/// Whether a file is one of those that `root` stands for, going by the names alone: below it, or fitting its pattern.
pub fn belongs_to(root: &Path, file: &Path) -> bool {
    file.starts_with(root) || fits(root, file)
}

/// Whether `root` has wildcards and a file has a name that fits them, in the same folder.
pub fn fits(root: &Path, file: &Path) -> bool {
    let name = file.file_name().and_then(|name| name.to_str());
    pattern(root).zip(name).is_some_and(|(pattern, name)| matches(pattern.as_bytes(), name.as_bytes())) && root.parent() == file.parent()
}

/// The folder around a file or pattern.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether a file found in a folder is configuration, by its name.
pub fn is_configuration(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let extension = path.extension().and_then(|extension| extension.to_str());
    !hidden && matches!(extension, Some("yaml" | "yml" | "json"))
}

/// The text of a regular file; `None` when it does not exist any more.
///
/// # Errors
/// Whatever else prevents reading, with the path in the message.
pub fn read_file(path: &Path) -> io::Result<Option<String>> {
    Ok(read_with_metadata(path)?.map(|(text, _)| text))
}

/// As [`read_file`], with what the file system knew of the file when it was opened.
///
/// # Errors
/// As [`read_file`].
pub fn read_with_metadata(path: &Path) -> io::Result<Option<(String, Metadata)>> {
    match read_regular(path) {
        Ok((bytes, metadata)) => Ok(Some((to_text(bytes), metadata))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(named(path, &error)),
    }
}

/// Whether there is something at a path that can be read only once: a pipe, as shells make of `<(command)`, or a device.
pub fn is_stream(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}

/// The text of a pipe or device, when all who write to it are done: it waits for them, as `cat` does.
///
/// # Errors
/// Whatever prevents reading, with the path in the message.
pub fn read_stream(path: &Path) -> io::Result<String> {
    let bytes = File::open(path).and_then(|file| read_to_end(file, 0));
    bytes.map(to_text).map_err(|error| named(path, &error))
}

/// `O_NONBLOCK` of Linux on every processor we build for: opening a pipe that nobody writes to returns at once.
const NONBLOCK: i32 = 0o4000;
/// The space that is set aside for a file whatever length it pretends to have.
const MAX_RESERVED: u64 = 1 << 20;

fn read_regular(path: &Path) -> io::Result<(Vec<u8>, Metadata)> {
    let file = OpenOptions::new().read(true).custom_flags(NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "is not a regular file"));
    }
    if metadata.len() > MAX_TEXT as u64 {
        return Err(too_large());
    }
    Ok((read_to_end(file, metadata.len())?, metadata))
}

/// Reads what should be of a certain length and may be of any, up to the limit.
fn read_to_end(file: File, length: u64) -> io::Result<Vec<u8>> {
    // One byte more than there should be: the end is found without making room again.
    let mut bytes = Vec::with_capacity(length.min(MAX_RESERVED) as usize + 1);
    // A file asks for its length again before it is read; what is behind `take` does not.
    file.take(MAX_TEXT as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_TEXT { Err(too_large()) } else { Ok(bytes) }
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {} MiB, the limit for one file", MAX_TEXT >> 20))
}

fn to_text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// The last component when it has wildcards. It is a pattern only while no file has that very name.
fn pattern(path: &Path) -> Option<&str> {
    path.file_name()?.to_str().filter(|name| name.contains(['*', '?']))
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
