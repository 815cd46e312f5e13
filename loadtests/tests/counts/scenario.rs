//! What is measured: a gateway of one worker with statistics on, in front of an origin on loopback.
//!
//! All scenarios share the request head (four headers, but for one scenario), the answer of 1 KiB and the number of requests in flight, so that their counts can be
//! compared with each other.

use std::fmt::Write;
use std::path::Path;

/// Where the gateway listens, in a network namespace of its own.
pub const GATEWAY_PORT: u16 = 8080;
/// Where the origin listens, there.
pub const ORIGIN_PORT: u16 = 9000;
/// The name the service goes by.
pub const HOST: &str = "web.counts.test";
/// The identity both ends of a connection with mTLS show.
pub const IDENTITY: &str = "spiffe://cluster.local/ns/counts/sa/default";
/// Body of every answer, in bytes.
pub const ANSWER_BYTES: usize = 1024;
/// Requests on their way at the same time: one turn of the event loop has that many of them to do. Twice the number of writes that
/// go out unasked (`runtime/turn.rs` in the proxy), so that turns settle in one of their two ways, the one of busy workers.
pub const IN_FLIGHT: usize = 32;

/// One row of the table.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scenario {
    /// As in `counts.toml`.
    pub name: &'static str,
    /// Three more request headers, one of them of no registered name.
    pub headers: bool,
    /// Four subsets by weight 50/30/15/5.
    pub split: bool,
    /// Twenty routes by prefix, of which the last matches.
    pub routes: bool,
    /// A retry policy, and POST with a body of 1 KiB.
    pub retry: bool,
    /// A line for every request into a file.
    pub access_log: bool,
    /// TLS 1.3 with client certificate from the client.
    pub tls_in: bool,
    /// TLS 1.3 with client certificate to the origin.
    pub tls_out: bool,
    /// HTTP/2 without TLS on both sides, on [`Scenario::connections`] connections.
    pub http2: bool,
    /// A new connection of the client for every request; the client closes it after the answer.
    pub anew: bool,
}

const PLAIN: Scenario = Scenario {
    name: "plain",
    headers: false,
    split: false,
    routes: false,
    retry: false,
    access_log: false,
    tls_in: false,
    tls_out: false,
    http2: false,
    anew: false,
};

/// Every scenario, in the order of the table.
pub const ALL: &[Scenario] = &[
    PLAIN,
    Scenario { name: "headers", headers: true, ..PLAIN },
    Scenario { name: "split", split: true, ..PLAIN },
    Scenario { name: "20-routes", routes: true, ..PLAIN },
    Scenario { name: "retry-post", retry: true, ..PLAIN },
    Scenario { name: "access-log", access_log: true, ..PLAIN },
    Scenario { name: "mtls-client", tls_out: true, ..PLAIN },
    Scenario { name: "mtls-server", tls_in: true, ..PLAIN },
    Scenario { name: "http2", http2: true, ..PLAIN },
    Scenario { name: "close", anew: true, ..PLAIN },
];

impl Scenario {
    /// Connections of the client; requests are spread evenly over them.
    pub fn connections(&self) -> usize {
        if self.http2 { 4 } else { IN_FLIGHT }
    }

    /// Path of every request.
    pub fn path(&self) -> &'static str {
        if self.routes { "/api/v20/items" } else { "/items" }
    }

    /// Body of every request, in bytes.
    pub fn body_bytes(&self) -> usize {
        if self.retry { 1024 } else { 0 }
    }

    /// The manifests; `certificates` is a folder with `cert-chain.pem`, `key.pem` and `root-cert.pem`.
    pub fn manifests(&self, certificates: &Path) -> String {
        let parts = [self.gateway(certificates), self.virtual_service(), self.service_entry(), self.destination_rule(certificates)];
        parts.join("---\n")
    }

    fn gateway(&self, certificates: &Path) -> String {
        let server = match self.tls_in {
            false => format!("{{port: {{number: {GATEWAY_PORT}, name: http, protocol: HTTP}}, hosts: [\"*\"]}}"),
            true => format!(
                "{{port: {{number: {GATEWAY_PORT}, name: https, protocol: HTTPS}}, hosts: [\"*\"], tls: {{mode: MUTUAL, \
                 serverCertificate: {0}/cert-chain.pem, privateKey: {0}/key.pem, caCertificates: {0}/root-cert.pem, \
                 minProtocolVersion: TLSV1_3, subjectAltNames: [\"{IDENTITY}\"]}}}}",
                certificates.display()
            ),
        };
        object("Gateway", "in", &format!("  selector: {{istio: counts}}\n  servers:\n  - {server}\n"))
    }

    fn virtual_service(&self) -> String {
        let mut rules = String::new();
        for number in 1..=if self.routes { 20 } else { 1 } {
            let matched = if self.routes { format!("    match: [{{uri: {{prefix: /api/v{number}/}}}}]\n") } else { String::new() };
            let _infallible = write!(rules, "  - name: rule-{number}\n{matched}    route:\n{}{}", self.destinations(), self.retries());
        }
        object("VirtualService", "web", &format!("  hosts: [\"{HOST}\"]\n  gateways: [in]\n  http:\n{rules}"))
    }

    fn destinations(&self) -> String {
        let to = |subset: &str, weight: u32| {
            format!("    - {{destination: {{host: {HOST}, port: {{number: 80}}{subset}}}, weight: {weight}}}\n")
        };
        match self.split {
            false => to("", 100),
            true => [(1, 50), (2, 30), (3, 15), (4, 5)].map(|(version, weight)| to(&format!(", subset: v{version}"), weight)).concat(),
        }
    }

    fn retries(&self) -> &'static str {
        if self.retry { "    retries: {attempts: 3, perTryTimeout: 2s, retryOn: \"5xx,reset,connect-failure\"}\n" } else { "" }
    }

    fn service_entry(&self) -> String {
        let protocol = if self.http2 { "HTTP2" } else { "HTTP" };
        let endpoint =
            |version| format!("  - {{address: 127.0.0.{version}, ports: {{web: {ORIGIN_PORT}}}, labels: {{version: v{version}}}}}\n");
        let endpoints: String = (1..=if self.split { 4 } else { 1 }).map(endpoint).collect();
        let spec = format!(
            "  hosts: [{HOST}]\n  resolution: STATIC\n  location: MESH_EXTERNAL\n  ports: [{{number: 80, name: web, protocol: {protocol}}}]\n  endpoints:\n{endpoints}"
        );
        object("ServiceEntry", "web", &spec)
    }

    fn destination_rule(&self, certificates: &Path) -> String {
        let mut spec = format!("  host: {HOST}\n");
        if self.split {
            let subset = |version| format!("  - {{name: v{version}, labels: {{version: v{version}}}}}\n");
            spec += "  subsets:\n";
            spec.extend((1..=4).map(subset));
        }
        if self.tls_out {
            let tls = format!(
                "{{mode: MUTUAL, clientCertificate: {0}/cert-chain.pem, privateKey: {0}/key.pem, caCertificates: {0}/root-cert.pem, \
                 sni: {HOST}, subjectAltNames: [\"{IDENTITY}\"]}}",
                certificates.display()
            );
            let _infallible = writeln!(spec, "  trafficPolicy:\n    tls: {tls}");
        }
        object("DestinationRule", "web", &spec)
    }
}

fn object(kind: &str, name: &str, spec: &str) -> String {
    format!("apiVersion: networking.istio.io/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: counts}}\nspec:\n{spec}")
}
