//! Closing what is idle for too long, too old, or leads to an endpoint that is gone.
//!
//! One coarse tick per shard instead of a timer per connection: registering and dropping a timer costs more than anything
//! else a pooled request does here. The task ends when the shard is empty and starts with the next connection.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::connection::Connection;
use super::key::Key;
use super::{Inner, Shard, lock};

/// Error of idle time-outs, and the longest an idle connection to a removed endpoint stays open.
const TICK: Duration = Duration::from_millis(250);
/// How long a connection stays that serves the requests of one client address alone (interception mode TPROXY). Short: most
/// such clients come once, and each connection takes a slot of the application.
const IDLE_OF_ONE_CLIENT: Duration = Duration::from_secs(5);
/// Such connections that a shard may leave idle. Counted by the tick rather than with every request: there may be more in
/// between, as many as the requests of 250 ms.
const MOST_OF_ONE_CLIENT: usize = 128;

impl Shard {
    /// Starts the sweep of this shard unless it runs.
    pub(super) fn start_sweeping(&self) {
        self.sweeper().start();
    }

    /// For those who may have to start it.
    pub(super) fn sweeper(&self) -> Sweeper {
        Sweeper { running: Arc::clone(&self.0.sweeping), shard: Arc::downgrade(&self.0) }
    }
}

/// Starts the sweep of a shard.
#[derive(Debug)]
pub(super) struct Sweeper {
    running: Arc<AtomicBool>,
    shard: Weak<Inner>,
}

impl Sweeper {
    /// Starts the sweep unless it runs, which is nearly always.
    pub(super) fn start(&self) {
        if !self.running.load(Ordering::Acquire) && !self.running.swap(true, Ordering::AcqRel) {
            tokio::spawn(sweep(self.shard.clone()));
        }
    }
}

async fn sweep(shard: Weak<Inner>) {
    loop {
        tokio::time::sleep(TICK).await;
        let Some(shard) = shard.upgrade() else { return };
        if shard.sweep(Instant::now()) {
            shard.sweeping.store(false, Ordering::Release);
            return;
        }
    }
}

impl Inner {
    /// One pass; true when no connection is left.
    fn sweep(&self, now: Instant) -> bool {
        let mut any_of_one_client = false;
        let mut keep = |key: &Key, connection: &Connection, since: Instant| {
            let of_one_client = key.is_of_one_client();
            any_of_one_client |= of_one_client;
            let outlived = of_one_client && now.saturating_duration_since(since) >= IDLE_OF_ONE_CLIENT;
            !outlived && connection.may_stay(since, now)
        };
        let empty = self.retain(&mut keep);
        if any_of_one_client {
            self.trim();
        }
        empty
    }

    /// Drops dead connections and idle ones that `keep` does not want; true when none is left.
    fn retain(&self, mut keep: impl FnMut(&Key, &Connection, Instant) -> bool) -> bool {
        // A stack or bundle that someone holds (a request, a dial) stays even when it is empty.
        let stacks_empty = {
            let mut stacks = lock(&self.http1);
            stacks.retain(|key, stack| !stack.sweep(|connection, since| keep(key, connection, since)) || Arc::strong_count(stack) > 1);
            stacks.is_empty()
        };
        let mut bundles = lock(&self.http2);
        bundles.retain(|key, bundle| !bundle.sweep(|connection, since| keep(key, connection, since)) || Arc::strong_count(bundle) > 1);
        stacks_empty && bundles.is_empty()
    }

    /// Closes the connections of single clients that have been idle longest, so that few enough stay.
    fn trim(&self) {
        let mut idle = Vec::new();
        self.retain(|key, _, since| {
            idle.extend(key.is_of_one_client().then_some(since));
            true
        });
        let Some(last) = idle.len().checked_sub(MOST_OF_ONE_CLIENT + 1) else { return };
        let (_, &mut last, _) = idle.select_nth_unstable(last);
        self.retain(|key, _, since| !key.is_of_one_client() || since > last);
    }

    /// Closes one idle connection, to make room under a limit that another host's requests wait for.
    pub(super) fn evict_one(&self) {
        let stacks: Vec<_> = lock(&self.http1).values().cloned().collect();
        if stacks.iter().any(|stack| stack.evict_oldest()) {
            return;
        }
        let bundles: Vec<_> = lock(&self.http2).values().cloned().collect();
        let _ = bundles.iter().any(|bundle| bundle.evict_idle());
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use outrigger_config::model::{Cluster, Discovery, LbPolicy, UpstreamProtocol, UpstreamTls};
    use tokio::net::{TcpListener, TcpStream};

    use super::super::Want;
    use super::*;
    use crate::identity::Identity;
    use crate::upstream::cluster::ClusterState;
    use crate::upstream::connect::Protocol;
    use crate::upstream::host::Host;

    fn cluster() -> Arc<ClusterState> {
        ClusterState::single(Arc::new(Cluster {
            name: "inbound|80||".to_owned(),
            discovery: Discovery::Endpoints,
            lb_policy: LbPolicy::RoundRobin,
            endpoints: Vec::new(),
            protocol: UpstreamProtocol::Http1,
            connect_timeout: Duration::from_secs(10),
            connection_pool: Arc::default(),
            tls: UpstreamTls::Disabled,
            service: None,
            port: 80,
            subset: String::new(),
            external: false,
        }))
    }

    /// Leaves an idle connection behind for each source; returns the application's ends.
    async fn fill(shard: &Shard, sources: impl Iterator<Item = Option<IpAddr>>) -> Vec<TcpStream> {
        let application = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let host = Arc::new(Host::bare(application.local_addr().expect("an address")));
        let (cluster, identity, protocol) = (cluster(), Identity::new(None, &[]), Protocol::Http1);
        let mut accepted = Vec::new();
        for source in sources {
            let (cluster, host, identity) = (&cluster, &host, &identity);
            let want = Want { cluster, host, protocol, server_name: None, identity, fresh: false, careful: false, source };
            shard.checkout(want).await.expect("connected").release();
            accepted.push(application.accept().await.expect("accepted").0);
        }
        accepted
    }

    fn idle(shard: &Shard) -> Vec<Instant> {
        let mut all = Vec::new();
        shard.0.retain(|_, _, since| {
            all.push(since);
            true
        });
        all.sort();
        all
    }

    #[tokio::test]
    async fn of_the_connections_of_single_clients_the_newest_stay_and_for_seconds_only() {
        let (shard, most) = (Shard::default(), u8::try_from(MOST_OF_ONE_CLIENT).expect("few"));
        let sources = (0..most + 20).map(|last| Some(IpAddr::from([10, 0, 0, last])));
        let _application = fill(&shard, std::iter::once(None).chain(sources)).await;
        let before = idle(&shard);
        let now = Instant::now();
        assert!(!shard.0.sweep(now));
        let after = idle(&shard);
        assert_eq!(after.len(), MOST_OF_ONE_CLIENT + 1);
        assert_eq!((after.first(), after.get(1)), (before.first(), before.get(before.len() - MOST_OF_ONE_CLIENT)));
        assert!(!shard.0.sweep(now + IDLE_OF_ONE_CLIENT));
        assert_eq!(idle(&shard).len(), 1, "what serves everybody keeps the cluster's idle time-out");
    }
}
