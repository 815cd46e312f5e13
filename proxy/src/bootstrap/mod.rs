//! Arguments, environment and annotations as written, turned into settings as needed; nothing binds here.
//!
//! [`Args`] is what was typed, [`Environment`] what the pod template set, [`PodInfo`] what the downward API wrote.
//! [`Settings::resolve`] is the one place that joins them; after it nobody looks at the environment again.
//!
//! Source: sidecar contract 6.1 to 6.3 and 6.7.

mod args;
mod environment;
mod node;
mod pod_info;
mod proxy_config;
mod settings;

pub use args::{Args, USAGE};
pub use environment::Environment;
pub use node::interface_addresses;
pub use pod_info::PodInfo;
pub use proxy_config::ProxyConfigOverrides;
pub use settings::{DrainSettings, Ports, Settings};
