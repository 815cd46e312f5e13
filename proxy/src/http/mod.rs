//! HTTP as spoken to clients: codecs, header rules, local replies.

mod connection_manager;
mod raw_head;
mod refusal;

pub mod body;
pub mod grpc;
pub mod header_operations;
pub mod headers;
pub mod local_reply;
pub mod path_normalization;
pub mod peer_metadata;
pub mod peers;
pub mod upgrade;

pub use connection_manager::{Codec, Routing, ServedConnection, serve};
