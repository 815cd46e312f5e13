//! From an accepted socket to a connection whose origin, destination and security are known.
//!
//! Reading order: [`entrance`] tells what to listen on, [`bind`] opens it, [`accept`] takes connections in, [`dispatch`] chooses a worker, [`connection`] recovers the original
//! destination and goes on to `outbound`, `inbound` or `gateway`, which inspect the first bytes, choose the filter chain,
//! secure the connection and hand it to [`crate::http`] or [`crate::tcp`].

pub mod accept;

pub mod bind;

pub mod entrance;

pub mod dispatch;

pub mod connection;

pub mod original_dst;

pub mod inspector;

pub mod http_inspector;
pub mod tls_inspector;

mod first_bytes;

pub mod filter_chain;

mod outbound;

mod inbound;

mod gateway;

mod tls;

mod door;

mod downstream;
mod io;
mod live;
mod occasion;
mod residents;
mod socket;
mod stay;

pub use accept::Listeners;
pub use bind::BindError;
pub use dispatch::{ConnectionGuard, Dispatcher, Incoming};
pub use door::{Door, Doors, Way};
pub use downstream::{Direction, Downstream, DownstreamTls};
pub use entrance::{CapturePorts, Entrance, EntranceKind, entrances};
pub use io::{DownstreamIo, Transport};
pub use residents::Residents;
pub use socket::Socket;
pub(crate) use stay::{Doing, Stay};
pub use tls::Handshakes;
