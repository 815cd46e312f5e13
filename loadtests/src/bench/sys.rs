//! What the operating system offers and nobody wraps: waiting with nanoseconds, priorities, a flag set by Ctrl-C.
#![allow(unsafe_code, reason = "kept in files of this name; each block has its argument")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::epoll::{Epoll, EpollEvent};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Waits for events with a timeout in nanoseconds: a schedule of thousands of requests per second is not kept in
/// milliseconds. Returns how many of `events` are filled; none when a signal came.
///
/// # Errors
/// Those of `epoll_pwait2` except EINTR. It needs Linux 5.11.
pub fn wait(epoll: &Epoll, events: &mut [EpollEvent], timeout: Duration) -> io::Result<usize> {
    let seconds = timeout.as_secs().try_into().unwrap_or(libc::time_t::MAX);
    let timeout = libc::timespec { tv_sec: seconds, tv_nsec: timeout.subsec_nanos().into() };
    let room = libc::c_int::try_from(events.len()).unwrap_or(libc::c_int::MAX);
    // SAFETY: `events` is valid for `room` writes, and EpollEvent is a transparent wrapper of `epoll_event`. The timeout
    // outlives the call, and a null mask means that none is set; its size is then not read.
    let count = unsafe {
        let events = events.as_mut_ptr().cast::<libc::epoll_event>();
        libc::syscall(
            libc::SYS_epoll_pwait2,
            epoll.0.as_fd().as_raw_fd(),
            events,
            room,
            &raw const timeout,
            std::ptr::null::<libc::sigset_t>(),
            8,
        )
    };
    match Errno::result(count) {
        Ok(count) => Ok(usize::try_from(count).unwrap_or(0)),
        Err(Errno::EINTR) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// Gives this process and its children-to-be a nice value. Failure (not root) is not worth a word: the machine is then
/// as quiet as it is.
pub fn set_priority(nice: i32) {
    // SAFETY: takes and returns numbers only.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
}

/// From now on SIGINT and SIGTERM set a flag instead of ending the process, so that what was started is ended as well.
///
/// # Errors
/// Those of `sigaction`.
pub fn catch_interrupts() -> io::Result<()> {
    extern "C" fn remember(_: libc::c_int) {
        INTERRUPTED.store(true, Ordering::Relaxed);
    }
    let action = SigAction::new(SigHandler::Handler(remember), SaFlags::empty(), SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        // SAFETY: the handler only stores to an atomic, which is allowed in a signal handler; nobody else sets handlers.
        unsafe { sigaction(signal, &action) }?;
    }
    Ok(())
}

/// Fails once a signal has come.
///
/// # Errors
/// [`io::ErrorKind::Interrupted`].
pub fn check_interrupt() -> io::Result<()> {
    if INTERRUPTED.load(Ordering::Relaxed) { Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted")) } else { Ok(()) }
}
