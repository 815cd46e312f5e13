//! The product as a whole: pods in network namespaces, real redirection, real proxies, driven through the testbed or
//! through the program itself.
//!
//! Needs root, and says so by failing. Every test makes a run of its own name, is bounded in time, and leaves nothing
//! behind; those that measure times run alone ([`bed::Turn`]).

mod bad_input;
mod bed;
mod crash;
mod drain;
mod envoy;
mod exposition;
mod failures;
mod manifest;
mod metrics;
mod program;
mod protocols;
mod reload;
mod stalls;
mod tproxy;
mod wire;
mod workers;
