//! Istio and Kubernetes objects in, a compiled snapshot out.
//!
//! This crate is pure: no sockets, no clock, no async runtime. Everything that configures the data plane passes
//! through it, and the proxy, the analyser and the tests share its compiler and its matchers.
//!
//! Data flows down this list: text becomes objects, objects become a registry, and the compiler turns the registry
//! into the run-time [`model`] of one workload.

pub mod matcher;
pub mod model;
