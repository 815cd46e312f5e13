//! Connections whose way in is taken away: a gateway port that is no longer configured, or served as something else, and
//! plaintext to a port that has become STRICT.
//!
//! As in Envoy, which drains the connections of a removed listener or filter chain, such a connection is asked to leave where its
//! protocol can say so, and cut when the mesh's drain duration (45 s) is over. Connections are woken only when a way
//! is taken away: ten thousand idle ones cost nothing when the configuration changes otherwise.

use std::mem::{Discriminant, discriminant};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use arc_swap::ArcSwap;
use foldhash::HashMap;
use outrigger_config::model::{GatewayListener, GatewayListenerKind, MtlsMode, Snapshot};
use tokio::sync::watch;
use tokio::time::Instant;

use super::Direction;
use crate::snapshot::Config;

/// Doors nobody uses are dropped when there are more than this, and twice as many as were in use.
const SWEEP: usize = 64;

/// The way in that a connection took.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Way {
    /// Plaintext to a port of the application.
    Plaintext(u16),
    /// A gateway port, served as TCP, HTTP or TLS.
    Gateway(SocketAddr, Discriminant<GatewayListenerKind>),
}

impl Way {
    /// `None` when there is none in this configuration.
    fn of(direction: Direction, destination: SocketAddr, model: &Snapshot) -> Option<Way> {
        match direction {
            Direction::Inbound => Some(Way::Plaintext(destination.port())),
            Direction::Gateway => {
                let listener = gateway_listener(model, destination)?;
                Some(Way::Gateway(destination, discriminant(&listener.kind)))
            }
            Direction::Outbound => None,
        }
    }

    fn is_open(&self, model: &Snapshot) -> bool {
        match self {
            Way::Plaintext(port) => model.inbound.as_ref().is_none_or(|inbound| inbound.find(*port).mtls != MtlsMode::Strict),
            Way::Gateway(address, kind) => gateway_listener(model, *address).is_some_and(|listener| discriminant(&listener.kind) == *kind),
        }
    }
}

/// The gateway listener of an address; one bound to the very address goes before one bound to all.
pub fn gateway_listener(model: &Snapshot, address: SocketAddr) -> Option<&GatewayListener> {
    let on_port = || model.gateways.iter().filter(|listener| listener.port == address.port());
    let exact = on_port().find(|listener| listener.bind == Some(address.ip()));
    exact.or_else(|| on_port().find(|listener| listener.bind.as_ref().is_none_or(IpAddr::is_unspecified)))
}

/// A connection's view of its way in.
#[derive(Clone, Debug)]
pub struct Door(watch::Receiver<Option<Instant>>);

impl Door {
    /// Whether connections that came this way must go.
    pub fn is_shut(&self) -> bool {
        // Cheaper than to look at the value, for who asks at each request.
        self.0.has_changed().unwrap_or(true)
    }

    /// When what is left of the connections that came this way is cut; `None` while they may stay.
    pub fn cut_at(&self) -> Option<Instant> {
        *self.0.borrow()
    }
}

#[cfg(test)]
impl Door {
    /// The door that `sender` shuts.
    pub(super) fn of(sender: &watch::Sender<Option<Instant>>) -> Door {
        Door(sender.subscribe())
    }
}

/// All ways in that connections have taken and that may be taken away.
#[derive(Debug, Default)]
pub struct Doors {
    known: Mutex<Known>,
    /// How often one was shut.
    shut: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Known {
    doors: HashMap<Way, watch::Sender<Option<Instant>>>,
    /// Size at which unused doors are looked for.
    sweep_at: usize,
}

impl Doors {
    /// The door of a connection, if its way can be taken away. The configuration is read under the lock, so that a change is
    /// either seen here or told to the door.
    pub(crate) fn enter(&self, direction: Direction, destination: SocketAddr, is_tls: bool, current: &ArcSwap<Config>) -> Option<Door> {
        if direction == Direction::Outbound || (direction == Direction::Inbound && is_tls) {
            return None;
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let config = current.load();
        let model = &config.model;
        let until = || Some(Instant::now() + model.mesh.drain_duration);
        match Way::of(direction, destination, model).filter(|way| way.is_open(model)) {
            Some(way) => Some(known.door(way)),
            None => {
                let (sender, door) = watch::channel(None);
                sender.send_replace(until());
                Some(Door(door))
            }
        }
    }

    /// Tells the connections whose way is not in `model`.
    pub(crate) fn follow(&self, model: &Snapshot) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let until = Instant::now() + model.mesh.drain_duration;
        let mut shut = 0;
        known.doors.retain(|way, door| {
            let open = way.is_open(model);
            if !open {
                door.send_replace(Some(until));
                shut += 1;
            }
            open && door.receiver_count() > 0
        });
        self.shut.send_if_modified(|count| {
            *count += shut;
            shut > 0
        });
    }

    /// Changes whenever doors are shut.
    pub(crate) fn shut(&self) -> watch::Receiver<u64> {
        self.shut.subscribe()
    }
}

impl Known {
    fn door(&mut self, way: Way) -> Door {
        if self.doors.len() >= self.sweep_at.max(SWEEP) {
            self.doors.retain(|_, door| door.receiver_count() > 0);
            self.sweep_at = self.doors.len() * 2;
        }
        Door(self.doors.entry(way).or_insert_with(|| watch::Sender::new(None)).subscribe())
    }
}
