//! What was resolved for an exchange, found again by the addresses of the `Arc`s it carries: one hash of a few integers.
//!
//! An entry holds its `Arc`s weakly. That keeps their addresses from coming to mean something else, yet nothing of an old
//! configuration or of a closed connection alive. Entries whose subject is gone are swept out whenever the table has
//! doubled, so that it is as large as what lives, however often configurations and connections change.

use std::sync::{Arc, Weak};

use foldhash::HashMap;
use outrigger_config::model::{ServiceRef, Workload};

use super::UpstreamFacts;
use super::labels::Subject;
use super::scope::Resolved;
use crate::listener::Direction;

/// Entries that are not worth a sweep.
const FEW: usize = 64;
/// Entries at most: then all are forgotten, and found again by their labels.
const MOST: usize = 4_096;

/// The table.
#[derive(Debug)]
pub(super) struct Pointers {
    entries: HashMap<PointerKey, Pinned>,
    /// How many entries there may be before the next sweep.
    room: usize,
}

impl Default for Pointers {
    fn default() -> Self {
        Pointers { entries: HashMap::default(), room: FEW }
    }
}

impl Pointers {
    pub(super) fn get(&self, key: &PointerKey) -> Option<Resolved> {
        self.entries.get(key).map(|found| found.resolved)
    }

    pub(super) fn insert(&mut self, key: PointerKey, upstream: &UpstreamFacts, resolved: Resolved) {
        if self.entries.len() >= self.room {
            self.sweep();
        }
        self.entries.insert(key, Pinned::new(upstream, resolved));
    }

    /// Each sweep is paid for by as many insertions as it leaves entries, or by [`FEW`].
    fn sweep(&mut self) {
        self.entries.retain(|_, pinned| pinned.lives());
        if self.entries.len() >= MOST {
            self.entries.clear();
        }
        self.room = (self.entries.len() * 2).clamp(FEW, MOST);
        self.entries.shrink_to(self.room);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

/// Addresses of what labels are derived from.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct PointerKey {
    cluster: usize,
    service: usize,
    workload: usize,
    peer_identity: usize,
    local_identity: usize,
    protocol: &'static str,
    special_route: u8,
}

impl PointerKey {
    /// The key, when labels depend on nothing but addresses: not on the Host header (a service must be known) and not on
    /// the connection (inbound connections keep what they resolved, see [`super::ConnectionScope`]).
    pub(super) fn of(subject: &Subject<'_>) -> Option<Self> {
        let upstream = subject.upstream.filter(|_| subject.downstream.direction != Direction::Inbound)?;
        Some(PointerKey {
            cluster: Arc::as_ptr(&upstream.cluster).addr(),
            service: Arc::as_ptr(upstream.service.as_ref()?).addr(),
            workload: upstream.workload.as_ref().map_or(0, |workload| Arc::as_ptr(workload).addr()),
            peer_identity: upstream.peer_identity.as_ref().map_or(0, |identity| Arc::as_ptr(identity).addr()),
            local_identity: upstream.local_identity.as_ref().map_or(0, |identity| Arc::as_ptr(identity).addr()),
            protocol: subject.protocol,
            special_route: match subject.route_name {
                "block_all" => 1,
                "allow_any" => 2,
                _ => 0,
            },
        })
    }
}

/// What a key was resolved to, with the values that the key points to.
#[derive(Debug)]
struct Pinned {
    resolved: Resolved,
    cluster: Weak<str>,
    service: Option<Weak<ServiceRef>>,
    workload: Option<Weak<Workload>>,
    peer_identity: Option<Weak<str>>,
    local_identity: Option<Weak<str>>,
}

impl Pinned {
    fn new(upstream: &UpstreamFacts, resolved: Resolved) -> Self {
        Pinned {
            resolved,
            cluster: Arc::downgrade(&upstream.cluster),
            service: upstream.service.as_ref().map(Arc::downgrade),
            workload: upstream.workload.as_ref().map(Arc::downgrade),
            peer_identity: upstream.peer_identity.as_ref().map(Arc::downgrade),
            local_identity: upstream.local_identity.as_ref().map(Arc::downgrade),
        }
    }

    /// Whether an exchange with this key can still come.
    fn lives(&self) -> bool {
        fn lives<T: ?Sized>(value: Option<&Weak<T>>) -> bool {
            value.is_none_or(|value| value.strong_count() > 0)
        }
        lives(Some(&self.cluster))
            && lives(self.service.as_ref())
            && lives(self.workload.as_ref())
            && lives(self.peer_identity.as_ref())
            && lives(self.local_identity.as_ref())
    }
}
