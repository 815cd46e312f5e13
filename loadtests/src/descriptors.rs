//! Room for connections: each needs an open file, of which a process may have so many.

use anyhow::{Context, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::plan::Plan;

/// What a run opens beside its connections: standard streams, runtimes and timers of a thread, reports.
const BESIDE: u64 = 32;
const PER_THREAD: u64 = 8;

/// Raises this process's limit of open files as far as the plan needs and the system allows.
///
/// # Errors
/// It cannot be raised far enough: most of the requests would fail for want of a socket, which says nothing about a server.
pub(crate) fn provide(plan: &Plan, origins: usize, threads: usize) -> anyhow::Result<()> {
    let need = needed(plan, origins, threads);
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("the limit of open files")?;
    if need <= soft {
        return Ok(());
    }
    if need > hard {
        bail!(
            "{} requests in flight need about {need} open files, but this process may have {hard}: expected fewer (-c), or a higher \
             limit (ulimit -n {need})",
            plan.concurrency
        );
    }
    setrlimit(Resource::RLIMIT_NOFILE, need, hard).context("raising the limit of open files")
}

fn needed(plan: &Plan, origins: usize, threads: usize) -> u64 {
    let wide = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let connections = if plan.speaks_http2() { plan.connections.max(threads) } else { plan.concurrency };
    let at_once = wide(connections).min(plan.most().max(wide(threads)));
    at_once.saturating_mul(wide(origins.max(1))).saturating_add(BESIDE).saturating_add(PER_THREAD.saturating_mul(wide(threads)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_for_each_request_in_flight_and_origin_needs_a_file() {
        let plan = Plan { concurrency: 100, ..Plan::new("http://a", 1_000_000) };
        assert_eq!(needed(&plan, 1, 2), 100 + 32 + 16);
        assert_eq!(needed(&plan, 3, 2), 300 + 32 + 16);
        assert_eq!(needed(&Plan { http2: true, connections: 2, ..plan.clone() }, 1, 2), 2 + 32 + 16);
        assert_eq!(needed(&Plan { amount: crate::Amount::Requests(5), ..plan }, 1, 1), 5 + 32 + 8, "never more than requests");
    }

    #[test]
    fn more_than_the_system_allows_is_refused_with_the_way_out() {
        let plan = Plan { concurrency: usize::MAX / 4, ..Plan::new("http://a", u64::MAX) };
        let error = provide(&plan, 1, 1).expect_err("no system has so many").to_string();
        assert!(error.contains("ulimit -n") && error.contains("-c"), "{error}");
    }
}
