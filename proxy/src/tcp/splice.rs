//! Moves bytes from socket to socket inside the kernel, through a pipe: `splice(2)`.
//!
//! A byte that is copied crosses the border to user space twice; a spliced one never does. What remains is worth it for bulk
//! only: a pipe costs two descriptors, and a small message costs one system call more than copying. So a direction begins
//! with copying and takes a pipe when its [`Pace`] says so; the pipe goes back to the worker when the bulk is over.
//!
//! Assumptions, each of which has bitten somebody:
//! - a pipe counts pages, not bytes, and a page of network memory may be larger than 4 KiB: what it holds may exceed its
//!   capacity, and it may be full long before. Therefore a pipe is filled only when it is empty: then "would block" means
//!   that the socket has nothing, and cannot mean that the pipe has no room;
//! - beyond `fs.pipe-user-pages-soft` the kernel makes pipes of two pages, slower than copying. Those are not used;
//! - a pipe that holds bytes belongs to their connection and is closed with it, never passed on.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::unistd::pipe2;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::listener::{DownstreamIo, Transport};
use crate::prefixed::Prefixed;
use crate::upstream::connect::UpstreamIo;

/// Pipes of a worker, in use and spare. Each is two descriptors, and memory of the kernel while it holds bytes; connections
/// beyond that are copied.
const MOST: usize = 128;
/// Pipes kept for the next bulk transfer. Few: what they could hold counts against `fs.pipe-user-pages-soft`, which all proxies
/// of a node share, since all run as the same user; and a new one costs microseconds.
const SPARE: usize = 2;
/// Capacity asked for, bytes, and most bytes taken from a socket at once: what the kernel gives an ordinary user
/// (`fs.pipe-max-size`). With the default of 64 KiB a transfer costs up to twice as much CPU, with 512 KiB a tenth more.
const CAPACITY: i32 = 1024 * 1024;
/// Pipes of a worker that get so much; further ones get half of it, since `fs.pipe-user-pages-soft` (64 MiB) is for all.
const AMPLE: usize = 16;
/// Pages a pipe must have to be worth its while: the kernel's default.
const LEAST_PAGES: usize = 16;

/// Bytes in a row, in large reads, that make a direction a bulk transfer.
const BULK: u64 = 128 * 1024;
/// A read as a bulk transfer has them, bytes. A request or a small answer stays below.
const LARGE: u64 = 16 * 1024;
/// Small takings from a socket, in a row, that end a bulk transfer.
const SMALL_ROUNDS: u32 = 16;

/// A stream that may be a plain socket underneath.
pub trait Socket {
    /// The socket, when it carries the bytes as they are and none that came earlier wait in front of it.
    fn socket(&self) -> Option<&TcpStream>;
}

impl Socket for DownstreamIo {
    fn socket(&self) -> Option<&TcpStream> {
        match self.unprefixed()? {
            Transport::Plain(socket) => socket.watched(),
            Transport::Tls(_) => None,
        }
    }
}

impl Socket for Prefixed<UpstreamIo> {
    fn socket(&self) -> Option<&TcpStream> {
        match self.unprefixed()? {
            UpstreamIo::Plain(stream) => Some(stream),
            UpstreamIo::Tls(_) => None,
        }
    }
}

/// Whether a direction carries a bulk transfer. Pure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// Bytes in a row, in large reads.
    run: u64,
    small: u32,
}

impl Pace {
    /// Notes that copying read `count` bytes; tells whether a pipe would do better.
    pub fn is_bulk(&mut self, count: u64) -> bool {
        self.run = if count >= LARGE { self.run + count } else { 0 };
        self.run >= BULK
    }

    /// Notes that a pipe took `count` bytes; tells whether the bulk is over.
    pub fn is_over(&mut self, count: u64) -> bool {
        self.small = if count >= LARGE { 0 } else { self.small + 1 };
        self.small >= SMALL_ROUNDS
    }
}

/// The pipes of a worker.
#[derive(Clone, Debug, Default)]
pub struct Pipes(Arc<Mutex<Shelf>>);

