//! The compiled model joined with run-time state, published to the workers.
//!
//! The model ([`outrigger_config::model::Snapshot`]) is immutable and stateless; cluster and route state lives in
//! `Arc`s keyed by stable names, is made at the first request that needs it, and is carried over when a new model arrives, so
//! that cursors, active requests and pools survive. One [`Config`] is loaded per request and held throughout the exchange.

mod slot;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, Guard};
use foldhash::HashMap;
use outrigger_config::model::{ClusterId, Route, RouteConfiguration, Snapshot, TcpRoute};
pub(crate) use slot::Slot;
use tokio::sync::watch;

use crate::http::Routings;
use crate::http::peer_metadata::PeerMetadata;
use crate::listener::{Door, Doors, Way};
use crate::router::{RouteState, RouteStates};
use crate::telemetry::access_log::AccessLog;
use crate::upstream::{ClusterState, Clusters};

/// One generation of configuration with its run-time handles resolved.
#[derive(Debug)]
pub struct Config {
    /// Counts up with each publication.
    pub generation: u64,
    /// The compiled model.
    pub model: Snapshot,
    /// Run-time state of clusters.
    pub(crate) clusters: Clusters,
    /// Run-time state of routes.
    routes: RouteStates,
    /// Every route configuration by name, for connections that outlive the generation they were accepted under.
    route_tables: HashMap<String, Arc<RouteConfiguration>>,
    /// The access log, when it is on.
    access_log: Option<Arc<AccessLog>>,
    /// What this workload tells its peers about itself.
    peer_metadata: Option<PeerMetadata>,
}

impl Config {
    /// Joins a model with the state of the previous generation. State whose key stays is carried over; the previous
    /// generation is left as it is until this one is published.
    pub fn build(mut model: Snapshot, previous: Option<&Config>) -> Config {
        let generation = previous.map_or(1, |config| config.generation + 1);
        let clusters = Clusters::carry_over(&mut model, previous.map(|config| (&config.model, &config.clusters)));
        let routes = RouteStates::carry_over(&model, previous.map(|config| (&config.model, &config.routes)));
        let route_tables = route_tables(&model);
        let access_log = AccessLog::reuse_or_compile(model.mesh.access_log.as_ref(), previous.and_then(Config::access_log));
        let peer_metadata = PeerMetadata::of(&model.node);
        Config { generation, model, clusters, routes, route_tables, access_log, peer_metadata }
    }

    /// The access log of this generation; `None` when it is off.
    pub fn access_log(&self) -> Option<&Arc<AccessLog>> {
        self.access_log.as_ref()
    }

    /// What this workload tells its peers about itself; `None` when its name cannot stand in a header.
    pub fn peer_metadata(&self) -> Option<&PeerMetadata> {
        self.peer_metadata.as_ref()
    }

    /// Run-time state of a cluster of this generation.
    pub fn cluster(&self, id: ClusterId) -> Option<&Arc<ClusterState>> {
        self.clusters.get(&self.model, id)
    }

    /// All cluster states, in the model's order. For those that look at them all: see [`Clusters::all`].
    pub fn clusters(&self) -> impl Iterator<Item = Arc<ClusterState>> {
        self.clusters.all(&self.model)
    }

    /// Run-time state of a route of this generation.
    pub fn route(&self, route: &Route) -> Option<&Arc<RouteState>> {
        self.routes.get(route)
    }

    /// Run-time state of a route of connections of this generation.
    pub fn tcp_route(&self, route: &TcpRoute) -> Option<&Arc<RouteState>> {
        self.routes.get_tcp(route)
    }

    /// The route configuration of a name.
    pub fn route_table(&self, name: &str) -> Option<&Arc<RouteConfiguration>> {
        self.route_tables.get(name)
    }
}

fn route_tables(model: &Snapshot) -> HashMap<String, Arc<RouteConfiguration>> {
    model.route_configurations().map(|table| (table.name.clone(), Arc::clone(table))).collect()
}

/// The current [`Config`], cheap to load.
#[derive(Clone, Debug)]
pub struct ConfigHandle(Arc<Published>);

#[derive(Debug)]
struct Published {
    current: ArcSwap<Config>,
    doors: Doors,
    /// Those of the workers.
    routings: Mutex<Vec<Arc<Routings>>>,
    /// Configurations that were still in use when they were replaced. The last request to end under one is a worker's, which
    /// shall not be the one to take it apart.
    replaced: Mutex<Vec<Arc<Config>>>,
}

impl ConfigHandle {
    /// Publishes a first configuration.
    pub fn new(config: Config) -> Self {
        let current = ArcSwap::from_pointee(config);
        ConfigHandle(Arc::new(Published { current, doors: Doors::default(), routings: Mutex::default(), replaced: Mutex::default() }))
    }

    /// What the connections of one more worker share of the configuration in force.
    pub fn routings(&self) -> Arc<Routings> {
        let routings = Arc::<Routings>::default();
        lock(&self.0.routings).push(Arc::clone(&routings));
        routings
    }

    /// The configuration in force, for one short unit of work.
    pub fn load(&self) -> Guard<Arc<Config>> {
        self.0.current.load()
    }

    /// The configuration in force, to be kept across awaits.
    pub fn load_full(&self) -> Arc<Config> {
        self.0.current.load_full()
    }

    /// Replaces the configuration for everything that starts from now on, and tells connections that came in a way which is
    /// no more. What has been replaced is alive for as long as there are requests that began under it, and until
    /// [`ConfigHandle::free_replaced`] comes across it; of its clusters and routes
    /// those that have changed and that nobody has asked for since keep the state they will go on from.
    pub fn publish(&self, mut config: Config) {
        config.clusters.come_into_force();
        let config = Arc::new(config);
        let replaced = self.0.current.swap(Arc::clone(&config));
        self.0.doors.follow(&config);
        let routings: Vec<_> = lock(&self.0.routings).iter().map(|routings| routings.take()).collect();
        drop(routings);
        lock(&self.0.replaced).push(replaced);
        self.free_replaced();
    }

    /// Takes apart what has been replaced and is no longer in use. For the thread that publishes, from time to time.
    pub fn free_replaced(&self) {
        // Nothing but the list can hand out what it alone holds, so no other comes to be the last meanwhile.
        let free: Vec<_> = lock(&self.0.replaced).extract_if(.., |config| Arc::strong_count(config) == 1).collect();
        // Under no lock: it takes milliseconds.
        drop(free);
    }

    /// Changes whenever a way in was taken away.
    pub fn shut_doors(&self) -> watch::Receiver<u64> {
        self.0.doors.shut()
    }

    /// The door of a connection that came this way and is about to be served.
    pub fn enter(&self, way: Way) -> Door {
        self.0.doors.enter(way, &self.0.current)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
