//! The generator of the comparison: one thread, epoll, HTTP/1.1; closed loop, or open loop on a schedule. It is not that of
//! `outrigger load`; the head of [`super`] says why there are two.
//!
//! In an open loop the schedule is fixed beforehand, and latency counts from the moment a request was due, not from when
//! a connection was free to send it: a proxy that stalls is charged for everything that waited (no coordinated omission).
//! CPU time of the proxy is read at both edges of the measured window, so that "CPU per request" divides figures of the
//! same window.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use socket2::{Domain, Socket, Type};

use super::process::Cpu;
use super::{sys, wire};
use connection::{Connection, Progress};
use schedule::Schedule;

mod connection;
mod schedule;

/// What to send.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where.
    pub target: SocketAddr,
    /// Path of every request.
    pub path: String,
    /// `host` of every request.
    pub host: String,
    /// Connections, each with at most one request in flight.
    pub connections: usize,
    /// Requests per second by schedule; `None` is a closed loop, the next request when an answer is complete.
    pub rate: Option<f64>,
    /// A new connection for each request.
    pub close: bool,
    /// Load before the window.
    pub warm_up: Duration,
    /// What is measured.
    pub window: Duration,
}

/// What came of it, within the window if not said otherwise.
#[derive(Debug)]
pub struct Outcome {
    /// Complete answers with status 200.
    pub requests: u64,
    /// Complete answers with another status.
    pub bad_status: u64,
    /// Connections refused, closed early, or with something that is no answer.
    pub failed: u64,
    /// Requests without an answer a second after the window (open loop).
    pub unanswered: u64,
    /// Complete answers in and before the window.
    pub answered_in_all: u64,
    /// Bytes received.
    pub bytes: u64,
    /// Length of the window as it was.
    pub elapsed: Duration,
    /// Nanoseconds.
    pub latency: Histogram<u64>,
    /// What the watched processes used.
    pub cpu: Cpu,
}

/// How long an open loop waits for the last answers.
const DRAIN: Duration = Duration::from_secs(1);
/// Received at a time.
const BUFFER: usize = 1 << 20;
/// The longest wait, so that Ctrl-C is seen.
const TICK: Duration = Duration::from_millis(100);

/// Carries a plan out. `sample` reads the CPU time of the proxy.
///
/// # Errors
/// Nothing can be sent at all, or the run was interrupted. Requests that fail are counted in the outcome.
pub fn run(plan: &Plan, sample: impl Fn() -> Cpu) -> io::Result<Outcome> {
    let mut load = Load::new(plan)?;
    load.connect()?;
    load.drive(sample)
}

/// A complete request with the headers of a service call, about 400 bytes.
fn request(plan: &Plan) -> Vec<u8> {
    let close = if plan.close { "connection: close\r\n" } else { "" };
    format!(
        "GET {} HTTP/1.1\r\nhost: {}\r\nuser-agent: outrigger-bench\r\naccept: application/json, */*\r\n\
         accept-encoding: gzip, deflate\r\nauthorization: Bearer eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJiZW5jaCJ9.c2lnbmF0dXJl\r\n\
         x-request-id: 7f1c0c9e-1f0a-4d6e-9a55-2b7c1f4f8f10\r\n\
         traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n{close}\r\n",
        plan.path, plan.host
    )
    .into_bytes()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    WarmUp,
    Window,
    After,
}

struct Load<'a> {
    plan: &'a Plan,
    epoll: Epoll,
    request: Vec<u8>,
    buffer: Vec<u8>,
    connections: Vec<Connection>,
    /// Free connections, the longest idle first.
    idle: VecDeque<usize>,
    /// Requests that were due when no connection was free.
    waiting: VecDeque<u64>,
    begin: Instant,
    window: std::ops::Range<u64>,
    phase: Phase,
    outcome: Outcome,
}

