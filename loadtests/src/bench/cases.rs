//! What is measured.

/// How a figure comes about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Method {
    /// The generator, HTTP/1.1: connections, requests per second by schedule (0: closed loop), a new connection for each
    /// request.
    Load {
        /// Connections.
        connections: usize,
        /// Per second; 0 is a closed loop.
        rate: f64,
        /// A new connection for each request.
        close: bool,
    },
    /// 64 MiB bodies over two connections.
    Bulk {
        /// Under reno, where the machine's own congestion control paces what it sends.
        reno: bool,
    },
    /// `h2load`, closed loop, 100 streams on each connection.
    Http2 {
        /// Connections.
        connections: usize,
    },
    /// Memory after one request, with so many idle connections beside.
    Memory {
        /// Connections that have been used once and stay open.
        idle: usize,
    },
    /// From the start of the process to the first complete answer.
    Start,
    /// System calls in a closed loop of 64, or by schedule; `perf` counts.
    SystemCalls {
        /// Per second; 0 is a closed loop.
        rate: f64,
    },
}

/// The proxies between generator and origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chain {
    /// One, in this mode.
    One(&'static str),
    /// Two with mutual TLS between them: the client's, the server's.
    Two(&'static str, &'static str),
}

/// A test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Case {
    /// Its name; the part before the first `_` is its subject.
    pub name: &'static str,
    /// In a few words.
    pub what: &'static str,
    /// How it is measured.
    pub method: Method,
    /// Through which proxies.
    pub chain: Chain,
}

impl Case {
    /// The figure by which proxies are compared, lower is better.
    pub fn key(&self) -> &'static str {
        match self.method {
            Method::Load { .. } | Method::Http2 { .. } => "cpu_us",
            Method::Bulk { .. } => "cpu_s_per_gb",
            Method::Memory { .. } => "pss_mib",
            Method::Start => "start_ms",
            Method::SystemCalls { .. } => "calls",
        }
    }

    /// Whether latency is what the test is about: those run more often, and also without any proxy.
    pub fn is_latency(&self) -> bool {
        matches!(self.method, Method::Load { rate, .. } if rate > 0.0)
    }

    /// Turns that it takes for a ratio to hold. Latency: significance has to be possible. Bulk where the kernel paces: a turn depends
    /// on when timers fire. A start is short enough for anything to double it.
    pub fn least_turns(&self) -> u16 {
        match self.method {
            _ if self.is_latency() => 9,
            Method::Bulk { reno: false } => 15,
            Method::Start => 25,
            _ => 1,
        }
    }

    /// Whether a row without proxy makes sense: for latency, to show how far the generator is from being the limit, and for
    /// the start, of which a part is no proxy's doing ([`super::floor`]).
    pub fn has_direct(&self) -> bool {
        self.is_latency() || self.name == "h1_sat_c64" || self.method == Method::Start
    }
}

const fn load(name: &'static str, what: &'static str, mode: &'static str, connections: usize, rate: f64) -> Case {
    Case { name, what, method: Method::Load { connections, rate, close: false }, chain: Chain::One(mode) }
}

const fn case(name: &'static str, what: &'static str, method: Method, chain: Chain) -> Case {
    Case { name, what, method, chain }
}

const BULK: Method = Method::Bulk { reno: false };
const BULK_UNPACED: Method = Method::Bulk { reno: true };
const NEW_CONNECTIONS: Method = Method::Load { connections: 16, rate: 0.0, close: true };

