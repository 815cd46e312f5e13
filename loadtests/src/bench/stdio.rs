//! What the program says. `println!` would end it with a panic when nobody reads any more (`| head -1`) or the disk is full: half an
//! hour of measurements would be lost for a line of progress.

use std::io::{self, Write};

use anyhow::{Context as _, Result};

/// Writes a text to standard output, unless its reader has seen enough: what the program does beside printing goes on.
///
/// # Errors
/// Whatever else keeps the text from where it should be, such as a full disk.
pub fn print(text: &str) -> Result<()> {
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to standard output"),
    }
}

/// [`print`] with a newline behind the text.
///
/// # Errors
/// As [`print`].
pub fn print_line(text: &str) -> Result<()> {
    print(&format!("{text}\n"))
}

/// Writes a line to standard error. That it cannot be written cannot be told to anybody.
pub fn warn(line: &str) {
    let _nobody_to_tell = io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}