impl<'a> Load<'a> {
    fn new(plan: &'a Plan) -> io::Result<Load<'a>> {
        let latency = Histogram::new_with_bounds(1, 600_000_000_000, 3).map_err(io::Error::other)?;
        let start = nanoseconds(plan.warm_up);
        Ok(Load {
            plan,
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            request: request(plan),
            buffer: vec![0; BUFFER],
            connections: Vec::new(),
            idle: VecDeque::new(),
            waiting: VecDeque::new(),
            begin: Instant::now(),
            window: start..start + nanoseconds(plan.window),
            phase: Phase::WarmUp,
            outcome: Outcome {
                requests: 0,
                bad_status: 0,
                failed: 0,
                unanswered: 0,
                answered_in_all: 0,
                bytes: 0,
                elapsed: Duration::ZERO,
                latency,
                cpu: Cpu::default(),
            },
        })
    }

    fn connect(&mut self) -> io::Result<()> {
        for index in 0..self.plan.connections {
            self.connections.push(Connection::default());
            if !self.plan.close {
                self.open(index)?;
            }
            self.idle.push_back(index);
        }
        self.begin = Instant::now();
        Ok(())
    }

    fn now(&self) -> u64 {
        nanoseconds(self.begin.elapsed())
    }

    fn drive(mut self, sample: impl Fn() -> Cpu) -> io::Result<Outcome> {
        let mut events = vec![EpollEvent::empty(); 512];
        let (mut first, mut opened) = (Cpu::default(), Instant::now());
        let mut schedule = Schedule { rate: self.plan.rate, number: 0, end: self.window.end };
        loop {
            if self.phase == Phase::WarmUp && self.now() >= self.window.start {
                (first, opened) = (sample(), Instant::now());
                self.phase = Phase::Window;
            }
            if self.phase == Phase::Window && self.now() >= self.window.end {
                self.outcome.cpu = sample() - first;
                self.outcome.elapsed = opened.elapsed();
                self.phase = Phase::After;
            }
            if self.phase == Phase::After && self.plan.rate.is_none() {
                return Ok(self.outcome);
            }
            // Before the end is decided, so that what was due in the last moments is sent as well.
            self.start_due(&mut schedule);
            if self.phase == Phase::After && self.drained() {
                return Ok(self.outcome);
            }
            let count = sys::wait(&self.epoll, &mut events, self.patience(&schedule))?;
            if count == 0 {
                sys::check_interrupt()?;
            }
            for event in events.iter().take(count) {
                self.handle(event.data() as usize, event.events());
            }
        }
    }

    /// Until the next thing that happens by the clock.
    fn patience(&self, schedule: &Schedule) -> Duration {
        let now = self.now();
        let edge = match self.phase {
            Phase::WarmUp => self.window.start,
            Phase::Window => self.window.end,
            Phase::After => now + 10_000_000,
        };
        let until = schedule.next().map_or(edge, |due| due.min(edge));
        Duration::from_nanos(until.saturating_sub(now)).min(TICK)
    }

    fn start_due(&mut self, schedule: &mut Schedule) {
        if self.plan.rate.is_none() {
            for _ in 0..self.idle.len() {
                let now = self.now();
                if let Some(index) = self.idle.pop_front() {
                    self.start(index, now);
                }
            }
            return;
        }
        let now = self.now();
        while let Some(due) = schedule.next().filter(|due| *due <= now) {
            schedule.number += 1;
            self.waiting.push_back(due);
        }
        while let (Some(&due), Some(&index)) = (self.waiting.front(), self.idle.front()) {
            self.waiting.pop_front();
            self.idle.pop_front();
            self.start(index, due);
        }
    }

    /// After the window: whether every request that was due within it is answered or given up.
    fn drained(&mut self) -> bool {
        let now = self.now();
        let open: Vec<u64> = self.connections.iter().filter(|connection| connection.busy).map(|connection| connection.due).collect();
        if open.is_empty() && self.waiting.is_empty() {
            return true;
        }
        if now < self.window.end + nanoseconds(DRAIN) {
            return false;
        }
        for due in open.into_iter().chain(self.waiting.drain(..)).filter(|due| *due >= self.window.start) {
            self.outcome.unanswered += 1;
            self.outcome.latency.saturating_record(now - due);
        }
        true
    }

    fn open(&mut self, index: usize) -> io::Result<()> {
        let socket = Socket::new(Domain::for_address(self.plan.target), Type::STREAM.nonblocking().cloexec(), None)?;
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&self.plan.target.into()) {
            Err(error) if error.raw_os_error() != Some(nix::libc::EINPROGRESS) => return Err(error),
            _ => {}
        }
        let stream = TcpStream::from(socket);
        self.epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
        let connection = &mut self.connections[index];
        connection.stream = Some(stream);
        connection.armed = false;
        connection.head.clear();
        connection.reading = None;
        Ok(())
    }

