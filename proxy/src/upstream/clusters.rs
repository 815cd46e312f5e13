//! The clusters of one configuration at run time, each made when it is first asked for.
//!
//! A mesh has a thousand services and a pod calls a few of them: what a cluster needs to serve (cursor, limits, hosts with
//! their counters) is three times its description. A cluster whose description stays shares its place with the configuration
//! before, so that whoever asks first, under either, makes it for both. One that changes takes over what was made by then; what is
//! made of it later, under either description, is made from what the other has.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use outrigger_config::model::{Cluster, ClusterId, Discovery, Snapshot};

use super::cluster::{self, ClusterState};

type Place = Arc<Slot>;

/// Where the state of a cluster is put when it is made.
#[derive(Debug, Default)]
struct Slot {
    state: OnceLock<Arc<ClusterState>>,
    /// What the descriptions of a cluster have in common that changed before anyone asked for it: the state made first,
    /// under whichever configuration. Requests under the one before may still come, and limits are one for all of them.
    line: OnceLock<Arc<OnceLock<Arc<ClusterState>>>>,
    /// Whether a later configuration has another description.
    superseded: AtomicBool,
}

impl Slot {
    fn get(&self) -> Option<&Arc<ClusterState>> {
        self.state.get()
    }

    /// What a later description goes on with.
    fn latest(&self) -> Option<&Arc<ClusterState>> {
        self.get().or_else(|| self.line.get()?.get())
    }

    fn get_or_make(&self, cluster: &Arc<Cluster>) -> &Arc<ClusterState> {
        self.state.get_or_init(|| match self.line.get() {
            None => ClusterState::next(cluster, None),
            Some(line) => self.make_in_line(cluster, line.get_or_init(|| ClusterState::next(cluster, None))),
        })
    }

    fn make_in_line(&self, cluster: &Arc<Cluster>, first: &Arc<ClusterState>) -> Arc<ClusterState> {
        let state = ClusterState::next(cluster, Some(first));
        let (older, newer) = if self.superseded.load(Ordering::Relaxed) { (&state, first) } else { (first, &state) };
        cluster::retire(&older.hosts(), &newer.hosts());
        state
    }

    /// The slot of the next description, while nothing is made under this one.
    fn next(&self) -> Place {
        let line = self.line.get_or_init(Arc::default);
        if let Some(made) = self.get() {
            // In this very moment, by someone who saw no line yet.
            line.get_or_init(|| Arc::clone(made));
        }
        Arc::new(Slot { line: Arc::clone(line).into(), ..Slot::default() })
    }
}

/// Run-time state of clusters, by [`ClusterId`].
#[derive(Debug, Default)]
pub struct Clusters {
    places: Box<[Place]>,
}

impl Clusters {
    /// The clusters of `model`, continuing those of `previous` with the same name. Hosts that are gone are marked so that
    /// their idle connections close. In `model` each description that stays gives way to the equal one of before: it would
    /// be a second copy.
    pub fn carry_over(model: &mut Snapshot, previous: Option<(&Snapshot, &Clusters)>) -> Clusters {
        let mut known: HashMap<&str, (&Arc<Cluster>, &Place)> =
            previous.map(|(model, clusters)| clusters.by_name(model)).unwrap_or_default();
        let places = model.clusters.iter_mut().map(|cluster| match known.remove(cluster.name.as_str()) {
            Some((before, place)) if before == &*cluster => {
                *cluster = Arc::clone(before);
                Arc::clone(place)
            }
            known => place_for(cluster, known.map(|(_, place)| &**place)),
        });
        let clusters = Clusters { places: places.collect() };
        if let Some((_, previous)) = previous {
            cluster::mark_removed(&previous.made().cloned().collect::<Vec<_>>(), &clusters.made().cloned().collect::<Vec<_>>());
        }
        clusters
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

    /// All of them, to be looked at one by one: those that nobody has asked for are made for the look alone.
    pub fn all(&self, model: &Snapshot) -> impl Iterator<Item = Arc<ClusterState>> {
        let show = |(place, cluster): (&Place, &Arc<Cluster>)| place.get().cloned().unwrap_or_else(|| ClusterState::next(cluster, None));
        self.places.iter().zip(&model.clusters).map(show)
    }

    fn by_name<'m>(&'m self, model: &'m Snapshot) -> HashMap<&'m str, (&'m Arc<Cluster>, &'m Place)> {
        let all = model.clusters.iter().zip(&self.places).map(|(cluster, place)| (cluster.name.as_str(), (cluster, place)));
        // Of several of one name the first is the one that routes lead to, and `collect` would keep the last.
        all.rev().collect()
    }
}

/// The place of a cluster that is new or has changed. Names are resolved before anybody asks.
fn place_for(cluster: &Arc<Cluster>, before: Option<&Slot>) -> Place {
    if let Some(before) = before {
        before.superseded.store(true, Ordering::Relaxed);
    }
    if let Some(previous) = before.and_then(Slot::latest) {
        let state = ClusterState::next(cluster, Some(previous));
        cluster::retire(&previous.hosts(), &state.hosts());
        return Arc::new(Slot { state: state.into(), ..Slot::default() });
    }
    let place = before.map(Slot::next).unwrap_or_default();
    if matches!(cluster.discovery, Discovery::StrictDns(_)) {
        place.get_or_make(cluster);
    }
    place
}

#[cfg(test)]
mod tests;
