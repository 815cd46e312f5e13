//! What to send: the plan of one run.

use std::{net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use anyhow::{Context, anyhow};
use http::{HeaderName, HeaderValue, Method};
use regex_automata::meta::Regex;

use crate::{
    connect::Resolve,
    schedule::{self, Arrivals, Stage},
};

/// How many requests, or for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// Exactly so many requests.
    Requests(u64),
    /// Requests are started for so long; those in flight then are still awaited.
    For(Duration),
}

/// A property of the answers to count the values of.
#[derive(Clone, Debug)]
pub struct CountBy {
    /// The key under which [`crate::Report::groups`] holds the counts: the text it was made from.
    pub name: String,
    pub(crate) property: Property,
}

#[derive(Clone, Debug)]
pub(crate) enum Property {
    /// The header's value, or what a pattern finds in it.
    Header(HeaderName, Option<Box<Regex>>),
    /// The first group of the pattern, or its whole match when it has none.
    Body(Box<Regex>),
}

impl FromStr for CountBy {
    type Err = anyhow::Error;

    /// `header:NAME`, `header:NAME~REGEX` or `body:REGEX`. A regular expression counts its first group, or its whole
    /// match when it has none.
    fn from_str(text: &str) -> anyhow::Result<Self> {
        let property = match text.split_once(':') {
            Some(("header", rest)) => {
                let (name, pattern) = rest.split_once('~').map_or((rest, None), |(name, pattern)| (name, Some(pattern)));
                let name = name.parse().with_context(|| format!("{name:?} is no header name"))?;
                Property::Header(name, pattern.map(regex).transpose()?.map(Box::new))
            }
            Some(("body", pattern)) => Property::Body(Box::new(regex(pattern)?)),
            _ => return Err(anyhow!("{text:?}: expected header:NAME, header:NAME~REGEX or body:REGEX")),
        };
        Ok(Self { name: text.to_owned(), property })
    }
}

/// A pattern; its error says what is wrong with it, which the library keeps to the error's source.
fn regex(pattern: &str) -> anyhow::Result<Regex> {
    Regex::new(pattern).map_err(|error| match error.syntax_error() {
        Some(syntax) => anyhow!("{pattern:?} is no regular expression: {syntax}"),
        None => anyhow!("{pattern:?}: {error}"),
    })
}

/// TLS of `https` URLs.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// PEM file of the roots to trust; without it the machine's own.
    pub roots: Option<PathBuf>,
    /// PEM files of the certificate chain and the key to show the server.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Accept any server certificate.
    pub insecure: bool,
    /// Server name to ask for and to verify instead of the URL's host.
    pub sni: Option<String>,
}

/// Everything about one run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where to, as written: `SCHEME://HOST[:PORT][/PATH][?QUERY]`.
    pub url: String,
    /// Further URLs, requested in turn with the first.
    pub more_urls: Vec<String>,
    /// Weights of all URLs, the first first; empty when all are alike. Requests are interleaved so that each URL is within
    /// one request of its share at every point.
    pub weights: Vec<u32>,
    /// How much.
    pub amount: Amount,
    /// Stop after so many requests, also when [`Amount::For`] has time left.
    pub at_most: Option<u64>,
    /// Requests in flight at a time, at least 1.
    pub concurrency: usize,
    /// Connect here instead of to the URL's host and port.
    pub connect: Option<SocketAddr>,
    /// HTTP/2 with prior knowledge (or by ALPN over TLS) instead of HTTP/1.1.
    pub http2: bool,
    /// HTTP/2 connections to spread the requests over, at least 1. With HTTP/1.1 each request in flight has its own.
    pub connections: usize,
    /// A new connection for every request.
    pub new_connections: bool,
    /// A new connection after so many requests.
    pub requests_per_connection: Option<u64>,
    /// Where to connect for some hosts and ports.
    pub resolve: Vec<Resolve>,
    /// Connect to this unix socket, whatever the URL's host.
    pub unix_socket: Option<PathBuf>,
    /// With `tcp` URLs: keep the connection and expect each body back.
    pub tcp_echo: bool,
    /// Frame the body as one gRPC message and ask for it as gRPC does; implies HTTP/2.
    pub grpc: bool,
    /// The request method.
    pub method: Method,
    /// Further request headers; `host` here replaces the URL's.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The request body.
    pub body: Vec<u8>,
    /// Open loop: so many requests per second are due, and latency counts from when a request was due. `None` is a closed
    /// loop: each request in flight is followed by the next as soon as it is answered.
    pub rate: Option<f64>,
    /// Open loop with rates that change; takes the place of `rate` and of the time in `amount`.
    pub stages: Vec<Stage>,
    /// How due times lie around their even distance.
    pub arrivals: Arrivals,
    /// Send for so long before anything is counted.
    pub warmup: Duration,
    /// A request without a complete answer by then is an error. Counts from sending.
    pub timeout: Duration,
    /// A connection without TCP by then, or without TLS after as much again, is an error.
    pub connect_timeout: Duration,
    /// Once stopped, what is in flight is waited for so long.
    pub patience: Duration,
    /// Threads to send from; at most one per connection.
    pub threads: usize,
    /// Make the connections before the first request. None that can be made is then an error of the run.
    pub preconnect: bool,
    /// End the run when nothing at all has been answered for two timeouts.
    pub give_up: bool,
    /// TLS settings of an `https` URL.
    pub tls: Tls,
    /// Further properties to count.
    pub count_by: Vec<CountBy>,
    /// Keep the order of answers, so that it can be judged whether they took turns.
    pub keep_order: bool,
    /// Keep each answer in the report, not only its counts.
    pub keep_answers: bool,
    /// Keep response headers with the answers.
    pub keep_headers: bool,
    /// Keep the first 64 KiB of response bodies with the answers.
    pub keep_bodies: bool,
}

