//! The process's own limits.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit of open files to the hard one. Distributions start processes with a soft limit of 1024, which is
/// 500 proxied connections. Returns the limit in force.
pub fn raise_open_files() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 0 };
    if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() {
        return hard;
    }
    soft
}

/// How many downstream connections fit the limit: each may need an upstream connection, and the process itself needs some
/// files.
pub fn downstream_connections(open_files: u64) -> usize {
    usize::try_from(open_files.saturating_sub(256) / 2).unwrap_or(usize::MAX).max(64)
}

#[cfg(test)]
mod tests {
    use super::downstream_connections;

    #[test]
    fn half_of_the_files_serve_downstream_connections() {
        for (files, connections) in [(0, 64), (1024, 384), (1_048_576, 524_160)] {
            assert_eq!(downstream_connections(files), connections, "{files}");
        }
    }
}
