//! The proxy as a process: start, pages, hot reload, refusal and end, as operators and Kubernetes see them.
//!
//! A router needs neither capture nor namespaces, so these tests run on loopback with ports of their own.

mod admin;
mod fixture;
mod life;
mod start;
mod status;
