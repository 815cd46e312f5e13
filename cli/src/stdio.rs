//! What the commands say. Everything goes through here, because `println!` ends a program with a panic when nobody reads any
//! more (`| head -1`) or the disk is full; `main.rs` has clippy refuse it elsewhere.

use std::io::{self, Write};

use anyhow::Context as _;

/// Whether anybody is still there to read standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Reader {
    /// What was printed has been taken.
    Reads,
    /// The pipe is closed: the reader has seen enough.
    Gone,
}

/// Writes a text to standard output. What the command does beside printing goes on when the reader has gone: a report is still
/// judged, and pods stay up.
///
/// # Errors
/// Whatever else keeps the text from where it should be, such as a full disk.
pub fn print(text: &str) -> anyhow::Result<()> {
    print_bytes(text.as_bytes()).map(|_reader| ())
}

/// [`print`] with a newline behind the text, in one write.
///
/// # Errors
/// As [`print`].
pub fn print_line(text: &str) -> anyhow::Result<()> {
    print(&format!("{text}\n"))
}

/// [`print`] for those to whom the reader's going matters.
///
/// # Errors
/// As [`print`].
pub fn print_bytes(bytes: &[u8]) -> anyhow::Result<Reader> {
    judge(&mut io::stdout().lock(), bytes)
}

fn judge(output: &mut impl Write, bytes: &[u8]) -> anyhow::Result<Reader> {
    match output.write_all(bytes).and_then(|()| output.flush()) {
        Ok(()) => Ok(Reader::Reads),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(error).context("cannot write to standard output"),
    }
}

/// Writes a line to standard error. That it cannot be written cannot be told to anybody.
pub fn warn(line: &str) {
    let _nobody_to_tell = io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Failing(io::ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_has_gone_is_no_error_and_anything_else_is_one() {
        assert_eq!(judge(&mut Vec::new(), b"text").expect("written"), Reader::Reads);
        assert_eq!(judge(&mut Failing(io::ErrorKind::BrokenPipe), b"text").expect("no error"), Reader::Gone);
        let full = judge(&mut Failing(io::ErrorKind::StorageFull), b"text").expect_err("not written");
        assert!(format!("{full:#}").starts_with("cannot write to standard output: "), "{full:#}");
    }
}
