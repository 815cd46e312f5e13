//! What samples are added up in: distributions by ending and target, and by value of a property.

use super::{Key, Outcome};
use crate::{answer::Cause, histogram::Hdr, intern::Interner, live::Fate};

/// Answers of one property that get a latency distribution of their own; later ones are only counted.
pub(crate) const TIMED_KEYS: usize = 64;

/// Corrected latency (from the intended time) and raw service time (from sending).
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Times {
    pub(crate) latency: Hdr,
    pub(crate) service: Hdr,
}

impl Times {
    pub(super) fn record(&mut self, latency: u64, service: u64) {
        self.latency.record(latency);
        self.service.record(service);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.latency.add(&other.latency);
        self.service.add(&other.service);
    }
}

/// [`Outcome`] without words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Status(u16),
    Grpc(u16, u16),
    Plain,
    Error(Cause),
}

impl Ending {
    pub(super) fn of(outcome: &Outcome<'_>) -> Self {
        match *outcome {
            Outcome::Status(status) => Self::Status(status),
            Outcome::Grpc(http, grpc) => Self::Grpc(http, grpc),
            Outcome::Plain => Self::Plain,
            Outcome::Error(cause, _) => Self::Error(cause),
        }
    }

    pub(crate) fn fate(self) -> Fate {
        match self {
            Self::Error(_) => Fate::Lost,
            Self::Status(400..) | Self::Grpc(400.., _) | Self::Grpc(_, 1..) => Fate::Refused,
            Self::Status(_) | Self::Grpc(..) | Self::Plain => Fate::Answered,
        }
    }
}

/// Requests to one target that ended alike. The totals are sums over these, so that a request is recorded once.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) target: usize,
    pub(crate) ending: Ending,
    pub(crate) times: Times,
}

/// The answers with one value of a property.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) count: u64,
    pub(crate) times: Option<Box<Times>>,
}

/// A property: its values and their answers. The last slot of `tallies` counts answers without the property.
#[derive(Clone, Debug, Default)]
pub(crate) struct Property {
    pub(crate) names: Interner,
    pub(crate) tallies: Vec<Tally>,
    pub(crate) absent: u64,
}

impl Property {
    fn tally(&mut self, key: usize) -> Option<&mut Tally> {
        if key >= self.tallies.len() {
            self.tallies.resize_with(key + 1, Tally::default);
        }
        self.tallies.get_mut(key)
    }

    pub(super) fn record(&mut self, key: Option<Key>, latency: u64, service: u64) {
        let Some(Key(key)) = key else {
            self.absent += 1;
            return;
        };
        let key = key as usize;
        let Some(tally) = self.tally(key) else { return };
        tally.count += 1;
        if key < TIMED_KEYS {
            tally.times.get_or_insert_default().record(latency, service);
        }
    }

    /// Adds another's tallies and returns this one's number for each of the other's keys.
    pub(super) fn merge(&mut self, other: Self) -> Vec<u32> {
        self.absent += other.absent;
        let keys: Vec<u32> = other.names.iter().map(|name| self.names.key(name)).collect();
        for (key, theirs) in keys.iter().zip(other.tallies) {
            let Some(tally) = self.tally(*key as usize) else { continue };
            tally.count += theirs.count;
            if let Some(times) = theirs.times {
                tally.times.get_or_insert_default().add(&times);
            }
        }
        keys
    }
}
