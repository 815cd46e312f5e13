//! The binary whose requests are counted.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// `target/release/outrigger`, newer than its sources; or what `COUNTS_BINARY` in the environment names, to compare another build
/// with the record. `None`, said aloud, when there is no such binary and nobody asked for the counts: `cargo test` of a part of the
/// workspace shall not need a release build. The Makefile asks, by `COUNTS`.
///
/// # Errors
/// When the binary is missing or old although the counts are asked for, with the command that builds it.
pub fn release() -> Result<Option<PathBuf>> {
    if let Some(other) = std::env::var_os("COUNTS_BINARY") {
        return Ok(Some(other.into()));
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("loadtests is a folder of the workspace")?;
    let binary = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from).join("release/outrigger");
    let current = current(&binary).context("`make test` and `make counts` build it first");
    match current {
        Err(error) if std::env::var_os("COUNTS").is_none() => {
            crate::say(&format!("NOT RUN, requests were not counted: {error:#}"));
            Ok(None)
        }
        current => current.map(|()| Some(binary)),
    }
}

fn current(binary: &Path) -> Result<()> {
    let missing = || format!("there is no {}", binary.display());
    let built = modified(binary).with_context(missing)?;
    // Cargo writes `outrigger: source source ...`, a space within a name as `\ `.
    let sources = std::fs::read_to_string(binary.with_extension("d")).with_context(missing)?;
    let sources = sources.split_once(": ").map_or("", |(_, sources)| sources).trim().replace("\\ ", "\0");
    for source in sources.split(' ').map(|source| source.replace('\0', " ")) {
        let known = modified(Path::new(&source)).is_ok_and(|changed| changed <= built);
        ensure!(known, "{} is older than {source}", binary.display());
    }
    Ok(())
}

fn modified(path: &Path) -> std::io::Result<std::time::SystemTime> {
    path.metadata()?.modified()
}
