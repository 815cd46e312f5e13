//! The configuration as the connections of a worker use it.
//!
//! A request holds the configuration it began under to its end. Were the references counted in the configuration itself, all
//! workers would count in one place; so each worker wraps it, once for every route table its connections use. A connection
//! holds what it used last weakly: one that is idle keeps no configuration alive that has been replaced.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use foldhash::HashMap;
use outrigger_config::model::RouteConfiguration;

use crate::listener::{Direction, Downstream};
use crate::snapshot::{Config, ConfigHandle};

/// One configuration generation and a route table in it.
#[derive(Debug)]
pub struct Routing {
    /// The generation.
    pub config: Arc<Config>,
    /// The route table; `None` once the listener or service is gone.
    table: Option<Arc<RouteConfiguration>>,
}

impl Routing {
    /// The route table for the requests of a connection: its own, or once that is gone the one for new connections to the same
    /// destination. None at a gateway, where that is another listener's, whose clients may have proved what this one has not.
    pub fn table(&self, downstream: &Downstream) -> Option<&RouteConfiguration> {
        let model = &self.config.model;
        self.table.as_deref().or_else(|| match downstream.direction {
            Direction::Inbound => Some(&*model.inbound.as_ref()?.find(downstream.destination.port()).http),
            Direction::Outbound => model.outbound.find(downstream.destination)?.http.as_deref(),
            Direction::Gateway => None,
        })
    }
}

/// A worker's routings of the configuration in force, by the name of the table.
#[derive(Debug, Default)]
pub struct Routings(Mutex<HashMap<Arc<str>, Arc<Routing>>>);

impl Routings {
    /// The one for `table`.
    fn of(&self, config: &ConfigHandle, table: &Arc<str>) -> Arc<Routing> {
        let mut kept = lock(&self.0);
        // Loaded while nobody can clear: what has been replaced is not put back after that.
        let current = config.load_full();
        match kept.get(table) {
            Some(routing) if Arc::ptr_eq(&routing.config, &current) => Arc::clone(routing),
            _ => {
                let routing = Arc::new(Routing { table: current.route_table(table).cloned(), config: current });
                kept.insert(Arc::clone(table), Arc::clone(&routing));
                routing
            }
        }
    }

    /// Takes all of them out, since another configuration is in force, for the caller to drop under no lock.
    pub fn take(&self) -> HashMap<Arc<str>, Arc<Routing>> {
        std::mem::take(&mut *lock(&self.0))
    }
}

/// What a connection used last.
#[derive(Debug)]
pub struct LastRouting {
    table: Arc<str>,
    routing: Mutex<Weak<Routing>>,
}

impl LastRouting {
    /// Nothing yet; `table` names the route table.
    pub fn new(table: Arc<str>) -> Self {
        LastRouting { table, routing: Mutex::default() }
    }

    /// The configuration in force, for the whole of one exchange.
    pub fn current(&self, config: &ConfigHandle, routings: &Routings) -> Arc<Routing> {
        let mut last = lock(&self.routing);
        let in_force = config.load();
        if let Some(routing) = last.upgrade().filter(|routing| Arc::ptr_eq(&routing.config, &in_force)) {
            return routing;
        }
        let routing = routings.of(config, &self.table);
        *last = Arc::downgrade(&routing);
        routing
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
