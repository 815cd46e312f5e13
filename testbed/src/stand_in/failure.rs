//! Failures on purpose, in exact alternation.
//!
//! A share is spread evenly and not drawn by chance: of any run of n requests either the floor or the ceiling of
//! `n * share` fails, so that a test can predict the count.

use std::{collections::HashMap, str::FromStr};

use http::StatusCode;

/// Fail this share of the requests with this status.
#[derive(Clone, Debug, PartialEq)]
pub struct FailRule {
    /// The status of a request that fails.
    pub status: StatusCode,
    /// From 0 to 1.
    pub share: f64,
    /// Only requests of this path, exactly; all paths when absent.
    pub path: Option<String>,
}

impl FromStr for FailRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("{text:?}: expected STATUS:PERCENT%[:/path], such as 503:50%");
        let mut parts = text.splitn(3, ':');
        let status = parts.next().and_then(|s| s.parse().ok()).ok_or_else(expected)?;
        let share = parts.next().and_then(|s| parse_share(s.trim())).ok_or_else(expected)?;
        let path = parts.next().map(str::to_owned);
        Ok(Self { status, share, path })
    }
}

/// `50%` or `0.5`, as a share from 0 to 1; `None` for anything else.
pub(crate) fn parse_share(text: &str) -> Option<f64> {
    let share = match text.strip_suffix('%') {
        Some(percent) => percent.parse::<f64>().ok()? / 100.0,
        None => text.parse().ok()?,
    };
    (0.0..=1.0).contains(&share).then_some(share)
}

/// Whether the request with this index (from 0) belongs to the share: the one at which `n * share` passes a whole
/// number.
pub(crate) fn is_chosen(index: u64, share: f64) -> bool {
    // A share such as 0.1 is not exact in binary; the tolerance keeps its tenth request from slipping to the 11th.
    let whole = |n: u64| (n as f64 * share + 1e-9).floor();
    whole(index + 1) > whole(index)
}

/// The rule in force and how far each path has come in its alternation.
#[derive(Default)]
pub(crate) struct Failures {
    rule: Option<FailRule>,
    seen_by_rule: u64,
    seen_by_path: HashMap<String, u64>,
}

/// Paths with a count of their own; further ones share the last place, so that a peer cannot grow the table.
const MAX_PATHS: usize = 1000;

impl Failures {
    pub(crate) fn new(rule: Option<FailRule>) -> Self {
        Self { rule, ..Self::default() }
    }

    /// Replaces the rule and starts its alternation anew.
    pub(crate) fn set(&mut self, rule: Option<FailRule>) {
        self.rule = rule;
        self.seen_by_rule = 0;
    }

    /// The status with which a request of this path is to fail now, if it is.
    pub(crate) fn next(&mut self, path: &str) -> Option<StatusCode> {
        let rule = self.rule.as_ref()?;
        if rule.path.as_deref().is_some_and(|wanted| wanted != path) {
            return None;
        }
        let index = self.seen_by_rule;
        self.seen_by_rule += 1;
        is_chosen(index, rule.share).then_some(rule.status)
    }

    /// Whether the next request of `/status/CODE?rate=share` (`key` is path and query) is one of the chosen.
    pub(crate) fn chosen(&mut self, key: &str, share: f64) -> bool {
        let full = self.seen_by_path.len() >= MAX_PATHS && !self.seen_by_path.contains_key(key);
        let seen = self.seen_by_path.entry(if full { String::new() } else { key.to_owned() }).or_default();
        *seen += 1;
        is_chosen(*seen - 1, share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prefix_of_the_run_holds_the_share_to_within_one() {
        for share in [0.0, 0.1, 0.25, 1.0 / 3.0, 0.5, 0.9, 1.0] {
            let mut failed = 0_u32;
            for n in 0..1000_u64 {
                failed += u32::from(is_chosen(n, share));
                let want = (n + 1) as f64 * share;
                assert!((f64::from(failed) - want).abs() < 1.0 + 1e-6, "share {share}, after {n}: {failed}");
            }
        }
    }

    #[test]
    fn a_half_alternates_strictly() {
        let drawn: Vec<bool> = (0..6).map(|n| is_chosen(n, 0.5)).collect();
        assert_eq!(drawn, [false, true, false, true, false, true]);
    }

    #[test]
    fn a_rule_with_a_path_leaves_other_paths_alone() -> Result<(), String> {
        let mut failures = Failures::new(Some("503:100%:/pay".parse()?));
        assert_eq!(failures.next("/"), None);
        assert_eq!(failures.next("/pay"), Some(StatusCode::SERVICE_UNAVAILABLE));
        failures.set(None);
        assert_eq!(failures.next("/pay"), None);
        Ok(())
    }

    #[test]
    fn a_failure_without_a_valid_status_and_share_is_refused() {
        for text in ["", "503", "503:200%", "99:10%", "503:x"] {
            assert!(text.parse::<FailRule>().is_err(), "{text:?}");
        }
    }
}
