//! Rules for Gateway.

use std::collections::HashSet;

use super::Checker;
use super::common::{domain, is_dns_label, is_ip};
use crate::api::gateway::{Gateway, Server, ServerTlsMode, ServerTlsSettings, TlsProtocol};
use crate::decode::Path;
use crate::object::ObjectId;

pub(super) fn check(cx: &mut Checker<'_>, spec: &Path<'_>, id: &ObjectId, body: &Gateway) {
    let name = &Path::Root.field("metadata");
    cx.require(is_dns_label(&id.name), &name.field("name"), "the name of a Gateway must be a DNS label (no dots)");
    let servers = &spec.field("servers");
    cx.require(!body.servers.is_empty(), servers, "expected at least one server");
    cx.labels(&spec.field("selector"), &body.selector);
    let mut names = HashSet::new();
    for (index, entry) in body.servers.iter().enumerate() {
        let at = servers.index(index);
        server(cx, &at, entry);
        if let Some(port) = entry.port.as_ref().filter(|port| !names.insert(&port.name)) {
            cx.error(&at.field("port").field("name"), format!("the port name {:?} is used twice in this Gateway", port.name));
        }
    }
}

/// Protocols of ports, in upper case.
const PROTOCOLS: &[&str] = &["HTTP", "HTTPS", "GRPC", "GRPC-WEB", "HTTP2", "MONGO", "REDIS", "MYSQL", "TCP", "TLS"];

/// Whether a port protocol is known.
pub(super) fn is_protocol(protocol: &str) -> bool {
    PROTOCOLS.iter().any(|known| known.eq_ignore_ascii_case(protocol))
}

/// Whether a protocol is HTTP without TLS.
pub(super) fn is_plain_http(protocol: &str) -> bool {
    ["HTTP", "HTTP2", "GRPC", "GRPC-WEB"].iter().any(|known| known.eq_ignore_ascii_case(protocol))
}

/// Whether a protocol has TLS.
pub(super) fn is_tls(protocol: &str) -> bool {
    ["HTTPS", "TLS"].iter().any(|known| known.eq_ignore_ascii_case(protocol))
}

fn server(cx: &mut Checker<'_>, path: &Path<'_>, server: &Server) {
    let unix = server.bind.starts_with("unix://");
    cx.require(unix || server.bind.is_empty() || is_ip(&server.bind), &path.field("bind"), "expected an IP address or unix:///PATH");
    let at = &path.field("port");
    let Some(port) = &server.port else {
        return cx.error(at, "expected a port with number, protocol and name");
    };
    if unix {
        cx.require(port.number == 0, &at.field("number"), "a server bound to a Unix socket has port number 0");
    } else {
        cx.port(&at.field("number"), port.number);
    }
    cx.require(!port.name.is_empty(), &at.field("name"), "expected a name for the port");
    cx.require(port.target_port == 0, &at.field("targetPort"), "targetPort is not used in a Gateway");
    if !is_protocol(&port.protocol) {
        cx.error(&at.field("protocol"), format!("expected one of {}, found {:?}", PROTOCOLS.join(" "), port.protocol));
    }
    let hosts = &path.field("hosts");
    cx.require(!server.hosts.is_empty(), hosts, "expected at least one host");
    for (index, entry) in server.hosts.iter().enumerate() {
        host(cx, &hosts.index(index), entry);
    }
    tls(cx, &path.field("tls"), &port.protocol, server.tls.as_ref());
}

/// `dnsName` or `namespace/dnsName`.
fn host(cx: &mut Checker<'_>, path: &Path<'_>, host: &str) {
    let (namespace, name) = host.split_once('/').unwrap_or(("*", host));
    let scope = matches!(namespace, "*" | ".") || is_dns_label(namespace);
    cx.require(scope, path, "expected a namespace, \".\" or \"*\" before the \"/\"");
    let bare = name.strip_prefix("*.").unwrap_or(name);
    if name == "*" {
        return;
    }
    if !bare.contains('.') && bare == name {
        return cx.error(path, format!("expected a full name, \"*.SUFFIX\" or \"*\", found the short name {name:?}"));
    }
    if let Err(reason) = domain(bare) {
        cx.error(path, format!("{name:?} is not a host name: {reason}"));
    }
}

