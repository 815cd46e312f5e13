//! What a run is started with.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::container::spec::Mount;
use crate::pod::image::ImageRule;
use crate::run::mirror::{Mirror, is_open};
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

/// How proxies get at the user's manifests and the run's own objects.
#[derive(Debug, Default)]
pub struct Configuration {
    /// Folders shown to every proxy.
    pub mounts: Vec<Mount>,
    /// The `--config` arguments that name them.
    pub arguments: Vec<String>,
    /// Copies of what the user's folders keep to root.
    pub mirrors: Vec<Mirror>,
}

impl Configuration {
    /// Prepares these paths for the run in the folder `run`. Its own objects come last: where an object is written
    /// twice, the later file counts.
    ///
    /// # Errors
    /// When a folder does not exist.
    pub fn new(paths: &[PathBuf], run: &Path) -> Result<Configuration> {
        let mut configuration = Configuration::default();
        let mirrors = run.join("mirror");
        std::fs::create_dir_all(&mirrors)?;
        std::fs::set_permissions(&mirrors, std::fs::Permissions::from_mode(0o700))?;
        for (number, path) in paths.iter().enumerate() {
            // A file is replaced by rename, which a mount of the file itself would not notice.
            let (folder, part) = if path.is_dir() { (path.as_path(), None) } else { (parent(path), path.file_name()) };
            let mut source = folder.canonicalize().with_context(|| path.display().to_string())?;
            if !is_open(&source) {
                let target = mirrors.join(number.to_string());
                configuration.mirrors.push(Mirror::new(folder, &target)?);
                source = target;
            }
            configuration.show(source, number.to_string(), part);
        }
        configuration.show(run.join("applied"), "applied".into(), None);
        configuration.show(run.join("config"), "published".into(), None);
        Ok(configuration)
    }

    fn show(&mut self, source: PathBuf, name: String, part: Option<&OsStr>) {
        let target = Path::new(SEEN_AT).join(name);
        let watched = part.map_or(target.clone(), |part| target.join(part));
        self.mounts.push(Mount::read_only(source, target));
        self.arguments.extend(["--config".to_owned(), watched.to_string_lossy().into_owned()]);
    }
}
