//! How many workers: one pure rule.
//!
//! The first of these that says anything decides: `--concurrency`, ProxyConfig, the CPU limit of the container, two.
//! Zero means one worker per core. A number that was written is obeyed; a number derived from a limit is rounded up and
//! never exceeds the cores there are.

/// What the number of workers depends on.
#[derive(Clone, Copy, Debug, Default)]
pub struct WorkerCount {
    /// `--concurrency`.
    pub flag: Option<u32>,
    /// `concurrency` of ProxyConfig, from annotation, object or environment.
    pub proxy_config: Option<u32>,
    /// CPU limit in cores: of the cgroup, else ISTIO_CPU_LIMIT.
    pub cpu_limit: Option<f64>,
    /// Cores this process may run on.
    pub cores: usize,
}

/// Istio's sidecars run two workers unless told otherwise.
const DEFAULT: f64 = 2.0;
/// More threads than this help nobody and are surely a typing mistake.
const MAX: usize = 1024;

impl WorkerCount {
    /// The number of workers, at least 1.
    pub fn resolve(self) -> usize {
        let cores = self.cores.max(1);
        match self.flag.or(self.proxy_config) {
            Some(0) => cores,
            Some(written) => usize::try_from(written).unwrap_or(MAX).min(MAX),
            None => {
                let limit = self.cpu_limit.filter(|limit| *limit > 0.0).unwrap_or(DEFAULT);
                // A float beyond the range of usize saturates, which `min` then cuts.
                (limit.ceil() as usize).clamp(1, cores)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(flag: Option<u32>, proxy_config: Option<u32>, cpu_limit: Option<f64>, cores: usize) -> usize {
        WorkerCount { flag, proxy_config, cpu_limit, cores }.resolve()
    }

    #[test]
    fn the_flag_decides_first_then_proxy_config() {
        assert_eq!(count(Some(3), Some(5), Some(1.0), 8), 3);
        assert_eq!(count(None, Some(5), Some(1.0), 8), 5);
    }

    #[test]
    fn a_written_number_may_exceed_the_cores() {
        assert_eq!(count(Some(6), None, None, 2), 6);
    }

    #[test]
    fn zero_means_every_core() {
        assert_eq!(count(Some(0), Some(5), Some(1.0), 8), 8);
        assert_eq!(count(None, Some(0), None, 4), 4);
    }

    #[test]
    fn a_cpu_limit_is_rounded_up_and_stays_within_the_cores() {
        for (limit, cores, workers) in [(0.1, 8, 1), (1.0, 8, 1), (1.5, 8, 2), (2.0, 8, 2), (64.0, 8, 8), (1e300, 8, 8)] {
            assert_eq!(count(None, None, Some(limit), cores), workers, "{limit} of {cores}");
        }
    }

    #[test]
    fn without_any_word_there_are_two_or_one_per_core() {
        assert_eq!(count(None, None, None, 8), 2);
        assert_eq!(count(None, None, None, 1), 1);
        assert_eq!(count(None, None, Some(0.0), 8), 2);
        assert_eq!(count(None, None, Some(f64::NAN), 8), 2);
        assert_eq!(count(None, None, None, 0), 1);
    }
}