fn tls(cx: &mut Checker<'_>, path: &Path<'_>, protocol: &str, tls: Option<&ServerTlsSettings>) {
    let Some(tls) = tls else {
        if is_tls(protocol) {
            cx.error(path, format!("a server of protocol {protocol} needs tls settings"));
        }
        return;
    };
    if is_plain_http(protocol) {
        let others = ServerTlsSettings { https_redirect: tls.https_redirect, ..ServerTlsSettings::default() };
        cx.require(*tls == others, path, "a server without TLS takes httpsRedirect only; use protocol HTTPS for certificates");
        return;
    }
    if !is_tls(protocol) {
        return cx.error(path, format!("a server of protocol {protocol} takes no tls settings; use protocol TLS"));
    }
    cx.warn_if(tls.https_redirect, &path.field("httpsRedirect"), "httpsRedirect has an effect on HTTP servers only");
    sources(cx, path, tls);
    versions_and_suites(cx, path, tls);
}

/// Where the certificates come from.
fn sources(cx: &mut Checker<'_>, path: &Path<'_>, tls: &ServerTlsSettings) {
    let files = !tls.server_certificate.is_empty() || !tls.private_key.is_empty();
    let secret = !tls.credential_name.is_empty() || !tls.credential_names.is_empty();
    let given = [files, !tls.credential_name.is_empty(), !tls.credential_names.is_empty(), !tls.tls_certificates.is_empty()];
    let count = given.iter().filter(|given| **given).count();
    let certificates = count > 0 || !tls.ca_certificates.is_empty();
    match tls.mode {
        ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough => {
            return cx.warn_if(certificates, path, "certificates have no effect in this mode, which does not decrypt");
        }
        ServerTlsMode::IstioMutual => {
            return cx.require(!certificates, path, "ISTIO_MUTUAL uses the workload's own certificate; remove the others");
        }
        ServerTlsMode::Simple | ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual => {}
    }
    let message =
        "expected one source of certificates: credentialName, credentialNames, tlsCertificates, or serverCertificate with privateKey";
    cx.require(count == 1, path, message);
    let pair = !tls.server_certificate.is_empty() && !tls.private_key.is_empty();
    cx.require(!files || pair, path, "expected both serverCertificate and privateKey");
    let many = tls.credential_names.len() > 2 || tls.tls_certificates.len() > 2;
    cx.warn_if(many, path, "only the first two certificates are used, one RSA and one ECDSA");
    let crl = &path.field("caCrl");
    cx.require(tls.ca_crl.is_empty() || tls.mode != ServerTlsMode::Simple, crl, "caCrl needs client certificates, so not mode SIMPLE");
    cx.require(tls.ca_crl.is_empty() || !secret, crl, "caCrl cannot be combined with credentialName");
    if tls.mode != ServerTlsMode::Simple && !secret {
        let ca = !tls.ca_certificates.is_empty() || !tls.ca_cert_credential_name.is_empty();
        cx.require(ca, &path.field("caCertificates"), "this mode verifies clients; expected caCertificates");
    }
    let ca_secret = !tls.ca_cert_credential_name.is_empty() && tls.mode == ServerTlsMode::Simple;
    cx.require(!ca_secret, &path.field("caCertCredentialName"), "caCertCredentialName has a meaning in MUTUAL and OPTIONAL_MUTUAL only");
}

/// Suites that Istio takes for TLS 1.2 and below.
const SUITES: &[&str] = &[
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-RSA-AES256-SHA",
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-SHA",
    "AES256-SHA",
    "DES-CBC3-SHA",
    "ALL",
    "",
];

fn versions_and_suites(cx: &mut Checker<'_>, path: &Path<'_>, tls: &ServerTlsSettings) {
    let old = matches!(tls.min_protocol_version, TlsProtocol::V1_0 | TlsProtocol::V1_1);
    cx.warn_if(old, &path.field("minProtocolVersion"), "TLS 1.0 and 1.1 are not supported; the lowest version is 1.2");
    let max = tls.max_protocol_version;
    let old = matches!(max, TlsProtocol::V1_0 | TlsProtocol::V1_1);
    cx.require(!old, &path.field("maxProtocolVersion"), "TLS 1.0 and 1.1 are not supported; expected TLSV1_2 or TLSV1_3");
    let crossed = max != TlsProtocol::Auto && tls.min_protocol_version > max;
    cx.require(!crossed, &path.field("maxProtocolVersion"), "the highest version is below the lowest");
    let mut seen = HashSet::new();
    for (index, suite) in tls.cipher_suites.iter().enumerate() {
        let at = path.field("cipherSuites");
        let operator = suite.starts_with(['-', '+', '!', '[']);
        if !operator && !SUITES.contains(&suite.as_str()) {
            cx.warning(&at.index(index), format!("unknown cipher suite {suite:?}, it is dropped"));
        }
        cx.warn_if(!seen.insert(suite), &at.index(index), "this cipher suite is listed twice");
    }
}