impl Plan {
    /// A plan for `requests` GETs, one at a time, over one kept-alive HTTP/1.1 connection, answers kept.
    pub fn new(url: impl Into<String>, requests: u64) -> Self {
        Self {
            url: url.into(),
            more_urls: Vec::new(),
            weights: Vec::new(),
            amount: Amount::Requests(requests),
            at_most: None,
            concurrency: 1,
            connect: None,
            http2: false,
            connections: 1,
            new_connections: false,
            requests_per_connection: None,
            resolve: Vec::new(),
            unix_socket: None,
            tcp_echo: false,
            grpc: false,
            method: Method::GET,
            headers: Vec::new(),
            body: Vec::new(),
            rate: None,
            stages: Vec::new(),
            arrivals: Arrivals::Even,
            warmup: Duration::ZERO,
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            patience: Duration::from_secs(30),
            threads: 1,
            preconnect: false,
            give_up: false,
            tls: Tls::default(),
            count_by: Vec::new(),
            keep_order: false,
            keep_answers: true,
            keep_headers: false,
            keep_bodies: false,
        }
    }

    /// The same plan with one more request header.
    ///
    /// # Errors
    /// A name or value that HTTP does not allow.
    pub fn header(mut self, name: &str, value: &str) -> anyhow::Result<Self> {
        let name: HeaderName = name.parse().with_context(|| format!("{name:?} is no header name"))?;
        let value = HeaderValue::from_str(value).with_context(|| format!("header {name}: unusable value {value:?}"))?;
        self.headers.push((name, value));
        Ok(self)
    }

    /// Whether requests go over HTTP/2.
    pub(crate) fn speaks_http2(&self) -> bool {
        self.http2 || self.grpc
    }

    /// How many requests a connection may carry.
    pub(crate) fn per_connection(&self) -> u64 {
        if self.new_connections { 1 } else { self.requests_per_connection.unwrap_or(u64::MAX).max(1) }
    }

