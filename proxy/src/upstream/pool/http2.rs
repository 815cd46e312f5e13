//! HTTP/2 connections of one key: few, each filled up to its stream limit before another is dialled.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::connection::Connection;
use super::lease::Lease;
use super::{Shard, Want, dial, lock, pending};
use crate::error::{Error, Failure};
use crate::http::{Batched, BatchedIo};
use crate::runtime::{clock, spawn};
use crate::upstream::connect::{Connected, UpstreamIo};
use crate::upstream::http2::Requests;
use crate::upstream::limits::{Permit, Resource};

/// Bytes of a connection's task.
const DRIVER: usize = 4096;
/// Window of one stream.
pub const STREAM_WINDOW: u32 = 256 * 1024;
/// Window of a connection: that of all its streams, so that no number of clients who do not take their answers stops those of
/// others. At worst, when no client takes anything, 25 MiB wait here for each connection.
const CONNECTION_WINDOW: u32 = MAX_STREAMS * STREAM_WINDOW;
/// What small DATA frames that wait for their reader may cost: 256 bytes for each, less its payload. The windows count payload alone,
/// and a server that streams messages of a few bytes to clients who do not read them would use up the codec's own limit, half a
/// window, long before: at the cost of every stream of the connection. These are 65,000 frames, some 20 MB.
const SMALL_FRAMES: usize = 16 << 20;
/// Streams that were reset here and are remembered for a second, because the peer may still send on them. Frames for one that is
/// forgotten are the peer's mistake in the codec's eyes.
pub const RESETS_REMEMBERED: usize = 1000;
/// Decoded header list.
pub const MAX_HEADER_LIST: u32 = 60 * 1024;
/// Bytes of a stream that the codec takes before the peer has room for them.
pub const MAX_SEND_BUFFER: usize = 64 * 1024;
/// Streams we put on one connection at most, whatever the peer and the configuration allow: more connections serve
/// better than more streams.
const MAX_STREAMS: u32 = 100;

/// The codec of a connection, whose writes leave at the end of its polls.
type Driver = Batched<h2::client::Connection<BatchedIo<UpstreamIo>>, UpstreamIo>;

/// HTTP/2 connections.
#[derive(Debug, Default)]
pub struct Bundle {
    open: Mutex<Vec<Open>>,
    /// One dial at a time: those who wait for it share its result, the failure too.
    dialing: tokio::sync::Mutex<Option<Failed>>,
    /// Signalled when a connection may have room while the cluster's connections are limited.
    room: Arc<Notify>,
}

/// The last dial, when it failed.
#[derive(Debug)]
struct Failed {
    at: Instant,
    failure: Failure,
    transport: Option<String>,
}

impl Failed {
    fn new(error: &Error) -> Self {
        Failed { at: Instant::now(), failure: error.failure, transport: error.transport.clone() }
    }

    fn error(&self) -> Error {
        Error { transport: self.transport.clone(), ..Error::unsent(self.failure) }
    }
}

#[derive(Clone, Debug)]
struct Open {
    requests: Requests,
    connection: Arc<Connection>,
    idle_since: Instant,
}

impl Bundle {
    /// A slot on the fullest connection that has one, else on a new connection.
    pub async fn checkout(self: Arc<Self>, shard: &Shard, want: Want<'_>) -> Result<Lease, Error> {
        if let Some(lease) = self.slot(&want) {
            return Ok(lease);
        }
        Box::pin(self.dial_or_wait(shard, want)).await
    }

    /// Takes its turn at dialling; boxed by the caller, because a request on a warm pool never needs this large future.
    async fn dial_or_wait(&self, shard: &Shard, want: Want<'_>) -> Result<Lease, Error> {
        let waiting = pending(&want)?;
        let since = Instant::now();
        let mut last = self.dialing.lock().await;
        if let Some(failed) = last.as_ref().filter(|failed| failed.at >= since) {
            return Err(failed.error());
        }
        let lease = self.wait(shard, want).await;
        *last = lease.as_ref().err().map(Failed::new);
        drop(waiting);
        lease
    }

    /// Waits for a slot or for permission to dial, whichever comes first.
    async fn wait(&self, shard: &Shard, want: Want<'_>) -> Result<Lease, Error> {
        loop {
            let released = want.cluster.limits.released.notified();
            let room = self.room.notified();
            if let Some(lease) = self.slot(&want) {
                return Ok(lease);
            }
            if let Some(permit) = want.cluster.acquire(Resource::Connections) {
                return self.dial(shard, want, permit).await;
            }
            // A stream that failed says nothing against a connection that is still open, and others wait behind this request.
            if want.fresh
                && let Some(lease) = self.slot(&Want { fresh: false, ..want })
            {
                return Ok(lease);
            }
            shard.0.evict_one();
            tokio::select! {
                () = released => {}
                () = room => {}
            }
        }
    }

