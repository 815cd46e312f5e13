//! `outrigger stand-in`: the sample application that `outrigger up` runs in a pod's containers.

/// Serves until it is told to end.
///
/// # Errors
/// Those of [`outrigger_testbed::stand_in::run`].
pub fn run(args: outrigger_testbed::stand_in::Args) -> anyhow::Result<()> {
    outrigger_testbed::stand_in::run(args)
}