    fn start(&mut self, index: usize, due: u64) {
        let connection = &mut self.connections[index];
        connection.busy = true;
        connection.due = due;
        connection.sent = 0;
        let opened = if connection.stream.is_none() { self.open(index) } else { Ok(()) };
        if opened.and_then(|()| self.send(index)).is_err() {
            self.fail(index);
        }
    }

    fn send(&mut self, index: usize) -> io::Result<()> {
        let connection = &mut self.connections[index];
        let Some(stream) = &mut connection.stream else { return Ok(()) };
        let mut blocked = false;
        while connection.sent < self.request.len() && !blocked {
            match stream.write(&self.request[connection.sent..]) {
                Ok(length) => connection.sent += length,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => blocked = true,
                Err(error) => return Err(error),
            }
        }
        if blocked != connection.armed {
            connection.armed = blocked;
            let flags = if blocked { EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT } else { EpollFlags::EPOLLIN };
            self.epoll.modify(stream, &mut EpollEvent::new(flags, index as u64))?;
        }
        Ok(())
    }

    fn handle(&mut self, index: usize, flags: EpollFlags) {
        if flags.contains(EpollFlags::EPOLLOUT) && self.connections[index].busy && self.send(index).is_err() {
            return self.fail(index);
        }
        if !flags.intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR) {
            return;
        }
        match self.read(index) {
            Ok(Progress::Partial) => {}
            Ok(Progress::Complete(head)) => self.complete(index, head),
            Err(_) if self.connections[index].busy => self.fail(index),
            // An idle connection that the other side closed; the next request opens another.
            Err(_) => self.connections[index].stream = None,
        }
    }

    fn read(&mut self, index: usize) -> io::Result<Progress> {
        let connection = &mut self.connections[index];
        let Some(stream) = &mut connection.stream else { return Ok(Progress::Partial) };
        let length = match stream.read(&mut self.buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Progress::Partial),
            Err(error) => return Err(error),
        };
        if self.phase == Phase::Window {
            self.outcome.bytes += length as u64;
        }
        connection.receive(&self.buffer[..length])
    }

    fn complete(&mut self, index: usize, head: wire::Head) {
        let now = self.now();
        let connection = &mut self.connections[index];
        connection.busy = false;
        if self.plan.close || head.close {
            connection.stream = None;
        }
        let in_window = self.phase == Phase::Window;
        let timed = if self.plan.rate.is_some() { self.window.contains(&connection.due) } else { in_window };
        if timed {
            self.outcome.latency.saturating_record(now - connection.due);
        }
        self.outcome.answered_in_all += u64::from(self.phase != Phase::After);
        if in_window && head.status == 200 {
            self.outcome.requests += 1;
        } else if in_window {
            self.outcome.bad_status += 1;
        }
        self.next(index);
    }

    fn fail(&mut self, index: usize) {
        self.outcome.failed += u64::from(self.phase == Phase::Window);
        let connection = &mut self.connections[index];
        connection.stream = None;
        connection.busy = false;
        self.idle.push_back(index);
    }

    /// The connection is free: in a closed loop the next request goes out at once.
    fn next(&mut self, index: usize) {
        if self.plan.rate.is_none() && self.phase != Phase::After {
            self.start(index, self.now());
        } else {
            self.idle.push_back(index);
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