#[derive(Debug, Default)]
struct Shelf {
    spare: Vec<Ends>,
    lent: usize,
}

#[derive(Debug)]
struct Ends {
    out: OwnedFd,
    into: OwnedFd,
}

impl Pipes {
    /// A pipe; `None` when there are enough of them, or the system has none to give.
    pub fn lend(&self) -> Option<Pipe> {
        let mut shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if shelf.lent >= MOST {
            return None;
        }
        let ends = match shelf.spare.pop() {
            Some(ends) => ends,
            None => Ends::open(if shelf.lent < AMPLE { CAPACITY } else { CAPACITY / 2 })
                .inspect_err(|error| tracing::debug!(%error, "no pipe; bytes are copied"))
                .ok()?,
        };
        shelf.lent += 1;
        Some(Pipe { ends: Some(ends), held: 0, home: self.clone() })
    }

    /// Pipes in use and spare ones.
    pub fn counts(&self) -> (usize, usize) {
        let shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (shelf.lent, shelf.spare.len())
    }

    fn take_back(&self, ends: Option<Ends>) {
        let mut shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shelf.lent = shelf.lent.saturating_sub(1);
        if shelf.spare.len() < SPARE {
            shelf.spare.extend(ends);
        }
    }
}

impl Ends {
    fn open(wanted: i32) -> io::Result<Ends> {
        let (out, into) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        let capacity = fcntl(&into, FcntlArg::F_GETPIPE_SZ)?;
        if usize::try_from(capacity).unwrap_or(0) < LEAST_PAGES * page_size() {
            return Err(io::Error::other("the user's pipes have reached fs.pipe-user-pages-soft"));
        }
        if capacity < wanted {
            // Refused near the soft limit; the default does then.
            let _ = fcntl(&into, FcntlArg::F_SETPIPE_SZ(wanted));
        }
        Ok(Ends { out, into })
    }
}

/// Bytes of a page: 4 KiB, on some arm64 systems 64 KiB.
fn page_size() -> usize {
    nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten().and_then(|size| usize::try_from(size).ok()).unwrap_or(4096)
}

/// A pipe lent to one direction of a connection; back on its shelf, when it is empty, once dropped.
#[derive(Debug)]
pub struct Pipe {
    ends: Option<Ends>,
    held: usize,
    home: Pipes,
}

impl Pipe {
    /// Bytes inside.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Takes bytes from a socket; zero means its end. Call it with an empty pipe only.
    ///
    /// # Errors
    /// Would block: the socket has nothing. Those of the socket. `Unsupported`: this system does not splice.
    pub fn fill(&mut self, from: &TcpStream) -> io::Result<usize> {
        let Some(ends) = &self.ends else { return Err(io::ErrorKind::Unsupported.into()) };
        let taken = from.try_io(Interest::READABLE, || transfer(from, &ends.into, CAPACITY as usize).map_err(unsupported))?;
        self.held += taken;
        Ok(taken)
    }

    /// Gives bytes inside to a socket.
    ///
    /// # Errors
    /// Would block: the socket has no room. Those of the socket.
    pub fn empty(&mut self, to: &TcpStream) -> io::Result<usize> {
        let Some(ends) = &self.ends else { return Err(io::ErrorKind::Unsupported.into()) };
        let given = to.try_io(Interest::WRITABLE, || Ok(transfer(&ends.out, to, self.held)?))?;
        self.held = self.held.saturating_sub(given);
        Ok(given)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let ends = self.ends.take();
        self.home.take_back(ends.filter(|_| self.held == 0));
    }
}

fn transfer(from: &impl AsFd, to: &impl AsFd, most: usize) -> Result<usize, Errno> {
    splice(from, None, to, None, most, SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK)
}

/// A kernel without splice for sockets, or a sandbox that forbids it.
fn unsupported(errno: Errno) -> io::Error {
    match errno {
        Errno::EINVAL | Errno::ENOSYS | Errno::EPERM => io::ErrorKind::Unsupported.into(),
        other => other.into(),
    }
}
