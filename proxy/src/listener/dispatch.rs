//! Connections to workers: each goes to the worker with the fewest, counted by the connection itself.
//!
//! The count belongs to a guard that travels with the connection, so it is right whatever becomes of it; Envoy's exact
//! balancing once counted at the wrong place and drifted (envoy#15146).

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::connection;
use super::entrance::Entrance;
use super::live::Live;
use super::occasion::Occasion;
use crate::drain::Phase;
use crate::runtime::Worker;

/// A connection on its way to its worker. Queues are unbounded because the dispatcher's limit bounds their sum.
#[derive(Debug)]
pub struct Accepted {
    /// The socket, registered with no runtime yet, non-blocking.
    pub stream: TcpStream,
    /// Peer address.
    pub peer: SocketAddr,
    /// When it was accepted.
    pub accepted_at: SystemTime,
    /// Where it came in.
    pub entrance: Arc<Entrance>,
    /// Counts it at its worker until dropped.
    pub guard: ConnectionGuard,
}

/// Counts a live connection of a worker.
#[derive(Debug)]
pub struct ConnectionGuard(Arc<Worker>);

impl ConnectionGuard {
    /// Counts one connection until dropped.
    pub fn new(worker: &Arc<Worker>) -> Self {
        worker.connections.fetch_add(1, Ordering::Relaxed);
        ConnectionGuard(Arc::clone(worker))
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The acceptor's view of the workers.
#[derive(Clone, Debug)]
pub struct Dispatcher {
    queues: Arc<[Queue]>,
    limit: usize,
    turn: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Queue {
    worker: Arc<Worker>,
    sender: UnboundedSender<Accepted>,
}

/// A worker's end: the connections handed to it.
#[derive(Debug)]
pub struct Incoming {
    worker: Arc<Worker>,
    receiver: UnboundedReceiver<Accepted>,
}

impl Dispatcher {
    /// A dispatcher over `workers` and, in the same order, what each worker's runtime must run. `limit` is the number of
    /// live downstream connections above which new ones are closed at once, as Envoy's global limit does.
    pub fn new(workers: &[Arc<Worker>], limit: usize) -> (Dispatcher, Vec<Incoming>) {
        let mut queues = Vec::with_capacity(workers.len());
        let mut incoming = Vec::with_capacity(workers.len());
        for worker in workers {
            let (sender, receiver) = unbounded_channel();
            queues.push(Queue { worker: Arc::clone(worker), sender });
            incoming.push(Incoming { worker: Arc::clone(worker), receiver });
        }
        (Dispatcher { queues: queues.into(), limit, turn: Arc::default() }, incoming)
    }

    /// Live downstream connections of all workers.
    pub fn connections(&self) -> usize {
        self.queues.iter().map(|queue| queue.worker.connections.load(Ordering::Relaxed)).sum()
    }

    /// Hands a connection (non-blocking) to the worker with the fewest; closes it when the limit is reached or no worker is left.
    pub fn dispatch(&self, stream: TcpStream, peer: SocketAddr, entrance: &Arc<Entrance>) {
        if self.connections() >= self.limit {
            static OCCASION: Occasion = Occasion::new();
            if let Some(left_out) = OCCASION.take() {
                tracing::warn!(%peer, limit = self.limit, left_out, "connection limit reached; closed");
            }
            return;
        }
        let counts = self.queues.iter().map(|queue| queue.worker.connections.load(Ordering::Relaxed));
        let Some(queue) = fewest(counts, self.turn.fetch_add(1, Ordering::Relaxed)).and_then(|index| self.queues.get(index)) else {
            return;
        };
        let guard = ConnectionGuard::new(&queue.worker);
        let accepted = Accepted { stream, peer, accepted_at: SystemTime::now(), entrance: Arc::clone(entrance), guard };
        let _ = queue.sender.send(accepted);
    }
}

/// Position of the smallest count; among equals the first at or after `turn`, so that ties go round.
fn fewest(counts: impl ExactSizeIterator<Item = usize>, turn: usize) -> Option<usize> {
    let length = counts.len();
    let distance = |index: usize| (index + length - turn % length) % length;
    counts.enumerate().min_by_key(|(index, count)| (*count, distance(*index))).map(|(index, _)| index)
}

impl Incoming {
    /// Serves connections on the current runtime until the dispatcher is gone and the last one ended, or until
    /// [`Phase::Forced`], when what is left is cut.
    pub async fn run(mut self) {
        let mut drain = self.worker.drain.clone();
        let live = Arc::default();
        tokio::select! {
            () = self.serve(&live) => {}
            () = drain.reached(Phase::Forced) => {}
        }
        live.cut().await;
    }

    async fn serve(&mut self, live: &Arc<Live>) {
        while let Some(accepted) = self.receiver.recv().await {
            live.spawn(|place| connection::serve(Arc::clone(&self.worker), accepted, place));
        }
        live.ended().await;
    }
}

#[cfg(test)]
mod tests {
    use super::fewest;

    #[test]
    fn the_worker_with_fewest_connections_gets_the_next() {
        assert_eq!(fewest([3, 1, 2].into_iter(), 0), Some(1));
        assert_eq!(fewest([3, 1, 2].into_iter(), 7), Some(1));
        assert_eq!(fewest([].into_iter(), 3), None);
    }

    #[test]
    fn ties_go_round() {
        let picks: Vec<_> = (0..4).filter_map(|turn| fewest([5, 5, 5].into_iter(), turn)).collect();
        assert_eq!(picks, [0, 1, 2, 0]);
    }
}
