//! The iptables programs of one family and flavour: reading all rules, writing a batch.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use nix::unistd::{AccessFlags, access};

use crate::Error;
use crate::rule::Family;
use crate::settings::Flavour;

/// Which lock file the legacy programs take, so that no two write at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// `/run/xtables.lock`.
    Usual,
    /// One for the network namespace with this number, in the folder for temporary files. From iptables 1.8.6 on.
    OfNamespace(u64),
}

impl Lock {
    /// The one for the namespace of this thread.
    #[must_use]
    pub fn of_this_namespace() -> Self {
        std::fs::metadata("/proc/thread-self/ns/net").map_or(Self::Usual, |file| Self::OfNamespace(file.ino()))
    }

    fn file(self) -> Option<PathBuf> {
        match self {
            Self::Usual => None,
            Self::OfNamespace(number) => {
                let folders = [std::env::temp_dir(), PathBuf::from("/dev/shm"), PathBuf::from("/run")];
                let folder = folders.into_iter().find(|folder| access(folder, AccessFlags::W_OK).is_ok());
                folder.map(|folder| folder.join(format!("xtables.{number}.lock")))
            }
        }
    }

    /// Removes the file. The namespace belongs to one pod and one writer, so nobody is waiting for it.
    pub fn remove(self) {
        if let Some(file) = self.file() {
            let _ = std::fs::remove_file(file);
        }
    }
}

/// How long to wait for another process's xtables lock, in seconds (contract 2.7).
const LOCK_WAIT_SECONDS: &str = "30";

/// One family in one flavour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tool {
    /// Which kernel tables.
    pub family: Family,
    /// Which programs.
    pub flavour: Flavour,
    /// Which lock.
    pub lock: Lock,
}

impl Tool {
    /// Name of one of the programs; `purpose` is `save` or `restore`.
    #[must_use]
    pub fn program(self, purpose: &str) -> String {
        let family = match self.family {
            Family::V4 => "iptables",
            Family::V6 => "ip6tables",
        };
        match self.flavour {
            Flavour::Legacy => format!("{family}-legacy-{purpose}"),
            Flavour::Nft => format!("{family}-nft-{purpose}"),
            Flavour::Plain => format!("{family}-{purpose}"),
        }
    }

    /// Whether both programs are in `PATH`.
    #[must_use]
    pub fn is_installed(self) -> bool {
        ["save", "restore"].iter().all(|purpose| in_path(&self.program(purpose)))
    }

    /// All rules of all tables that exist. Naming no table matters: asking the legacy flavour for one would create it.
    ///
    /// # Errors
    /// The program cannot be run or fails.
    pub fn save(self) -> Result<String, Error> {
        let program = self.program("save");
        let output = Command::new(&program).stdin(Stdio::null()).output();
        checked(&program, output).map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Carries out a batch; each table in it as one transaction.
    ///
    /// # Errors
    /// The program cannot be run or refuses the batch; [`Error::Lock`] if it cannot take its lock.
    pub fn restore(self, batch: &str) -> Result<(), Error> {
        self.feed(&["--noflush"], batch)
    }

    /// Makes the tables in `saved`, the output of [`Tool::save`], what they were then.
    ///
    /// # Errors
    /// As [`Tool::restore`].
    pub fn restore_whole(self, saved: &str) -> Result<(), Error> {
        self.feed(&[], saved)
    }

    /// Programs older than 1.6.2 wait for no lock and do not know how to be asked.
    fn feed(self, arguments: &[&str], input: &str) -> Result<(), Error> {
        let waiting = [arguments, &["--wait", LOCK_WAIT_SECONDS]].concat();
        match self.feed_once(&waiting, input) {
            Err(Error::Command { stderr, .. }) if stderr.contains("option") && stderr.contains("wait") => self.feed_once(arguments, input),
            result => result,
        }
    }

    fn feed_once(self, arguments: &[&str], input: &str) -> Result<(), Error> {
        let program = self.program("restore");
        let mut command = Command::new(&program);
        command.args(arguments);
        if let Some(file) = self.lock.file() {
            command.env("XTABLES_LOCKFILE", file);
        }
        match checked(&program, feed(&mut command, input)) {
            Err(Error::Command { program, stderr, .. }) if stderr.contains("lock file") => Err(self.lock_error(program, stderr)),
            result => result.map(drop),
        }
    }

    fn lock_error(self, program: String, detail: String) -> Error {
        let usual = || PathBuf::from(std::env::var_os("XTABLES_LOCKFILE").unwrap_or_else(|| "/run/xtables.lock".into()));
        let file = self.lock.file().unwrap_or_else(usual).display().to_string();
        Error::Lock { program, file, detail }
    }
}

/// Runs a program with this input.
pub(crate) fn feed(command: &mut Command, input: &str) -> std::io::Result<Output> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // A program that dies at once closes its input; its exit status tells more than the broken pipe.
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(input.as_bytes());
    }
    child.wait_with_output()
}

/// The output of a program that succeeded.
pub(crate) fn checked(program: &str, output: std::io::Result<Output>) -> Result<Output, Error> {
    let program = program.to_owned();
    let output = output.map_err(|source| Error::Spawn { program: program.clone(), source })?;
    if output.status.success() {
        return Ok(output);
    }
    let stderr = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
    Err(Error::Command { program, status: output.status.to_string(), stderr })
}

/// Whether a program of that name is in `PATH`.
pub(crate) fn in_path(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}
