//! What the operating system offers and nobody wraps.
#![allow(unsafe_code, reason = "kept in files of this name; each block has its argument")]

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd};
use std::path::Path;

use nix::libc;
use socket2::SockAddr;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Gives the pages of this program's code and constants back to the page cache. Those that only the start needed (relocations,
/// command line, YAML, compiler, and what the kernel mapped around them) stop counting as this process's memory, until a change
/// of configuration runs some of them again. Those in use return at the next access, for a minor fault each; the workers' are
/// among them, so this is for the moment after the start, not for a process under load.
///
/// # Errors
/// When `/proc` cannot be read.
pub(crate) fn release_code() -> io::Result<()> {
    let program = std::env::current_exe()?;
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    for range in maps.lines().filter_map(|line| never_written(line, &program)) {
        // SAFETY: the range is a mapping of this process that is private and backed by the program's file, and either code or
        // the segment that begins with the file's own header. Nothing was ever written to such pages (the program is
        // position-independent and has no text relocations; what relocation writes to is a segment further on), so dropping
        // them loses nothing: the next access reads the same bytes from the file, which stays as long as it is mapped.
        // Neither is ever unmapped, so the range is still valid here.
        unsafe { libc::madvise(std::ptr::with_exposed_provenance_mut(range.start), range.len(), libc::MADV_DONTNEED) };
    }
    Ok(())
}

/// Takes a connection from a listening socket, non-blocking at once, where the standard library's takes another call.
///
/// # Errors
/// As `accept4(2)`.
pub(crate) fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let fd = listener.as_raw_fd();
    // SAFETY: the storage and the length that socket2 lends are valid for `accept4`, which writes at most so many bytes of an
    // address there and says how many; and what it returns is a new descriptor that nobody else has.
    let (stream, peer) = unsafe {
        SockAddr::try_init(|storage, length| match libc::accept4(fd, storage.cast(), length, libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK) {
            -1 => Err(io::Error::last_os_error()),
            accepted => Ok(TcpStream::from_raw_fd(accepted)),
        })
    }?;
    let peer = peer.as_socket().ok_or_else(|| io::Error::other("the kernel gave no internet address"))?;
    Ok((stream, peer))
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

/// The addresses of a line of `/proc/self/maps`, when it is code of `program` or the constants in front of it.
fn never_written(line: &str, program: &Path) -> Option<Range<usize>> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let (permissions, offset) = (fields.next()?, fields.next()?);
    let address = |hex| usize::from_str_radix(hex, 16).ok();
    // Read-only pages further on are those that relocation has written to before they were protected.
    let suits = permissions == "r-xp" || (permissions == "r--p" && address(offset)? == 0);
    let ours = Path::new(fields.nth(2)?) == program;
    if suits && ours { Some(address(start)?..address(end)?) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_never_written_of_the_program_itself_is_released() {
        let program = Path::new("/usr/local/bin/outrigger");
        let line = |permissions, file| format!("5609-560a {permissions} 00482000 fe:00 9043                     {file}");
        assert_eq!(never_written(&line("r-xp", "/usr/local/bin/outrigger"), program), Some(0x5609..0x560a));
        assert_eq!(never_written(&line("r--p", "/usr/local/bin/outrigger"), program), None, "relocations were written here");
        assert_eq!(never_written(&line("rwxp", "/usr/local/bin/outrigger"), program), None);
        assert_eq!(never_written(&line("r-xp", "/usr/lib/libc.so.6"), program), None);
        assert_eq!(never_written("7ffe-7fff r-xp 00000000 00:00 0", program), None);
        let constants = |offset| format!("5608-5609 r--p {offset} fe:00 9043                     /usr/local/bin/outrigger");
        assert_eq!(never_written(&constants("00000000"), program), Some(0x5608..0x5609));
        assert_eq!(never_written(&constants("0014aa00"), program), None, "and here");
    }

    #[test]
    fn an_accepted_connection_has_its_peers_address_and_does_not_block() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(any) else { continue };
            listener.set_nonblocking(true).expect("non-blocking");
            assert_eq!(accept(&listener).map(drop).map_err(|error| error.kind()), Err(io::ErrorKind::WouldBlock));
            let client = TcpStream::connect(listener.local_addr().expect("address")).expect("connected");
            let (mut accepted, peer) = accept(&listener).expect("accepted");
            assert_eq!(peer, client.local_addr().expect("address"));
            let read = std::io::Read::read(&mut accepted, &mut [0]);
            assert_eq!(read.map_err(|error| error.kind()), Err(io::ErrorKind::WouldBlock));
        }
    }

    #[test]
    fn the_program_goes_on_when_its_code_was_released() {
        release_code().expect("released");
        assert_eq!(std::hint::black_box("1-2").split('-').count(), 2);
    }
}
