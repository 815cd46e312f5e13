//! What runs inside a pod: the description of a container, its private view of the machine, its life.

pub mod enter;
pub mod process;
pub mod root;
pub mod spec;

pub use spec::{Mount, Spec};
