//! Runs Kubernetes manifests on one machine: a network namespace per pod, the real capture rules, the real proxy,
//! the real certificates, and no cluster.
//!
//! Assumes Linux with root, `ip`, `nft`, overlayfs. The `outrigger` program is started by path; no proxy is linked.

pub mod network;

pub mod container;

pub mod pod;

pub mod names;

pub mod ca;

pub mod cluster;

pub mod run;

pub mod testbed;

pub mod stand_in;

pub use testbed::{Message, Options, Testbed};