    fn slot(&self, want: &Want<'_>) -> Option<Lease> {
        let limit = want.cluster.model.connection_pool.max_concurrent_streams.clamp(1, MAX_STREAMS);
        let streams = |open: &Open| open.connection.streams.load(Ordering::Relaxed);
        let usable = |open: &Open| {
            streams(open) < limit
                && peer_allows(open)
                && open.connection.has_life_left()
                && !(want.fresh && open.connection.requests.load(Ordering::Relaxed) > 0)
        };
        let mut open = lock(&self.open);
        loop {
            let chosen = open.iter().enumerate().filter(|(_, open)| usable(open)).max_by_key(|(_, open)| streams(open));
            let position = chosen.map(|(position, _)| position)?;
            let fullest = open.get_mut(position)?;
            // Asked of the one chosen alone, since its codec must be locked for it; the sweep finds the others.
            if fullest.requests.is_open() {
                fullest.idle_since = clock::now();
                let reused = fullest.connection.requests.fetch_add(1, Ordering::Relaxed) > 0;
                return Some(Lease::http2(fullest.requests.clone(), Arc::clone(&fullest.connection), reused));
            }
            open.remove(position);
        }
    }

    async fn dial(&self, shard: &Shard, want: Want<'_>, permit: Permit) -> Result<Lease, Error> {
        let (connected, permit) = dial(want, permit).await?;
        let (requests, connection) = establish(connected, &want, permit, Arc::clone(&self.room)).await?;
        connection.requests.fetch_add(1, Ordering::Relaxed);
        let lease = Lease::http2(requests.clone(), Arc::clone(&connection), false);
        lock(&self.open).push(Open { requests, connection, idle_since: clock::now() });
        shard.start_sweeping();
        Ok(lease)
    }

    /// Closes a connection without a request; false when there is none.
    pub fn evict_idle(&self) -> bool {
        let mut open = lock(&self.open);
        let idle = open.iter().position(|open| open.connection.streams.load(Ordering::Relaxed) == 0);
        idle.map(|position| open.remove(position)).is_some()
    }

    /// Drops dead connections and idle ones that `keep` does not want; true when none is left.
    pub fn sweep(&self, mut keep: impl FnMut(&Connection, Instant) -> bool) -> bool {
        let mut open = lock(&self.open);
        for connection in open.iter_mut().filter(|open| open.connection.streams.load(Ordering::Relaxed) > 0) {
            connection.idle_since = clock::now();
        }
        open.retain_mut(|open| {
            let busy = open.connection.streams.load(Ordering::Relaxed) > 0;
            open.requests.is_open() && (busy || keep(&open.connection, open.idle_since))
        });
        open.is_empty()
    }
}

/// Drives a connection and keeps the peer's limit on streams up to date: its settings come with the bytes that wake the driver.
async fn drive(mut driver: Driver, connection: &Connection) -> Result<(), h2::Error> {
    poll_fn(|cx| {
        let result = Pin::new(&mut driver).poll(cx);
        let allowed = u32::try_from(driver.get_mut().max_concurrent_send_streams()).unwrap_or(u32::MAX);
        let before = connection.peer_streams.load(Ordering::Relaxed);
        if allowed != before {
            connection.peer_streams.store(allowed, Ordering::Relaxed);
        }
        if allowed > before {
            connection.signal();
        }
        result
    })
    .await
}

/// Whether the peer's SETTINGS_MAX_CONCURRENT_STREAMS has room for one more. Beyond it the codec would hold a request back
/// until another ends. A peer that allows none at present still gets one, to wait there: another connection would be no
/// better off.
fn peer_allows(open: &Open) -> bool {
    let streams = open.connection.streams.load(Ordering::Relaxed);
    streams == 0 || streams < open.connection.peer_streams.load(Ordering::Relaxed)
}

async fn establish(connected: Connected, want: &Want<'_>, permit: Permit, room: Arc<Notify>) -> Result<(Requests, Arc<Connection>), Error> {
    let pool = Arc::clone(&want.cluster.model.connection_pool);
    let connection = Connection::new(connected.facts, Arc::clone(want.host), pool, permit, Some(room));
    let io = BatchedIo::new(connected.io);
    let sender = io.sender();
    let handshake = h2::client::Builder::new()
        .initial_max_send_streams(MAX_STREAMS as usize)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEADER_LIST)
        .max_send_buffer_size(MAX_SEND_BUFFER)
        .data_frame_budget(SMALL_FRAMES)
        .max_concurrent_reset_streams(RESETS_REMEMBERED)
        // Counted for as long as the connection lives, frames for forgotten streams among them: cancelled requests would in the
        // end cost the connection and all that goes on there.
        .max_local_error_reset_streams(None)
        .enable_push(false)
        .handshake(io)
        .await;
    let (requests, driver) = handshake.map_err(|error| Error::unsent(Failure::ConnectFailure).with_transport(error.to_string()))?;
    let (driver, held) = (sender.run(driver), Arc::clone(&connection));
    spawn::<DRIVER, _>(async move {
        if let Err(error) = drive(driver, &held).await {
            tracing::debug!(upstream = %held.facts.address, %error, "upstream connection ended");
        }
        drop(held);
    });
    Ok((Requests::over(requests), connection))
}
