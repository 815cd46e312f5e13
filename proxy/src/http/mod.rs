//! HTTP as spoken to clients: codecs, header rules, local replies.

mod connection_manager;
mod date;
mod leaving;
mod linger;
mod routing;
mod serve_http2;
mod write_batch;

pub mod body;
pub mod grpc;
pub mod header_operations;
pub mod headers;
pub mod http1;
pub mod http2;
pub mod local_reply;
pub mod path_normalization;
pub mod peer_metadata;
pub mod peers;
pub mod upgrade;

pub use connection_manager::{Codec, ServedConnection, serve};
pub use routing::{Routing, Routings};
pub use write_batch::{Batched, BatchedIo};
