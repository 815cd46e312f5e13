//! HTTP/1 as spoken to clients.
//!
//! hyper's server parses by itself: what it repairs (of `Content-Length` and `Transfer-Encoding` together it drops the
//! former), what it refuses and in which words, when it notices that a client has gone and how it is told to leave were
//! decided there, and a second, lesser codec stood below it to find out and to make good. It also cost a tenth of the
//! instructions of a request, and an idle connection held 16 KiB for it. Here a head is judged where it is parsed, and
//! refusal, 100, half-close, idleness and drain are decided in one place each.
//!
//! [`connection`] reads top to bottom what happens to a connection. [`head`] and [`answer`] are pure: a head from bytes, bytes
//! from a head. [`wire`] is what is read and written, [`inlet`] a request body as its reader sees it, [`reply`] an answer on
//! its way. [`super::stay`] says when a connection must end.

mod answer;
mod connection;
pub mod head;
mod inlet;
mod names;
mod refusal;
mod reply;
mod wire;

pub use connection::serve;
pub use inlet::Inlet;
pub use refusal::Refusal;

#[cfg(test)]
mod tests;
