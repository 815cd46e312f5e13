//! Connections whose way in is taken away: a gateway's listener or server that is no longer configured, or serves something else,
//! and plaintext to a port that has become STRICT.
//!
//! As in Envoy, which drains the connections of a removed listener or filter chain, such a connection is asked to leave where its
//! protocol can say so, and cut when the mesh's drain duration (45 s) is over. Connections are woken only when a way
//! is taken away: ten thousand idle ones cost nothing when the configuration changes otherwise.

use std::mem::{Discriminant, discriminant};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use foldhash::HashMap;
use outrigger_config::model::{GatewayListener, GatewayListenerKind, MtlsMode};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::snapshot::Config;

/// Doors nobody uses are dropped when there are more than this, and twice as many as were in use.
const SWEEP: usize = 64;

/// The way in that a connection took, as long as it can be taken away.
///
/// At a gateway it is what serves the connection, not the address that was dialled: another listener may take new connections to
/// that address from now on, but has no part in those that are there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// Plaintext to a port of the application.
    Plaintext(u16),
    /// HTTP at a gateway, by the route table of this name. A table belongs to one listener, behind TLS to one server of it.
    Requests(Arc<str>),
    /// Bytes at a gateway, through the listener of this port with this bind, if it is still of this kind.
    Bytes(u16, Option<IpAddr>, Discriminant<GatewayListenerKind>),
}

impl Way {
    /// Of bytes through this listener.
    pub(super) fn bytes(listener: &GatewayListener) -> Way {
        Way::Bytes(listener.port, listener.bind, discriminant(&listener.kind))
    }

    fn is_open(&self, config: &Config) -> bool {
        match self {
            Way::Plaintext(port) => config.model.inbound.as_ref().is_none_or(|inbound| inbound.find(*port).mtls != MtlsMode::Strict),
            Way::Requests(table) => config.route_table(table).is_some(),
            Way::Bytes(..) => config.model.gateways.iter().any(|listener| Way::bytes(listener) == *self),
        }
    }
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
    /// The door of a connection that came this way; shut if the way was taken away meanwhile. The configuration is read under the
    /// lock, so that a change is either seen here or told to the door.
    pub(crate) fn enter(&self, way: Way, current: &ArcSwap<Config>) -> Door {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let config = current.load();
        if way.is_open(&config) {
            return known.door(way);
        }
        let (sender, door) = watch::channel(None);
        sender.send_replace(Some(Instant::now() + config.model.mesh.drain_duration));
        Door(door)
    }

    /// Tells the connections whose way is not in `config`.
    pub(crate) fn follow(&self, config: &Config) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let until = Instant::now() + config.model.mesh.drain_duration;
        let mut shut = 0;
        known.doors.retain(|way, door| {
            let open = way.is_open(config);
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
