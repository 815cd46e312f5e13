//! What a run is started with.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::container::spec::Mount;
use crate::pod::image::ImageRule;
use crate::run::watch::parent;

/// Where proxies see the user's files. Their own paths may lead through folders that an unprivileged user cannot
/// enter.
const SEEN_AT: &str = "/etc/outrigger/config";

/// Settings of a run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Name; none means the first free one of `default`, `default-2`, ...
    pub name: Option<String>,
    /// Folders, files and globs of manifests. May be empty when everything comes by [`super::Testbed::apply`].
    pub paths: Vec<PathBuf>,
    /// What stands for images.
    pub images: Vec<ImageRule>,
    /// The `outrigger` program.
    pub program: PathBuf,
    /// Keep the run's folder, with all logs, when it has ended.
    pub keep: bool,
}

impl Options {
    /// Settings for these manifests, run by this very program.
    ///
    /// # Errors
    /// When the path of the running program is unknown.
    pub fn new(paths: impl IntoIterator<Item = impl Into<PathBuf>>) -> Result<Options> {
        let program = std::env::current_exe().context("finding the outrigger program")?;
        Ok(Options::with_program(program, paths))
    }

    /// Settings for these manifests, run by another build of the program: what tests use.
    pub fn with_program(program: impl Into<PathBuf>, paths: impl IntoIterator<Item = impl Into<PathBuf>>) -> Options {
        let paths = paths.into_iter().map(Into::into).collect();
        Options { name: None, paths, images: Vec::new(), program: program.into(), keep: false }
    }

    /// With a name.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Options {
        self.name = Some(name.into());
        self
    }
}

/// Mounts and `--config` arguments by which a proxy watches these paths. The run's own objects come last: where an
/// object is written twice, the later file counts.
pub fn configuration(paths: &[PathBuf], run: &Path) -> Result<(Vec<Mount>, Vec<String>)> {
    let (mut mounts, mut arguments) = (Vec::new(), Vec::new());
    let mut watch = |source: &Path, target: PathBuf, part: Option<&std::ffi::OsStr>| {
        let seen = part.map_or(target.clone(), |part| target.join(part));
        mounts.push(Mount::read_only(source, target));
        arguments.extend(["--config".to_owned(), seen.to_string_lossy().into_owned()]);
    };
    for (number, path) in paths.iter().enumerate() {
        let target = Path::new(SEEN_AT).join(number.to_string());
        // A file is replaced by rename, which a mount of the file itself would not notice.
        let (folder, part) = if path.is_dir() { (path.as_path(), None) } else { (parent(path), path.file_name()) };
        let folder = folder.canonicalize().with_context(|| path.display().to_string())?;
        watch(&folder, target, part);
    }
    watch(&run.join("applied"), Path::new(SEEN_AT).join("applied"), None);
    watch(&run.join("config"), Path::new(SEEN_AT).join("published"), None);
    Ok((mounts, arguments))
}
