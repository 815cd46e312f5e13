//! The thread that writes access logs.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::LogQueue;

/// How long the first line of a batch waits for company. At a rate where it matters, each wake-up of this thread costs a worker
/// on the same core two context switches.
const GATHER: Duration = Duration::from_millis(10);
/// How long to let a destination that takes nothing (a full pipe set non-blocking) recover.
const STALLED: Duration = Duration::from_millis(5);

/// Time for the last lines when the process ends. A destination that takes nothing must not keep it alive.
const FLUSH: Duration = Duration::from_secs(1);

/// Owner of the writer thread; hands out the workers' queues. Dropping it flushes, for at most a second, and ends the
/// thread.
#[derive(Debug)]
pub struct LogWriter {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    queues: Mutex<Vec<LogQueue>>,
    path: Mutex<Option<String>>,
    reopen: AtomicBool,
    closing: AtomicBool,
    writes: AtomicU64,
    failed: AtomicU64,
}

impl LogWriter {
    /// A writer without a destination; its thread starts with the first [`LogWriter::set_path`].
    pub fn new() -> LogWriter {
        LogWriter { shared: Arc::default(), thread: Mutex::new(None) }
    }

    /// A queue for one worker.
    pub fn queue(&self) -> LogQueue {
        let queue = LogQueue::default();
        let thread = self.thread();
        if let Some(thread) = thread.as_ref() {
            queue.wake(thread.thread().clone());
        }
        self.queues().push(queue.clone());
        queue
    }

    /// Directs lines to `path` from now on; the same path again changes nothing.
    pub fn set_path(&self, path: &str) {
        {
            let mut current = self.shared.path.lock().unwrap_or_else(PoisonError::into_inner);
            if current.as_deref() == Some(path) {
                return;
            }
            *current = Some(path.to_owned());
        }
        self.shared.reopen.store(true, Ordering::Release);
        self.start();
    }

    /// Opens the destination anew, after something else has rotated the file.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Release);
    }

    /// Lines dropped because a queue was full.
    pub fn dropped(&self) -> u64 {
        self.queues().iter().map(LogQueue::dropped).sum()
    }

    /// Batches written and batches that failed.
    pub fn writes(&self) -> (u64, u64) {
        (self.shared.writes.load(Ordering::Relaxed), self.shared.failed.load(Ordering::Relaxed))
    }

    fn start(&self) {
        let mut thread = self.thread();
        if thread.is_some() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        match thread::Builder::new().name("access-log".to_owned()).spawn(move || write_until_closed(&shared)) {
            Ok(handle) => {
                self.queues().iter().for_each(|queue| queue.wake(handle.thread().clone()));
                *thread = Some(handle);
            }
            Err(error) => tracing::error!(target: "access_log", "cannot start the writer thread: {error}; access logs are dropped"),
        }
    }

    fn thread(&self) -> std::sync::MutexGuard<'_, Option<JoinHandle<()>>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queues(&self) -> std::sync::MutexGuard<'_, Vec<LogQueue>> {
        self.shared.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for LogWriter {
    fn default() -> Self {
        LogWriter::new()
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::Release);
        let Some(thread) = self.thread().take() else { return };
        thread.thread().unpark();
        let deadline = Instant::now() + FLUSH;
        while !thread.is_finished() && Instant::now() < deadline {
            thread::sleep(GATHER);
        }
    }
}

fn write_until_closed(shared: &Shared) {
    let mut sink = Sink::default();
    let mut buffers: Vec<Vec<u8>> = Vec::new();
    loop {
        let closing = shared.closing.load(Ordering::Acquire);
        let queues = shared.queues.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if queues.iter().all(LogQueue::is_empty) {
            if closing {
                return;
            }
            // The timeout covers a wake-up lost between the look above and parking, and a late first queue.
            thread::park_timeout(Duration::from_millis(200));
            continue;
        }
        if !closing {
            thread::sleep(GATHER);
        }
        buffers.resize_with(queues.len(), Vec::new);
        queues.iter().zip(&mut buffers).for_each(|(queue, buffer)| queue.swap(buffer));
        sink.reopen_if_asked(shared);
        match sink.write(&buffers) {
            Ok(()) => shared.writes.fetch_add(1, Ordering::Relaxed),
            Err(_) => shared.failed.fetch_add(1, Ordering::Relaxed),
        };
        buffers.iter_mut().for_each(Vec::clear);
    }
}

/// The open destination.
#[derive(Default)]
struct Sink(Option<File>);

impl Sink {
    fn reopen_if_asked(&mut self, shared: &Shared) {
        if !shared.reopen.swap(false, Ordering::AcqRel) {
            return;
        }
        let path = shared.path.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default();
        match open(Path::new(&path)) {
            Ok(file) => self.0 = Some(file),
            Err(error) => tracing::error!(target: "access_log", "{path}: {error}; access logs are dropped until it can be opened"),
        }
    }

    /// Writes all buffers with as few system calls as the kernel allows.
    fn write(&mut self, buffers: &[Vec<u8>]) -> io::Result<()> {
        let Some(file) = &mut self.0 else { return Err(io::ErrorKind::NotFound.into()) };
        let mut slices: Vec<IoSlice<'_>> = buffers.iter().filter(|buffer| !buffer.is_empty()).map(|buffer| IoSlice::new(buffer)).collect();
        let mut rest = slices.as_mut_slice();
        while !rest.is_empty() {
            match file.write_vectored(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut rest, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(STALLED),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The standard streams are duplicated rather than opened by path: in a pod they are pipes of another user.
fn open(path: &Path) -> io::Result<File> {
    match path.to_str() {
        Some("/dev/stdout") => io::stdout().as_fd().try_clone_to_owned().map(File::from),
        Some("/dev/stderr") => io::stderr().as_fd().try_clone_to_owned().map(File::from),
        _ => OpenOptions::new().append(true).create(true).open(path),
    }
}
