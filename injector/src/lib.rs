//! Puts the proxy into pods, as Istio's sidecar injector does (contract section 3).
//!
//! Three pure functions: [`decide()`] says whether a pod gets a sidecar and why, [`inject()`] returns the pod with it, [`uninject()`] without
//! it again. They work on the pod as JSON, so that fields this crate has never heard of survive unchanged. Whoever receives the pod (an API server, a
//! file, the testbed) is the caller's business.
//!
//! In reading order: what is configured, whether to inject, what the pod's annotations ask for, what is added, and how it is
//! joined with what the user wrote.

pub mod cluster;
pub mod configuration;
pub mod settings;

pub mod decide;
pub mod selector;

pub mod annotations;
pub mod known;
pub mod owner;
pub mod proxy_config;

mod bounds;
mod cni;
mod complaints;
mod conflicts;
mod environment;
mod quantity;
mod template;
pub mod templates;
mod volumes;

pub mod inject;
pub mod manifest;
mod merge;
mod metadata;
mod pod;
mod probes;
mod prometheus;
mod restore;

mod error;

pub mod control;
pub mod webhook;

pub use cluster::{Cluster, KubernetesVersion};
pub use configuration::{Configuration, ConfigurationError};
pub use decide::{Cause, Decision, decide, decide_selected};
pub use error::InjectError;
pub use inject::{Injected, inject};
pub use restore::{take_out, uninject};
pub use settings::{Context, Namespace, NativeSidecars, Settings};

/// Name of the proxy's container.
pub const PROXY_CONTAINER: &str = "istio-proxy";
/// Name of the init container that writes the capture rules.
pub const INIT_CONTAINER: &str = "istio-init";
/// Name of the init container that proves a CNI plugin wrote the capture rules.
pub const VALIDATION_CONTAINER: &str = "istio-validation";
