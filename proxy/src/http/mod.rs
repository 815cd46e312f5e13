//! HTTP as spoken to clients: codecs, header rules, local replies.

mod connection_manager;

pub use connection_manager::{Codec, serve};
