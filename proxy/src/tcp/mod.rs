//! Connections forwarded as bytes: TCP routes, TLS passed through by SNI, unknown destinations, inbound TCP.
//!
//! [`connect`] reaches a target, [`forward`] copies between the two ends until both are done, [`serve`] does one after the
//! other, [`refuse`] reports a connection that got nowhere. Each connection is reported exactly once.

mod buffer;

mod copy;

mod splice;

mod route;

mod upstream;

mod proxy;

pub use copy::Copy;
pub use proxy::{forward, refuse, serve};
pub use route::Target;
pub use splice::Pipes;
pub use upstream::{Client, Refused, Upstream, connect};
