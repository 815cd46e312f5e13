//! The life of a pod on this machine: what a kubelet does.

pub mod build;
pub mod env;
pub mod facts;
pub mod image;
pub mod life;
pub mod plan;
pub mod probe;
pub mod stand_in_ports;
pub mod supervise;
pub mod volume;

pub use plan::{ContainerPlan, PodPlan, RestartPolicy};
