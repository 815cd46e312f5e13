//! What an instance has served, so that a test can count requests and attempts at the server.

use std::collections::BTreeMap;

use serde::Serialize;

/// Paths with an entry of their own; requests of further ones count under `(other)`.
const MAX_PATHS: usize = 1000;

/// Requests answered since the start or the last reset.
#[derive(Default, Serialize)]
pub(crate) struct Counts {
    /// All of them, `/counts` and `/admin` apart.
    total: u64,
    /// By path without query.
    paths: BTreeMap<String, PathCounts>,
}

/// Requests of one path.
#[derive(Default, Serialize)]
struct PathCounts {
    requests: u64,
    /// By answered status.
    statuses: BTreeMap<u16, u64>,
    /// By the request's `x-envoy-attempt-count`; `none` when it had none.
    attempts: BTreeMap<String, u64>,
}

impl Counts {
    /// Adds one answered request.
    pub(crate) fn add(&mut self, path: &str, status: u16, attempt: Option<&str>) {
        self.total += 1;
        let full = self.paths.len() >= MAX_PATHS && !self.paths.contains_key(path);
        let entry = self.paths.entry(if full { "(other)".into() } else { path.to_owned() }).or_default();
        entry.requests += 1;
        *entry.statuses.entry(status).or_default() += 1;
        // Anything but a small number is a client's invention and would grow the table.
        let attempt = attempt.filter(|text| text.len() <= 3 && text.bytes().all(|b| b.is_ascii_digit()));
        *entry.attempts.entry(attempt.unwrap_or("none").to_owned()).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_path_status_and_attempt() {
        let mut counts = Counts::default();
        counts.add("/a", 200, Some("1"));
        counts.add("/a", 503, Some("2"));
        counts.add("/b", 200, None);
        let json = serde_json::to_value(&counts).unwrap_or_default();
        assert_eq!(json["total"], 3);
        assert_eq!(json["paths"]["/a"]["statuses"]["503"], 1);
        assert_eq!(json["paths"]["/a"]["attempts"]["2"], 1);
        assert_eq!(json["paths"]["/b"]["attempts"]["none"], 1);
    }

    #[test]
    fn a_flood_of_paths_does_not_grow_the_table() {
        let mut counts = Counts::default();
        for n in 0..2 * MAX_PATHS {
            counts.add(&format!("/{n}"), 200, Some("junk"));
        }
        assert_eq!(counts.paths.len(), MAX_PATHS + 1);
        assert_eq!(counts.total, 2 * MAX_PATHS as u64);
    }
}
