//! From an accepted socket to a connection whose origin, destination and security are known.

mod downstream;

pub use downstream::{Direction, Downstream, DownstreamTls};
