//! The demo's access-log lines, in the format that its mesh configuration asks for.

/// One exchange as a proxy logged it.
#[derive(Debug, Default)]
pub struct LogLine {
    /// Number of the routing decision at its route.
    pub decision: u64,
    /// Cluster drawn.
    pub cluster: String,
    /// Response flags.
    pub flags: String,
    /// Identity of the peer, `-` in plaintext.
    pub peer: String,
    /// TLS version of the downstream.
    pub tls: String,
    /// Path of the request.
    pub path: String,
}

impl LogLine {
    /// Reads `key=value` pairs; `None` for lines of another kind.
    pub fn parse(line: &str) -> Option<LogLine> {
        let mut parsed = LogLine::default();
        let (decision, rest) = line.strip_prefix("decision=")?.split_once(' ')?;
        parsed.decision = decision.parse().unwrap_or(0);
        for (key, value) in rest.split(' ').filter_map(|pair| pair.split_once('=')) {
            match key {
                "cluster" => parsed.cluster = value.to_owned(),
                "flags" => parsed.flags = value.to_owned(),
                "peer" => parsed.peer = value.to_owned(),
                "tls" => parsed.tls = value.to_owned(),
                "path" => parsed.path = value.to_owned(),
                _ => {}
            }
        }
        Some(parsed)
    }

    /// The subset in the cluster's name: `outbound|80|v1|host` gives `v1`.
    pub fn subset(&self) -> Option<&str> {
        self.cluster.split('|').nth(2).filter(|subset| !subset.is_empty())
    }

    /// Whether a response flag is set.
    pub fn has_flag(&self, flag: &str) -> bool {
        self.flags.split(',').any(|set| set == flag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_by_its_keys() {
        let line = "decision=12 cluster=outbound|80|v1|shopfront.shop.svc.cluster.local code=503 flags=DI,FI peer=- tls=- path=/";
        let line = LogLine::parse(line).unwrap_or_default();
        assert_eq!((line.decision, line.subset(), line.path.as_str()), (12, Some("v1"), "/"));
        assert!(line.has_flag("FI") && line.has_flag("DI") && !line.has_flag("UT"));
    }

    #[test]
    fn other_lines_are_not_ours() {
        assert!(LogLine::parse("2026 info starting").is_none());
    }
}
