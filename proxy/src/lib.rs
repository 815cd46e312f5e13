//! The data plane, in the order data flows.
//!
//! One outbound request reads straight down this list; the inbound one reads the same list with server TLS doing more
//! of the work and `upstream` shrunk to the local application. `ARCHITECTURE.md` names the files in reading order.

pub mod bootstrap;
pub mod runtime;

pub mod discovery;
pub mod snapshot;

pub mod identity;
pub mod listener;

pub mod http;
pub mod http1;

pub mod filter;

pub mod router;

pub mod upstream;

pub mod tcp;

pub mod telemetry;

pub mod admin;
pub mod status;

pub mod drain;
pub mod error;
pub mod prefixed;

mod sys;

#[cfg(test)]
mod testing;
