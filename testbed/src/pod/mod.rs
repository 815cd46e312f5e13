//! The life of a pod on this machine: what a kubelet does.

pub mod life;
pub mod plan;
pub mod probe;
pub mod supervise;

pub use plan::{ContainerPlan, PodPlan, RestartPolicy};
