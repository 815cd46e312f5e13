//! Streams of HTTP/2 connections, on either side, as bodies.
//!
//! Framing, header compression, flow control and the limits against floods are the `h2` crate's. What joins its streams to
//! requests and answers is here and polled by the task of the request: a stream needs no channel and, while its request is on its
//! way, no task besides.

mod calm;
mod received;
mod sending;

pub use calm::Calm;
pub use received::Received;
pub use sending::{Cut, Sending};