/// Every test, in the order of the tables. Names that the tests of `orbench.py` also have mean the same.
pub const CASES: [Case; 27] = [
    load("h1_sat_c16", "HTTP/1.1, saturated, 16 connections", "http", 16, 0.0),
    load("h1_sat_c64", "HTTP/1.1, saturated, 64 connections", "http", 64, 0.0),
    load("h1_sat_c256", "HTTP/1.1, saturated, 256 connections", "http", 256, 0.0),
    load("h1_log_sat_c64", "with access log, saturated, 64", "http_log", 64, 0.0),
    load("h1_istio_sat_c64", "with log, split, retry policy, saturated, 64", "http_istio", 64, 0.0),
    load("h1_big_sat_c64", "among 1,000 services, saturated, 64", "http_big", 64, 0.0),
    case("h1_close_c16", "a new client connection per request, 16 at a time", NEW_CONNECTIONS, Chain::One("http")),
    load("h1_r4k_c16", "HTTP/1.1, 4,000/s, 16 connections", "http", 16, 4000.0),
    load("h1_r4k_c64", "HTTP/1.1, 4,000/s, 64 connections", "http", 64, 4000.0),
    load("h1_r10k_c16", "HTTP/1.1, 10,000/s, 16 connections", "http", 16, 10000.0),
    load("h1_r10k_c64", "HTTP/1.1, 10,000/s, 64 connections", "http", 64, 10000.0),
    case("h2h1_c8", "HTTP/2 in, HTTP/1.1 out, saturated, 8 x 100 streams", Method::Http2 { connections: 8 }, Chain::One("h2h1")),
    case("h2h2_c8", "HTTP/2 in and out, saturated, 8 x 100 streams", Method::Http2 { connections: 8 }, Chain::One("h2h2")),
    case(
        "mtls_sat_c64",
        "two proxies, mutual TLS between, saturated, 64",
        Method::Load { connections: 64, rate: 0.0, close: false },
        Chain::Two("mtls_a", "mtls_b"),
    ),
    case("mtls_hs_c16", "two proxies, a full mutual handshake per request", NEW_CONNECTIONS, Chain::Two("mtls_a_close", "mtls_b_close")),
    case("mtls_bulk_c2", "two proxies, mutual TLS, 64 MiB bodies", BULK, Chain::Two("mtls_a", "mtls_b")),
    case("mtls_bulk_reno_c2", "the same under reno, which does not pace", BULK_UNPACED, Chain::Two("mtls_a", "mtls_b")),
    load("tcp_sat_c64", "TCP relay, 1 KiB answers, saturated, 64", "tcp", 64, 0.0),
    case("tcp_bulk_c2", "TCP relay, 64 MiB bodies", BULK, Chain::One("tcp")),
    case("tcp_bulk_reno_c2", "the same under reno, which does not pace", BULK_UNPACED, Chain::One("tcp")),
    case("tcp_conn_c16", "TCP relay, a new connection per request", NEW_CONNECTIONS, Chain::One("tcp")),
    case("mem_idle", "memory after one request", Method::Memory { idle: 0 }, Chain::One("http")),
    case("mem_1000", "memory with 1,000 idle connections", Method::Memory { idle: 1000 }, Chain::One("http")),
    case("mem_big", "memory with 1,000 services", Method::Memory { idle: 0 }, Chain::One("http_big")),
    case("start", "start to first answer", Method::Start, Chain::One("http")),
    case("sys_h1_c64", "system calls per request, saturated, 64", Method::SystemCalls { rate: 0.0 }, Chain::One("http")),
    case("sys_h1_r4k", "system calls per request, 4,000/s, 64", Method::SystemCalls { rate: 4000.0 }, Chain::One("http")),
];

/// The cases that fit one of these comma-separated patterns, in which `*` stands for anything; all for an empty text.
pub fn select(patterns: &str) -> Vec<Case> {
    let wanted: Vec<&str> = patterns.split(',').map(str::trim).filter(|pattern| !pattern.is_empty()).collect();
    CASES.into_iter().filter(|case| wanted.is_empty() || wanted.iter().any(|pattern| fits(pattern, case.name))).collect()
}

fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, tail)) => {
            let rest = name.strip_prefix(head);
            rest.is_some_and(|rest| (0..=rest.len()).any(|at| rest.get(at..).is_some_and(|end| fits(tail, end))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::peers;

    #[test]
    fn names_are_unique_and_every_mode_exists() {
        for (index, case) in CASES.iter().enumerate() {
            assert!(CASES[..index].iter().all(|other| other.name != case.name), "{}", case.name);
            let modes = match case.chain {
                Chain::One(mode) => vec![mode],
                Chain::Two(client, server) => vec![client, server],
            };
            assert!(modes.iter().all(|mode| peers::mode(mode).is_some()), "{}: {modes:?}", case.name);
        }
    }

    #[test]
    fn patterns_select_by_name() {
        let names = |patterns| select(patterns).iter().map(|case| case.name).collect::<Vec<_>>();
        assert_eq!(names("start"), ["start"]);
        assert_eq!(names("mem_*, start"), ["mem_idle", "mem_1000", "mem_big", "start"]);
        assert_eq!(names("*_conn_*"), ["tcp_conn_c16"]);
        assert_eq!(names("").len(), CASES.len());
        assert!(names("nothing*").is_empty());
    }
}
