//! The rules in the kernel, in network namespaces of their own: both flavours, both families, real connections.
//!
//! Needs root. Every namespace belongs to a thread of the test and vanishes with it: nothing to clean up, nothing shared.

#[path = "namespaced/killed.rs"]
mod killed;
#[path = "namespaced/matrix/mod.rs"]
mod matrix;
#[path = "namespaced/programs.rs"]
mod programs;
#[path = "namespaced/rules.rs"]
mod rules;
#[path = "namespaced/support.rs"]
mod support;
#[path = "namespaced/switching.rs"]
mod switching;
#[path = "namespaced/traffic.rs"]
mod traffic;