    /// All URLs, the first first.
    pub(crate) fn urls(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.url).chain(&self.more_urls)
    }

    /// The stages of an open loop, without its warm-up; empty for a closed loop.
    fn measured(&self) -> Vec<Stage> {
        match self.rate {
            _ if !self.stages.is_empty() => self.stages.clone(),
            Some(rate) if rate > 0.0 => vec![Stage::constant(rate, self.length())],
            _ => Vec::new(),
        }
    }

    /// The stages of an open loop, the warm-up at the first rate before them; empty for a closed loop.
    pub(crate) fn schedule(&self) -> Vec<Stage> {
        let mut stages = self.measured();
        if !stages.is_empty() && !self.warmup.is_zero() {
            let first = stages.first().map_or(0.0, |stage| if stage.from > 0.0 { stage.from } else { stage.to });
            stages.insert(0, Stage::constant(first, Some(self.warmup)));
        }
        stages
    }

    /// The mean rate of an open loop.
    pub(crate) fn asked_rate(&self) -> Option<f64> {
        if self.stages.is_empty() {
            return self.rate;
        }
        let seconds: f64 = self.stages.iter().filter_map(|stage| stage.length).map(|length| length.as_secs_f64()).sum();
        let requests: f64 = self.stages.iter().filter_map(|stage| Some((stage.from + stage.to) / 2.0 * stage.length?.as_secs_f64())).sum();
        (seconds > 0.0).then(|| requests / seconds)
    }

    /// For how long requests are sent, if that is known beforehand; without the warm-up.
    pub(crate) fn length(&self) -> Option<Duration> {
        match self.amount {
            Amount::For(time) => Some(time),
            Amount::Requests(_) => None,
        }
    }

    /// For how long a schedule lasts, up to where the next request would be due; without the warm-up. A server that answers the
    /// last request at once was asked for no higher rate by that. Unknown for a closed loop, and without an end.
    pub(crate) fn meant_to_take(&self) -> Option<Duration> {
        let stages = self.measured();
        if stages.is_empty() { None } else { schedule::time_for(&stages, self.most()) }
    }

    /// By what a run's progress is seen: by time where its length is known, the warm-up included, else by requests.
    pub(crate) fn progress(&self) -> Amount {
        let timed = match self.amount {
            Amount::For(time) => Some(self.meant_to_take().unwrap_or(time)),
            Amount::Requests(u64::MAX) => self.meant_to_take(),
            Amount::Requests(_) => None,
        };
        timed.map_or(self.amount, |time| Amount::For(self.warmup + time))
    }

    /// How many requests are sent at most; without those of the warm-up.
    pub(crate) fn most(&self) -> u64 {
        match self.amount {
            Amount::Requests(requests) => requests,
            Amount::For(_) => self.at_most.unwrap_or(u64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_warm_up_comes_before_the_schedule_at_its_first_rate() {
        let second = Some(Duration::from_secs(1));
        let ramp = Stage { from: 0.0, to: 9.0, length: second };
        let plan = Plan { warmup: Duration::from_secs(1), stages: vec![ramp], ..Plan::new("http://a", 1) };
        assert_eq!(plan.schedule(), [Stage::constant(9.0, second), ramp]);
        let closed = Plan { stages: Vec::new(), ..plan };
        assert_eq!(closed.schedule(), []);
    }

    #[test]
    fn a_schedule_lasts_as_long_as_its_requests_are_apart() {
        let plan = |amount, rate| Plan { amount, rate, ..Plan::new("http://a", 0) };
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(plan(Amount::Requests(50), Some(10.0)).meant_to_take(), seconds(5));
        assert_eq!(plan(Amount::For(Duration::from_secs(4)), Some(0.5)).meant_to_take(), seconds(4));
        assert_eq!(Plan { at_most: Some(1), ..plan(Amount::For(Duration::from_secs(4)), Some(0.5)) }.meant_to_take(), seconds(2));
        assert_eq!(plan(Amount::For(Duration::from_secs(4)), None).meant_to_take(), None, "a closed loop has no schedule");
        let stages = vec![Stage::constant(1.0, seconds(2)), Stage::constant(5.0, seconds(3))];
        let staged = Plan { stages, amount: Amount::For(Duration::from_secs(5)), ..Plan::new("http://a", 0) };
        assert_eq!(staged.meant_to_take(), seconds(5));
        assert_eq!(Plan { at_most: Some(7), ..staged }.meant_to_take(), seconds(3), "two in the first stage, five in the second");
        assert_eq!(plan(Amount::Requests(u64::MAX), Some(1.0)).meant_to_take(), None);
    }

    #[test]
    fn progress_is_by_time_where_the_length_is_known_and_counts_the_warm_up() {
        let second = Duration::from_secs(1);
        let plan = |amount, stages| Plan { amount, stages, warmup: second, ..Plan::new("http://a", 0) };
        assert_eq!(plan(Amount::For(second * 4), Vec::new()).progress(), Amount::For(second * 5));
        assert_eq!(plan(Amount::Requests(7), Vec::new()).progress(), Amount::Requests(7));
        let stages = vec![Stage::constant(1.0, Some(second * 2)), Stage::constant(5.0, Some(second * 3))];
        assert_eq!(plan(Amount::Requests(u64::MAX), stages).progress(), Amount::For(second * 6));
    }

    #[test]
    fn a_property_to_count_is_a_header_or_a_body_pattern() {
        assert!("header:x-pod".parse::<CountBy>().is_ok());
        assert!("header:x-pod~^[a-z]+".parse::<CountBy>().is_ok());
        assert!("body:v[0-9]".parse::<CountBy>().is_ok());
        for text in ["x-pod", "header:a b", "header:a~(", "body:(", "status:200"] {
            assert!(text.parse::<CountBy>().is_err(), "{text}");
        }
        let error = "body:(".parse::<CountBy>().expect_err("an open group").to_string();
        assert!(error.contains("unclosed group"), "{error}");
    }
}
