//! The thread that writes access logs.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
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

/// How often a destination that could not be opened is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How often it is looked whether they are written.
const CLOSING: Duration = Duration::from_millis(1);
/// Time for the last lines when the process ends. A destination that takes nothing must not keep it alive.
const FLUSH: Duration = Duration::from_secs(1);

/// Owner of the writer thread; hands out the workers' queues. Dropping it is [`LogWriter::close`].
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
    /// Lines taken from the queues that no destination took.
    unwritten: AtomicU64,
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

    /// Directs lines to `path` from now on. The same path again changes nothing, unless the thread could not be had before.
    pub fn set_path(&self, path: &str) {
        {
            let mut current = self.shared.path.lock().unwrap_or_else(PoisonError::into_inner);
            if current.as_deref() != Some(path) {
                *current = Some(path.to_owned());
                self.shared.reopen.store(true, Ordering::Release);
            }
        }
        self.start();
    }

    /// Opens the destination anew, after something else has rotated the file.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Release);
    }

    /// Lines dropped because a queue was full or the destination did not take them.
    pub fn dropped(&self) -> u64 {
        self.queues().iter().map(LogQueue::dropped).sum::<u64>() + self.shared.unwritten.load(Ordering::Relaxed)
    }

    /// Writes what waits, for at most a second, and ends the thread; what comes later is not written. Whoever ends the
    /// process calls it: the workers, which share this, live until then.
    pub fn close(&self) {
        self.shared.closing.store(true, Ordering::Release);
        let Some(thread) = self.thread().take() else { return };
        thread.thread().unpark();
        let deadline = Instant::now() + FLUSH;
        while !thread.is_finished() && Instant::now() < deadline {
            thread::sleep(CLOSING);
        }
    }

    /// Batches written and batches that failed.
    pub fn writes(&self) -> (u64, u64) {
        (self.shared.writes.load(Ordering::Relaxed), self.shared.failed.load(Ordering::Relaxed))
    }

    fn start(&self) {
        let mut thread = self.thread();
        if thread.is_some() || self.shared.closing.load(Ordering::Acquire) {
            return;
        }
        let shared = Arc::clone(&self.shared);
        match thread::Builder::new().name("access-log".to_owned()).spawn(move || write_until_closed(&shared)) {
            Ok(handle) => {
                self.queues().iter().for_each(|queue| queue.wake(handle.thread().clone()));
                *thread = Some(handle);
            }
            Err(error) => {
                tracing::error!(target: "access_log", "cannot start the writer thread: {error}; access logs are dropped until a change")
            }
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
        self.close();
    }
}

fn write_until_closed(shared: &Shared) {
    let mut sink = Sink::default();
    let mut buffers: Vec<Vec<u8>> = Vec::new();
    loop {
        let closing = shared.closing.load(Ordering::Acquire);
        sink.follow(shared);
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
        // A path that was set before these lines were is theirs.
        sink.follow(shared);
        sink.write(&buffers, shared);
        buffers.iter_mut().for_each(Vec::clear);
    }
}

/// The destination: open, or tried again until it can be opened. Lines are lost meanwhile, and whoever reads the proxy's log
/// is told of the beginning and the end of that.
#[derive(Default)]
struct Sink {
    file: Option<File>,
    /// When to try again.
    retry: Option<Instant>,
    /// As last said.
    problem: Option<String>,
    /// The file whose last line lacks its end, since a write failed in the middle of it: by device and inode, as it may be opened
    /// anew until it takes lines again.
    torn: Option<(u64, u64)>,
}

impl Sink {
    /// Opens the destination if that was asked for, or failed a while ago.
    fn follow(&mut self, shared: &Shared) {
        let asked = shared.reopen.swap(false, Ordering::AcqRel);
        if !asked && self.retry.is_none_or(|due| Instant::now() < due) {
            return;
        }
        let path = shared.path.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default();
        // Not even for a failed try do lines go on to where they no longer belong.
        (self.file, self.retry) = (None, None);
        match open(Path::new(&path)) {
            Ok(file) => self.file = Some(file),
            Err(error) => {
                self.retry = Some(Instant::now() + RETRY);
                self.say(Some(format!("{path}: {error}; access logs are dropped until it can be opened, which is tried every {RETRY:?}")));
            }
        }
        if self.file.is_some() {
            self.say(None);
        }
    }

    /// Writes all buffers, or counts what is lost.
    fn write(&mut self, buffers: &[Vec<u8>], shared: &Shared) {
        let mut slices: Vec<IoSlice<'_>> = buffers.iter().filter(|buffer| !buffer.is_empty()).map(|buffer| IoSlice::new(buffer)).collect();
        let mut rest = slices.as_mut_slice();
        let torn = &mut self.torn;
        let outcome = self.file.as_mut().map(|file| {
            end_torn_line(file, torn)?;
            let written = write_all(file, &mut rest);
            if written.is_err() && !ends_line(buffers, rest) {
                *torn = Some(identity(file)?);
            }
            written
        });
        let counter = if let Some(Ok(())) = outcome { &shared.writes } else { &shared.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        shared.unwritten.fetch_add(lines(rest), Ordering::Relaxed);
        match outcome {
            Some(Ok(())) => self.say(None),
            Some(Err(error)) => self.say(Some(format!("cannot write: {error}; access logs are dropped for as long as that lasts"))),
            None => {}
        }
    }

    fn say(&mut self, problem: Option<String>) {
        match &problem {
            Some(text) if problem != self.problem => tracing::error!(target: "access_log", "{text}"),
            None if self.problem.is_some() => tracing::info!(target: "access_log", "access logs are written again"),
            _ => {}
        }
        self.problem = problem;
    }
}

/// Writes with as few system calls as the kernel allows. `rest` is what has not been written.
fn write_all(file: &mut File, rest: &mut &mut [IoSlice<'_>]) -> io::Result<()> {
    while !rest.is_empty() {
        match file.write_vectored(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(rest, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(STALLED),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Ends the line of which a failed write left a part in this file, so that the next does not go on from it.
fn end_torn_line(file: &mut File, torn: &mut Option<(u64, u64)>) -> io::Result<()> {
    if torn.is_some() && *torn == Some(identity(file)?) {
        write_all(file, &mut [IoSlice::new(b"\n")].as_mut_slice())?;
    }
    *torn = None;
    Ok(())
}

/// Whether what was written of `buffers` ends where a line does, when `rest` is what was not.
fn ends_line(buffers: &[Vec<u8>], rest: &[IoSlice<'_>]) -> bool {
    let unwritten = rest.iter().map(|slice| slice.len()).sum();
    buffers.iter().rev().flat_map(|buffer| buffer.iter().rev()).nth(unwritten).is_none_or(|last| *last == b'\n')
}

/// Device and inode.
fn identity(file: &File) -> io::Result<(u64, u64)> {
    file.metadata().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// How many lines end in these bytes.
fn lines(slices: &[IoSlice<'_>]) -> u64 {
    slices.iter().flat_map(|slice| slice.iter()).filter(|byte| **byte == b'\n').count() as u64
}

/// The standard streams are duplicated rather than opened by path: in a pod they are pipes of another user.
fn open(path: &Path) -> io::Result<File> {
    match path.to_str() {
        Some("/dev/stdout") => io::stdout().as_fd().try_clone_to_owned().map(File::from),
        Some("/dev/stderr") => io::stderr().as_fd().try_clone_to_owned().map(File::from),
        _ => OpenOptions::new().append(true).create(true).open(path),
    }
}
