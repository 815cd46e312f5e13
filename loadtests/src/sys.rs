//! A timer of the kernel, registered with the thread's runtime.
#![allow(unsafe_code, reason = "kept in files of this name; each block has its argument")]

use std::{
    io,
    os::fd::{AsFd, AsRawFd, RawFd},
};

use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};
use tokio::io::unix::AsyncFd;

/// The timer as the runtime wants to know it.
pub(crate) struct Timer(TimerFd);

impl Timer {
    pub(crate) fn get(&self) -> &TimerFd {
        &self.0
    }
}

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// A timer that is not set. Must be called within a runtime.
///
/// # Errors
/// The kernel has no timer left.
pub(crate) fn timer() -> io::Result<AsyncFd<Timer>> {
    let timer = Timer(TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?);
    // SAFETY: the descriptor is owned by the `TimerFd` within, which closes it only when dropped, and so with the `AsyncFd`;
    // nothing hands the `TimerFd` out or replaces it, so that `as_raw_fd` always gives the same open timer.
    Ok(unsafe { AsyncFd::register(timer) }?)
}
