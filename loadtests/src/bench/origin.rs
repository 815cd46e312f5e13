//! The server at the far end: one thread, epoll, answers made beforehand. It is made to cost less than any proxy.
//!
//! `/b/N` answers N bytes. Requests have no body.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use socket2::{Domain, Socket, Type};

use super::{machine, sys, wire};

/// Bodies above this size are sent from one shared block, over and over.
const BLOCK: usize = 1 << 20;
/// What a request may have in all; the generator's has 400 bytes.
const REQUEST: usize = 16 << 10;
/// How long the end of the thread may take.
const TICK: Duration = Duration::from_millis(100);

/// A running origin; dropping it ends the thread.
pub struct Origin {
    counts: Arc<[AtomicU64]>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Origin {
    /// Listens on these ports of 127.0.0.1, in the network namespace of the calling thread, on one CPU if that is given.
    ///
    /// # Errors
    /// A port that is taken, and those of `epoll`.
    pub fn start(ports: &[u16], cpu: Option<usize>) -> io::Result<Origin> {
        let listeners = ports.iter().map(|port| listen(*port)).collect::<io::Result<Vec<_>>>()?;
        let counts: Arc<[AtomicU64]> = ports.iter().map(|_| AtomicU64::new(0)).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        for (index, listener) in listeners.iter().enumerate() {
            epoll.add(listener, EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
        }
        let (shared, end) = (Arc::clone(&counts), Arc::clone(&stop));
        let thread = thread::Builder::new().name("origin".to_owned()).spawn(move || {
            if let Some(cpu) = cpu {
                machine::pin(cpu);
            }
            let mut server =
                Server { epoll, listeners, counts: &shared, connections: Vec::new(), free: Vec::new(), answers: Answers::new() };
            server.run(&end);
        })?;
        Ok(Origin { counts, stop, thread: Some(thread) })
    }

    /// Requests answered so far, for each port.
    pub fn counts(&self) -> Vec<u64> {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking().cloexec(), None)?;
    socket.set_reuse_address(true)?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    socket.bind(&address.into()).map_err(|error| io::Error::new(error.kind(), format!("origin on {address}: {error}")))?;
    socket.listen(4096)?;
    Ok(socket.into())
}

/// Answers by size and by whether they are the last; each is a head with the body's beginning.
struct Answers {
    block: Rc<[u8]>,
    made: HashMap<(u64, bool), Rc<[u8]>>,
}

impl Answers {
    fn new() -> Answers {
        Answers { block: (0..BLOCK).map(|index| b'a' + (index % 26) as u8).collect(), made: HashMap::new() }
    }

    /// The head with a body that fits, and how many bytes of the block follow.
    fn get(&mut self, size: u64, close: bool) -> (Rc<[u8]>, u64) {
        let inline = usize::try_from(size).ok().filter(|size| *size <= BLOCK);
        let block = &self.block;
        let answer = self.made.entry((size, close)).or_insert_with(|| {
            let end = if close { "connection: close\r\n" } else { "" };
            let mut bytes = format!(
                "HTTP/1.1 200 OK\r\nserver: origin\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\ncontent-type: application/json\r\n\
                 content-length: {size}\r\netag: \"5f3c-1a2b\"\r\nx-served-by: v1\r\n{end}\r\n"
            )
            .into_bytes();
            bytes.extend_from_slice(&block[..inline.unwrap_or(0)]);
            bytes.into()
        });
        (Rc::clone(answer), if inline.is_some() { 0 } else { size })
    }
}

struct Connection {
    stream: TcpStream,
    port: usize,
    input: Vec<u8>,
    answer: Option<Sending>,
    /// Whether writability is waited for.
    armed: bool,
}

struct Sending {
    bytes: Rc<[u8]>,
    sent: usize,
    left: u64,
    close: bool,
}

struct Server<'a> {
    epoll: Epoll,
    listeners: Vec<TcpListener>,
    counts: &'a [AtomicU64],
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    answers: Answers,
}

impl Server<'_> {
    fn run(&mut self, stop: &AtomicBool) {
        let mut events = vec![EpollEvent::empty(); 512];
        while !stop.load(Ordering::Relaxed) {
            let Ok(count) = sys::wait(&self.epoll, &mut events, TICK) else { return };
            for event in events.iter().take(count) {
                let token = event.data() as usize;
                match token.checked_sub(self.listeners.len()) {
                    None => self.accept(token),
                    Some(index) => self.serve(index),
                }
            }
        }
    }

    fn accept(&mut self, port: usize) {
        while let Ok((stream, _)) = self.listeners[port].accept() {
            if stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true)).is_err() {
                continue;
            }
            let index = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            let token = (self.listeners.len() + index) as u64;
            if self.epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, token)).is_ok() {
                self.connections[index] = Some(Connection { stream, port, input: Vec::with_capacity(1024), answer: None, armed: false });
            }
        }
    }

    fn serve(&mut self, index: usize) {
        let Some(Some(connection)) = self.connections.get_mut(index) else { return };
        let token = (self.listeners.len() + index) as u64;
        let alive = connection.exchange(&mut self.answers, self.counts).and_then(|()| connection.arm(&self.epoll, token));
        if alive.is_err() {
            self.connections[index] = None;
            self.free.push(index);
        }
    }
}

impl Connection {
    /// Sends what is due and answers what has come; an error ends the connection.
    fn exchange(&mut self, answers: &mut Answers, counts: &[AtomicU64]) -> io::Result<()> {
        if !self.send(answers)? {
            return Ok(());
        }
        let mut buffer = [0; REQUEST];
        match self.stream.read(&mut buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(length) => self.input.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        while let Some(request) = wire::request(&self.input) {
            self.input.drain(..request.length);
            counts[self.port].fetch_add(1, Ordering::Relaxed);
            let (bytes, left) = answers.get(request.size, request.close);
            self.answer = Some(Sending { bytes, sent: 0, left, close: request.close });
            if !self.send(answers)? {
                return Ok(());
            }
        }
        if self.input.len() > REQUEST { Err(ErrorKind::InvalidData.into()) } else { Ok(()) }
    }

    /// Whether nothing is left to send.
    fn send(&mut self, answers: &Answers) -> io::Result<bool> {
        let Some(sending) = &mut self.answer else { return Ok(true) };
        loop {
            let head = &sending.bytes[sending.sent..];
            let block = &answers.block[..usize::try_from(sending.left).unwrap_or(BLOCK).min(BLOCK)];
            let part = if head.is_empty() { block } else { head };
            if part.is_empty() {
                let close = sending.close;
                self.answer = None;
                return if close { Err(ErrorKind::ConnectionAborted.into()) } else { Ok(true) };
            }
            match self.stream.write(part) {
                Ok(length) if head.is_empty() => sending.left -= length as u64,
                Ok(length) => sending.sent += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    fn arm(&mut self, epoll: &Epoll, token: u64) -> io::Result<()> {
        let wanted = self.answer.is_some();
        if wanted != self.armed {
            self.armed = wanted;
            let flags = if wanted { EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT } else { EpollFlags::EPOLLIN };
            epoll.modify(&self.stream, &mut EpollEvent::new(flags, token))?;
        }
        Ok(())
    }
}
