//! Where results go. A reader that has seen enough (`| head`) ends the command without a complaint.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use outrigger_injector::manifest::{self, Failure};
use outrigger_loadtests::table::Paint;

use super::input::Source;
use crate::stdio::{self, Reader};

/// As a shell reports a program that wrote into a closed pipe.
const CLOSED_PIPE: u8 = 141;

/// What `-o` takes in `check-inject`, `ps`, `load` and kubectl.
const FORMATS: [&str; 3] = ["json", "yaml", "table"];

/// Writes a text to standard output.
///
/// # Errors
/// Whatever prevents it but a closed pipe, which becomes the exit code.
pub fn print(text: &str) -> Result<ExitCode> {
    Ok(match stdio::print_bytes(text.as_bytes())? {
        Reader::Reads => ExitCode::SUCCESS,
        Reader::Gone => ExitCode::from(CLOSED_PIPE),
    })
}

/// Writes the manifests to a file, or to standard output.
///
/// # Errors
/// Whatever prevents it.
pub fn write(texts: &[String], to: Option<&PathBuf>) -> Result<ExitCode> {
    let text = manifest::join(texts);
    let Some(path) = to.filter(|path| path.as_path() != Path::new("-")) else { return print(&text) };
    replace(path, &text).with_context(|| format!("-o {}", path.display()))?;
    if FORMATS.iter().any(|format| path.as_path() == Path::new(format)) {
        let path = path.display();
        stdio::warn(&format!(
            "outrigger: warning: -o {path}: the manifests are now in a file of this name; -o takes a file here, no format"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// The file may be the manifest itself: it stays as it was unless all of the new text is on the disk.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let Some(present) = path.canonicalize().ok().filter(|present| present.is_file()) else { return std::fs::write(path, text) };
    let folder = present.parent().unwrap_or(Path::new("/"));
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    new.write_all(text.as_bytes())?;
    new.as_file().set_permissions(present.metadata()?.permissions())?;
    new.as_file().sync_all()?;
    new.persist(&present)?;
    Ok(())
}

/// Tells all that is wrong, a line each.
pub fn fail(failures: &[(String, Failure)]) -> ExitCode {
    for (source, failure) in failures {
        stdio::warn(&format!("outrigger: {source}:{failure}"));
    }
    let workloads = if failures.len() == 1 { "1 problem" } else { &format!("{} problems", failures.len()) };
    stdio::warn(&format!("outrigger: {workloads}; nothing is written"));
    ExitCode::FAILURE
}

/// Runs `change` over every source. The problems of all of them are told together.
pub fn transform_all(
    sources: &[Source],
    mut transform: impl FnMut(&Source) -> Result<manifest::Transformed, Vec<Failure>>,
) -> Result<Vec<manifest::Transformed>, Vec<(String, Failure)>> {
    let (mut done, mut failures) = (Vec::new(), Vec::new());
    for source in sources {
        match transform(source) {
            Ok(transformed) => done.push(transformed),
            Err(errors) => failures.extend(errors.into_iter().map(|error| (source.name.clone(), error))),
        }
    }
    if failures.is_empty() { Ok(done) } else { Err(failures) }
}

/// Whether to colour what goes to standard output.
pub fn paint() -> Paint {
    Paint::for_terminal(io::stdout().is_terminal())
}

/// A text in a colour (an ANSI code), or plain.
pub fn coloured(paint: Paint, code: &str, text: &str) -> String {
    match paint {
        Paint::Plain => text.to_owned(),
        Paint::Colour => format!("\x1b[{code}m{text}\x1b[0m"),
    }
}
