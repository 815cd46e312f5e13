//! One allocation or one system call more per request, put into the unchanged release binary from outside.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// What a probe adds to every request.
#[derive(Clone, Copy, Debug)]
pub enum Extra {
    Allocation,
    SystemCall,
}

/// A library that is loaded into the proxy.
pub struct Probe {
    folder: tempfile::TempDir,
    extra: Extra,
    malloc: String,
    sdallocx: String,
}

impl Probe {
    /// Builds the library for a binary, whose allocator it calls.
    pub fn build(binary: &Path, extra: Extra) -> Result<Probe> {
        let folder = tempfile::tempdir()?;
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/counts/probe.c");
        let status =
            Command::new("cc").args(["-O1", "-shared", "-fPIC", "-o"]).arg(library(folder.path())).arg(source).arg("-ldl").status();
        ensure!(status.context("cc (package build-essential)")?.success(), "cc could not build the probe");
        let symbols = Command::new("nm").arg("--defined-only").arg(binary).output().context("nm (package binutils)")?;
        let symbols = String::from_utf8_lossy(&symbols.stdout);
        let at = |name: &str| {
            let found = symbols.lines().find_map(|line| line.strip_suffix(name)?.split(' ').next());
            found.map(str::to_owned).with_context(|| format!("{} has no symbol{name}", binary.display()))
        };
        Ok(Probe { folder, extra, malloc: at(" _rjem_malloc")?, sdallocx: at(" _rjem_sdallocx")? })
    }

    /// What loads it.
    pub fn environment(&self) -> [(&'static str, String); 4] {
        let extra = match self.extra {
            Extra::Allocation => "allocation",
            Extra::SystemCall => "system-call",
        };
        [
            ("LD_PRELOAD", library(self.folder.path()).display().to_string()),
            ("PROBE", extra.to_owned()),
            ("PROBE_MALLOC", self.malloc.clone()),
            ("PROBE_SDALLOCX", self.sdallocx.clone()),
        ]
    }
}

fn library(folder: &Path) -> PathBuf {
    folder.join("probe.so")
}
