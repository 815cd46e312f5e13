//! The clusters of one configuration at run time, each made when it is first asked for.
//!
//! A mesh has a thousand services and a pod calls a few of them: what a cluster needs to serve (cursor, limits, hosts with
//! their counters) is three times its description. How one state goes on from another, whichever configuration is asked first,
//! is told at [`Slot`]. Nothing of the configuration in force changes before the next replaces it: that may never happen.

use std::collections::HashMap;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use outrigger_config::model::{Cluster, ClusterId, Discovery, Snapshot};

use super::cluster::{self, ClusterState};
use crate::snapshot::Slot;

/// Where the state of a cluster is put when it is made.
#[derive(Debug, Default)]
struct Place {
    slot: Slot<ClusterState>,
    /// Locked for as long as a state is made here, so that what comes into force knows whether it must see to the hosts of this
    /// state or the state itself does. Whoever publishes holds it for a moment alone: requests do not wait for work of its.
    standing: Mutex<Standing>,
}

/// What the configuration in force has of a description.
#[derive(Debug, Default)]
struct Standing {
    /// It describes the cluster in another way.
    superseded: bool,
    /// It has no such cluster: one answer for all descriptions in line, since late requests may make a state under any of them.
    gone: Option<Arc<AtomicBool>>,
}

impl Standing {
    fn gone(&mut self) -> &Arc<AtomicBool> {
        self.gone.get_or_insert_default()
    }

    /// Reads by writing, as [`Place::go`] does: of a state being made and its cluster going, the second sees the first.
    fn is_gone(&self) -> bool {
        self.gone.as_ref().is_some_and(|gone| gone.fetch_or(false, Ordering::AcqRel))
    }
}

impl Place {
    fn get(&self) -> Option<&Arc<ClusterState>> {
        self.slot.get()
    }

    fn get_or_make(&self, cluster: &Arc<Cluster>) -> &Arc<ClusterState> {
        let standing = self.standing();
        let state = self.slot.get_or_make(|first| {
            let state = ClusterState::next(cluster, first);
            if let Some(first) = first.filter(|first| !Arc::ptr_eq(first, &state)) {
                let (older, newer) = if standing.superseded { (&state, first) } else { (first, &state) };
                cluster::retire(&older.hosts(), &newer.hosts());
            }
            state
        });
        if standing.is_gone() {
            cluster::retire(&state.hosts(), &[]);
        }
        state
    }

    /// `next` describes the cluster from now on. Until now a late request here may have marked hosts that `next` has.
    fn give_way(&self, next: &Place) {
        let latest = {
            let mut standing = self.standing();
            standing.superseded = true;
            self.slot.latest()
        };
        let Some(state) = next.get() else { return };
        if let Some(latest) = latest {
            cluster::retire(&latest.hosts(), &state.hosts());
        }
        state.keep_hosts();
    }

    /// The cluster goes, with whatever hosts it has, or will have for requests that began before.
    fn go(&self) {
        self.standing().gone().swap(true, Ordering::AcqRel);
        if let Some(latest) = self.slot.latest() {
            cluster::retire(&latest.hosts(), &[]);
        }
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Run-time state of clusters, by [`ClusterId`].
#[derive(Debug, Default)]
pub struct Clusters {
    places: Box<[Arc<Place>]>,
    /// What coming into force does to those before.
    changes: Vec<Change>,
}

/// What becomes of the place of a cluster.
#[derive(Debug)]
enum Change {
    /// Another takes over.
    Superseded { before: Arc<Place>, next: Arc<Place> },
    /// There is no such cluster any more.
    Gone(Arc<Place>),
}

impl Clusters {
    /// The clusters of `model`, continuing those of `previous` with the same name. In `model` each description that stays gives way to the equal one of before: it would
    /// be a second copy.
    pub fn carry_over(model: &mut Snapshot, previous: Option<(&Snapshot, &Clusters)>) -> Clusters {
        let mut known: HashMap<&str, (&Arc<Cluster>, &Arc<Place>)> =
            previous.map(|(model, clusters)| clusters.by_name(model)).unwrap_or_default();
        let mut changes = Vec::new();
        let places = model.clusters.iter_mut().map(|cluster| match known.remove(cluster.name.as_str()) {
            Some((before, place)) if before == &*cluster => {
                *cluster = Arc::clone(before);
                Arc::clone(place)
            }
            Some((_, before)) => {
                let next = Arc::new(place_after(before, cluster));
                changes.push(Change::Superseded { before: Arc::clone(before), next: Arc::clone(&next) });
                next
            }
            None => Arc::new(resolved(Place::default(), cluster)),
        });
        let places = places.collect();
        changes.extend(known.into_values().map(|(_, place)| Change::Gone(Arc::clone(place))));
        Clusters { places, changes }
    }

    /// Marks the hosts that are gone, so that their idle connections close. Before anybody asks for a cluster of these, and
    /// when nothing can keep them from replacing those they were made from.
    pub fn come_into_force(&mut self) {
        for change in mem::take(&mut self.changes) {
            match change {
                Change::Superseded { before, next } => before.give_way(&next),
                Change::Gone(place) => place.go(),
            }
        }
    }

    /// The cluster of a number that `model`, the snapshot these are the clusters of, gave out.
    pub fn get(&self, model: &Snapshot, id: ClusterId) -> Option<&Arc<ClusterState>> {
        let place = self.places.get(id.0 as usize)?;
        if let Some(made) = place.get() {
            return Some(made);
        }
        let cluster = model.cluster(id)?;
        Some(place.get_or_make(cluster))
    }

    /// Those that were asked for, or that work without being asked.
    pub fn made(&self) -> impl Iterator<Item = &Arc<ClusterState>> {
        self.places.iter().filter_map(|place| place.get())
    }

    /// All of them, to be looked at one by one: those that nobody has asked for are made for the look alone. They go on from what
    /// requests of a configuration before have made, so that its counters are seen.
    pub fn all(&self, model: &Snapshot) -> impl Iterator<Item = Arc<ClusterState>> {
        let show = |(place, cluster): (&Arc<Place>, &Arc<Cluster>)| {
            place.get().cloned().unwrap_or_else(|| ClusterState::next(cluster, place.slot.latest().as_ref()))
        };
        self.places.iter().zip(&model.clusters).map(show)
    }

    fn by_name<'m>(&'m self, model: &'m Snapshot) -> HashMap<&'m str, (&'m Arc<Cluster>, &'m Arc<Place>)> {
        let all = model.clusters.iter().zip(&self.places).map(|(cluster, place)| (cluster.name.as_str(), (cluster, place)));
        // Of several of one name the first is the one that routes lead to, and `collect` would keep the last.
        all.rev().collect()
    }
}

/// The place of a cluster that has changed.
fn place_after(before: &Place, cluster: &Arc<Cluster>) -> Place {
    if let Some(latest) = before.slot.latest() {
        return Place { slot: Slot::made(ClusterState::next(cluster, Some(&latest))), ..Place::default() };
    }
    let standing = Standing { gone: Some(Arc::clone(before.standing().gone())), ..Standing::default() };
    resolved(Place { slot: before.slot.in_line(), standing: Mutex::new(standing) }, cluster)
}

/// Names are resolved before anybody asks.
fn resolved(place: Place, cluster: &Arc<Cluster>) -> Place {
    if matches!(cluster.discovery, Discovery::StrictDns(_)) {
        place.get_or_make(cluster);
    }
    place
}

#[cfg(test)]
mod tests;
