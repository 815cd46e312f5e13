//! HTTP/1.1 as spoken to upstreams.
//!
//! The connection-level client of hyper runs every connection in a task of its own and hands the request over by one channel,
//! the head of the answer back by another and its body by a third. With the features of a proxy around it that was two fifths
//! of all instructions of a request and three wake-ups of the second task, and each idle connection kept a read buffer. Here
//! the request's own task writes, waits and reads ([`Wire`]); what is read goes through a buffer of the worker and is copied
//! out once, so that an idle connection holds none.
//!
//! [`request`] and [`response`] are pure: bytes from a head, a head from bytes. Bodies are read as in [`crate::http1`].

mod request;
mod response;
mod wire;

pub use request::{Notes, Outgoing};
pub use response::Answer;
pub use wire::{Tunnel, Wire};

#[cfg(test)]
mod tests;
