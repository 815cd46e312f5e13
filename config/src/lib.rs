//! Istio and Kubernetes objects in, a compiled snapshot out.
//!
//! This crate is pure: no sockets, no clock, no async runtime; only [`load::read`] touches the file system. Everything that
//! configures the data plane passes through it, and the proxy, the analyser and the tests share its compiler and its matchers.
//!
//! Data flows: [`load`] gives texts, [`yaml`] makes trees of them, [`decode`] types them as [`api`] structs, [`parse`] wraps
//! these into [`object`]s that [`validate`] has checked, [`store`] remembers the last good ones (packed between changes, `pack`), [`registry`] indexes them
//! (with [`mesh`] for mesh-wide settings), and the compiler turns the registry into the run-time [`model`] of one workload
//! with the help of the [`matcher`]s. What is wrong is told as [`diagnostic`]s.

pub mod api;
pub mod compile;
pub mod decode;
pub mod diagnostic;
pub mod grpc_status;
pub mod keep;
pub mod load;
pub mod matcher;
pub mod mesh;
pub mod model;
pub mod object;
mod pack;
pub mod parallel;
pub mod parse;
pub mod protocol;
pub mod registry;
pub mod store;
pub mod string_list;
pub mod string_map;
pub mod validate;
pub mod visibility;
pub mod yaml;
