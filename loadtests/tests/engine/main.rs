//! The sending side against real servers, and against scripted ones that do what real ones do on bad days.

mod failures;
mod fixture;
mod protocols;
mod schedule;
mod search;
mod tls;
