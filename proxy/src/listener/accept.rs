//! The accept loops: opened and closed as the configuration asks.
//!
//! Sockets live on the runtime that calls [`Listeners::apply`]; connections leave it at once for a worker.

use std::io;
use std::mem;
use std::net::{self, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::bind::{BindError, bind_entrance};
use super::dispatch::Dispatcher;
use super::entrance::Entrance;
use crate::sys::{accept, watched};

/// Connections accepted in a row.
const BATCH: usize = 32;
/// First and longest pause after the process ran out of descriptors or memory.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));
/// How long single addresses of a port stand in for all before these are tried again. A try closes the sockets of the single
/// ones for a moment, in which their clients are refused.
const STAND_IN: Duration = Duration::from_secs(60);

/// One entrance being listened on.
#[derive(Debug)]
struct Open {
    entrance: Entrance,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// A port that could not be opened on all addresses, and is open on those that Gateways bind by themselves.
#[derive(Debug)]
struct Refused {
    entrance: Entrance,
    error: BindError,
    /// When to try again.
    retry: Instant,
}

/// The listening sockets of the process, following the configuration.
///
/// Where a port is open on all addresses, a Gateway that binds one of them has no socket of its own: the kernel refuses the
/// second unless both have SO_REUSEPORT, which would let any process of our user take connections away. Whose a connection is
/// is told by its local address ([`super::gateway`]).
#[derive(Debug)]
pub struct Listeners {
    dispatcher: Dispatcher,
    open: Vec<Open>,
    refused: Vec<Refused>,
}

impl Listeners {
    /// No socket yet; connections will go to `dispatcher`.
    pub fn new(dispatcher: Dispatcher) -> Self {
        Listeners { dispatcher, open: Vec::new(), refused: Vec::new() }
    }

    /// Closes what is open and not wanted, opens what is wanted and not open, leaves the rest alone. Must run on the
    /// runtime that shall accept. Entrances that cannot be bound are reported and tried again at the next call; but one of all
    /// addresses, where single ones of its port can take its place, after [`STAND_IN`].
    pub async fn apply(&mut self, wanted: &[Entrance]) -> Vec<BindError> {
        let now = Instant::now();
        self.refused.retain(|refused| now < refused.retry && wanted.contains(&refused.entrance));
        let refused = &self.refused;
        let unwanted = |open: &mut Open| !wanted.contains(&open.entrance) || !has_socket(&open.entrance, wanted, refused);
        let unwanted = self.open.extract_if(.., unwanted).collect();
        // To the end: as long as a socket for all addresses of a port is open, none for one of them can be, nor the other way
        // round.
        close(unwanted).await;
        let (single, all): (Vec<&Entrance>, Vec<&Entrance>) = wanted.iter().partition(|entrance| entrance.bind.is_some());
        let mut errors = Vec::new();
        // What is refused for all addresses of a port decides about its single ones.
        for entrance in all.into_iter().chain(single.iter().copied()) {
            match self.open(entrance, wanted) {
                Err(error) if entrance.bind.is_none() && single.iter().any(|one| one.port == entrance.port) => {
                    self.refused.push(Refused { entrance: entrance.clone(), error: error.with_stand_ins(), retry: now + STAND_IN });
                }
                outcome => errors.extend(outcome.err()),
            }
        }
        errors.extend(self.refused.iter().map(|refused| refused.error.clone()));
        errors
    }

    /// Listens on an entrance that shall have a socket and has none.
    fn open(&mut self, entrance: &Entrance, wanted: &[Entrance]) -> Result<(), BindError> {
        let is_open = self.open.iter().any(|open| open.entrance == *entrance);
        if !is_open && has_socket(entrance, wanted, &self.refused) {
            self.open.push(self.listen(entrance)?);
        }
        Ok(())
    }

    /// The entrances being listened on.
    pub fn entrances(&self) -> impl Iterator<Item = &Entrance> {
        self.open.iter().map(|open| &open.entrance)
    }

    /// Closes every socket after taking what the kernel has already accepted, and waits for that.
    pub async fn close(&mut self) {
        close(mem::take(&mut self.open)).await;
    }

    fn listen(&self, entrance: &Entrance) -> Result<Open, BindError> {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = Vec::new();
        let address = SocketAddr::new(entrance.bind.unwrap_or(Ipv4Addr::UNSPECIFIED.into()), entrance.port);
        for socket in bind_entrance(entrance)? {
            let socket = watched(socket).map_err(|error| BindError::new(address, error))?;
            let acceptor = Acceptor { socket, entrance: Arc::new(entrance.clone()), dispatcher: self.dispatcher.clone() };
            tasks.push(tokio::spawn(acceptor.run(stopped.clone())));
        }
        Ok(Open { entrance: entrance.clone(), stop, tasks })
    }
}

/// Whether an entrance shall have a socket of its own: that of all addresses of its port takes the place of single ones, or they
/// its place when it was refused.
fn has_socket(entrance: &Entrance, wanted: &[Entrance], refused: &[Refused]) -> bool {
    let of_all = wanted.iter().find(|all| all.bind.is_none() && all.port == entrance.port);
    let serves_all = of_all.is_some_and(|all| refused.iter().all(|refused| refused.entrance != *all));
    serves_all == entrance.bind.is_none()
}

/// Ends what is being listened on, all at the same time, and waits for the end.
async fn close(entrances: Vec<Open>) {
    for open in &entrances {
        open.stop.send_replace(true);
    }
    for task in entrances.into_iter().flat_map(|open| open.tasks) {
        // One that panicked has closed its socket too.
        let _ = task.await;
    }
}

/// The accept loop of one socket. It accepts by itself rather than by a `tokio::net::TcpListener`, which would register each
/// connection with the runtime that accepts it only for it to be taken out again.
struct Acceptor {
    socket: AsyncFd<net::TcpListener>,
    entrance: Arc<Entrance>,
    dispatcher: Dispatcher,
}

impl Acceptor {
    async fn run(self, mut stopped: watch::Receiver<bool>) {
        let mut pause = BACK_OFF.0;
        loop {
            let ready = tokio::select! {
                ready = self.socket.readable() => ready,
                _ = stopped.wait_for(|stop| *stop) => break,
            };
            // An error means that the runtime is going.
            let Ok(ready) = ready else { break };
            self.take_batch(ready, &mut stopped, &mut pause).await;
        }
        self.take_remaining();
    }

    /// Takes what is there, and no more than [`BATCH`] before those that are connected get their turn.
    async fn take_batch(
        &self,
        mut ready: AsyncFdReadyGuard<'_, net::TcpListener>,
        stopped: &mut watch::Receiver<bool>,
        pause: &mut Duration,
    ) {
        for _ in 0..BATCH {
            match ready.try_io(|socket| accept(socket.get_ref())) {
                Ok(accepted) => self.take(accepted, stopped, pause).await,
                Err(_would_block) => return,
            }
        }
        tokio::task::yield_now().await;
    }

    /// Hands a connection on, or waits out a shortage. Without the pause a full descriptor table would spin. Who closes the
    /// socket does not wait for it.
    async fn take(&self, accepted: io::Result<(net::TcpStream, SocketAddr)>, stopped: &mut watch::Receiver<bool>, pause: &mut Duration) {
        match accepted {
            Ok((stream, peer)) => {
                *pause = BACK_OFF.0;
                self.hand_on(stream, peer);
            }
            Err(error) if is_shortage(&error) => {
                tracing::warn!(port = self.entrance.port, %error, ?pause, "accept failed; new connections wait");
                let _ = tokio::time::timeout(*pause, stopped.wait_for(|stop| *stop)).await;
                *pause = (*pause * 2).min(BACK_OFF.1);
            }
            Err(error) => tracing::debug!(port = self.entrance.port, %error, "a connection ended before it was accepted"),
        }
    }

    /// Closing a listening socket resets what its queue holds; those clients believe they are connected.
    fn take_remaining(self) {
        while let Ok((stream, peer)) = accept(self.socket.get_ref()) {
            self.hand_on(stream, peer);
        }
    }

    fn hand_on(&self, stream: net::TcpStream, peer: SocketAddr) {
        self.dispatcher.dispatch(stream, peer, &self.entrance);
    }
}

/// Whether accept failed for want of descriptors or memory, rather than because of the one connection.
fn is_shortage(error: &io::Error) -> bool {
    use nix::libc::{EMFILE, ENFILE, ENOBUFS, ENOMEM};
    error.raw_os_error().is_some_and(|code| [EMFILE, ENFILE, ENOBUFS, ENOMEM].contains(&code))
}
