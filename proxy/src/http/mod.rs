//! HTTP as spoken to clients: codecs, header rules, local replies.

mod connection_manager;
pub mod path_normalization;
pub mod peer_metadata;

pub use connection_manager::{Codec, serve};
