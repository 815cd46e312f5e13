//! What the operating system offers and nobody wraps.
#![allow(unsafe_code)]

use std::io;
use std::net::TcpListener;
use std::ops::Range;
use std::path::Path;

use nix::libc;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Gives the pages of this program's code back to the page cache. Those in use return at the next call, for a minor fault
/// each; those that only the start needed (command line, YAML, compiler, and what the kernel mapped around them) stop
/// counting as this process's memory.
///
/// # Errors
/// When `/proc` cannot be read.
pub(crate) fn release_code() -> io::Result<()> {
    let program = std::env::current_exe()?;
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    for range in maps.lines().filter_map(|line| code(line, &program)) {
        // SAFETY: the range is a mapping of this process that is private, executable and not writable, backed by the
        // program's file. Nothing was ever written to such pages (the program is position-independent and has no text
        // relocations), so dropping them loses nothing: the next access reads the same bytes from the file, which stays
        // as long as it is mapped. Code is never unmapped, so the range is still valid here.
        unsafe { libc::madvise(std::ptr::with_exposed_provenance_mut(range.start), range.len(), libc::MADV_DONTNEED) };
    }
    Ok(())
}

/// A listening socket whose connections can be waited for, on the runtime that calls this.
///
/// # Errors
/// When the socket cannot be registered.
pub(crate) fn watched(socket: TcpListener) -> io::Result<AsyncFd<TcpListener>> {
    // SAFETY: a `TcpListener` owns an open descriptor, gives out the same one for as long as it lives, and is closed by being
    // dropped alone. The `AsyncFd` owns it and lends it out by shared reference, which none can close it by.
    unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }.map_err(|error| error.into_parts().1)
}

/// The addresses of a line of `/proc/self/maps`, when it is code of `program`.
fn code(line: &str, program: &Path) -> Option<Range<usize>> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let is_code = fields.next()? == "r-xp" && Path::new(fields.nth(3)?) == program;
    let address = |hex| usize::from_str_radix(hex, 16).ok();
    if is_code { Some(address(start)?..address(end)?) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unwritable_code_of_the_program_itself_is_released() {
        let program = Path::new("/usr/local/bin/outrigger");
        let line = |permissions, file| format!("5609-560a {permissions} 00482000 fe:00 9043                     {file}");
        assert_eq!(code(&line("r-xp", "/usr/local/bin/outrigger"), program), Some(0x5609..0x560a));
        assert_eq!(code(&line("r--p", "/usr/local/bin/outrigger"), program), None, "relocations were written here");
        assert_eq!(code(&line("rwxp", "/usr/local/bin/outrigger"), program), None);
        assert_eq!(code(&line("r-xp", "/usr/lib/libc.so.6"), program), None);
        assert_eq!(code("7ffe-7fff r-xp 00000000 00:00 0", program), None);
    }

    #[test]
    fn the_program_goes_on_when_its_code_was_released() {
        release_code().expect("released");
        assert_eq!(std::hint::black_box("1-2").split('-').count(), 2);
    }
}
