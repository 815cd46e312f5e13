//! Working in another network namespace.
//!
//! A network namespace belongs to a thread, and child processes inherit that of the thread which starts them. So the work is
//! done by a thread of its own, and the caller's namespace never changes, not even when the work panics.

use std::fs::File;
use std::io;
use std::path::Path;

use nix::sched::{CloneFlags, setns};

use crate::Error;

/// Runs `work` in the namespace at `path` (`/run/netns/NAME`, `/proc/PID/ns/net`) and waits for it.
///
/// # Errors
/// [`Error::Namespace`] if the namespace cannot be entered. The inner result is the work's own.
pub(crate) fn within<T: Send>(path: &Path, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
    let failed = |source| Error::Namespace { path: path.to_owned(), source };
    let namespace = File::open(path).map_err(failed)?;
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || -> io::Result<T> {
            setns(namespace, CloneFlags::CLONE_NEWNET)?;
            Ok(work())
        });
        match thread.join() {
            Ok(result) => result.map_err(failed),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
