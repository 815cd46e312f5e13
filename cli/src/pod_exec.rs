//! `outrigger pod-exec`: how the testbed starts a process inside a pod. Internal.

use outrigger_testbed::container::enter::{self, PodExec};

/// Becomes the container's program.
///
/// # Errors
/// Those of [`enter::pod_exec`]; on success it does not return.
pub fn run(arguments: PodExec) -> anyhow::Result<()> {
    enter::pod_exec(&arguments)
}
