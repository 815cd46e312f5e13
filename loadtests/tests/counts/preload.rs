//! The library that the proxy under measurement is started with: `preload.c`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// What a test adds to every request, in the unchanged release binary, from outside.
#[derive(Clone, Copy, Debug)]
pub enum Extra {
    Allocation,
    SystemCall,
}

/// Builds the library in `folder`; the result is the environment that loads it into `binary`.
pub fn environment(folder: &Path, binary: &Path, extra: Option<Extra>) -> Result<Vec<(&'static str, String)>> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/counts/preload.c");
    let library = folder.join("preload.so");
    let status = Command::new("cc").args(["-O2", "-shared", "-fPIC", "-Wall", "-o"]).arg(&library).arg(source).status();
    ensure!(status.context("cc (package build-essential)")?.success(), "cc could not build the library to be preloaded");
    let mut environment = vec![("LD_PRELOAD", library.display().to_string())];
    if let Some(extra) = extra {
        let probe = match extra {
            Extra::Allocation => "allocation",
            Extra::SystemCall => "system-call",
        };
        let [malloc, sdallocx] = addresses(binary, [" _rjem_malloc", " _rjem_sdallocx"])?;
        environment.extend([("PROBE", probe.to_owned()), ("PROBE_MALLOC", malloc), ("PROBE_SDALLOCX", sdallocx)]);
    }
    Ok(environment)
}

fn addresses<const N: usize>(binary: &Path, names: [&str; N]) -> Result<[String; N]> {
    let symbols = Command::new("nm").arg("--defined-only").arg(binary).output().context("nm (package binutils)")?;
    let symbols = String::from_utf8_lossy(&symbols.stdout);
    let address = |name: &str| symbols.lines().find_map(|line| line.strip_suffix(name)?.split(' ').next()).map(str::to_owned);
    let found = names.map(|name| address(name).unwrap_or_default());
    ensure!(found.iter().all(|address| !address.is_empty()), "{} has not all of the symbols{}", binary.display(), names.join(""));
    Ok(found)
}
