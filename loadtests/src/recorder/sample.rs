//! One finished request as the engine hands it to a recorder: plain numbers, and references to what lives elsewhere.

use std::fmt;

use crate::answer::Cause;

/// An interned text: of [`Recorder::key`] or [`Recorder::who`], and valid only for that recorder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(pub(crate) u32);

/// What a request ended with.
#[derive(Clone, Copy)]
pub enum Outcome<'a> {
    /// A complete answer with this HTTP status.
    Status(u16),
    /// A complete gRPC answer: HTTP status and `grpc-status`.
    Grpc(u16, u16),
    /// A complete answer of a protocol without statuses.
    Plain,
    /// No complete answer. The words are only formatted for the few examples that are kept.
    Error(Cause, &'a dyn fmt::Display),
}

impl fmt::Debug for Outcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "Status({status})"),
            Self::Grpc(http, grpc) => write!(f, "Grpc({http}, {grpc})"),
            Self::Plain => write!(f, "Plain"),
            Self::Error(cause, detail) => write!(f, "Error({cause}, {detail})"),
        }
    }
}

/// The connection a request went over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// One that had carried a request before.
    Reused,
    /// One made for this request, TCP and TLS together taking so long.
    New {
        /// Nanoseconds.
        connect_ns: u64,
    },
    /// None came about.
    None,
}

/// One finished request.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// Its number in the order of sending, from 0, over all threads.
    pub order: u64,
    /// Index into [`Layout::targets`].
    pub target: usize,
    /// When the schedule wanted it sent; without a schedule the same as `sent_ns`.
    pub intended_ns: u64,
    /// When it could be sent: the later of `intended_ns` and the moment a connection was free for it. What lies between
    /// this and `sent_ns` is the generator's own lag.
    pub able_ns: u64,
    /// When work on it began: dialling if it got a new connection, else writing.
    pub sent_ns: u64,
    /// When its answer was complete, or given up.
    pub done_ns: u64,
    /// How it ended.
    pub outcome: Outcome<'a>,
    /// Who answered, from [`Recorder::who`].
    pub who: Option<Key>,
    /// Values of [`Layout::properties`], in their order, from [`Recorder::key`]; `None` where the answer has none.
    pub keys: &'a [Option<Key>],
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Its connection.
    pub connection: Connection,
}
