//! A plan as arguments: how it is carried out in another process, in a pod's network namespace.

use std::fmt::Display;
use std::path::Path;

use http::{HeaderName, HeaderValue};

use crate::plan::{Amount, Plan};

impl Plan {
    /// The arguments of `outrigger load` that describe this plan, ending in a JSON report. Ramps and jitter have no place
    /// in it.
    pub fn to_arguments(&self) -> Vec<String> {
        let mut arguments = self.urls().cloned().collect::<Vec<_>>();
        let mut add = |flag: &str, value: &dyn Display| arguments.push(format!("--{flag}={value}"));
        add("output", &"json");
        match self.amount {
            Amount::Requests(requests) => add("requests", &requests),
            Amount::For(time) => add("duration", &format_args!("{}ms", time.as_millis())),
        }
        add("concurrency", &self.concurrency);
        if self.speaks_http2() {
            add("connections", &self.connections);
        }
        add("threads", &self.threads);
        add("timeout", &format_args!("{}ms", self.timeout.as_millis()));
        add("connect-timeout", &format_args!("{}ms", self.connect_timeout.as_millis()));
        add("patience", &format_args!("{}ms", self.patience.as_millis()));
        let plain = self.urls().any(|url| url.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http"))) && !self.grpc;
        if plain {
            add("method", &self.method);
        }
        add("data", &String::from_utf8_lossy(&self.body));
        let header = |(name, value): &(HeaderName, HeaderValue)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()));
        self.headers.iter().for_each(|field| add("header", &header(field)));
        self.count_by.iter().for_each(|property| add("count-by", &property.name));
        self.connect.iter().for_each(|address| add("connect", address));
        self.resolve.iter().for_each(|rule| add("resolve", rule));
        self.unix_socket.iter().for_each(|path| add("unix-socket", &path.display()));
        self.requests_per_connection.iter().for_each(|limit| add("requests-per-connection", limit));
        self.rate.iter().for_each(|rate| add("rate", rate));
        if !self.warmup.is_zero() {
            add("warmup", &format_args!("{}ms", self.warmup.as_millis()));
        }
        if !self.weights.is_empty() {
            add("weights", &self.weights.iter().map(u32::to_string).collect::<Vec<_>>().join(","));
        }
        self.tls_arguments(&mut add);
        arguments.extend(self.switches());
        arguments
    }

    fn tls_arguments(&self, add: &mut impl FnMut(&str, &dyn Display)) {
        let mut file = |flag: &str, path: &Path| add(flag, &path.display());
        self.tls.roots.iter().for_each(|roots| file("cacert", roots));
        if let Some((chain, key)) = &self.tls.identity {
            file("cert", chain);
            file("key", key);
        }
        self.tls.sni.iter().for_each(|name| add("sni", name));
    }

    fn switches(&self) -> impl Iterator<Item = String> {
        let switches = [
            ("--http2", self.http2),
            ("--new-connections", self.new_connections),
            ("--grpc", self.grpc),
            ("--tcp-echo", self.tcp_echo),
            ("--insecure", self.tls.insecure),
            ("--lazy-connect", !self.preconnect),
            ("--answers", self.keep_answers),
            ("--keep-headers", self.keep_headers),
            ("--keep-bodies", self.keep_bodies),
        ];
        switches.into_iter().filter(|(_, on)| *on).map(|(switch, _)| switch.to_owned())
    }
}
