//! Rules for DestinationRule.

use super::Checker;
use super::common::{domain, is_dns_label, is_ip};
use crate::api::destination_rule::{
    ClientTlsMode, ClientTlsSettings, ConnectionPoolSettings, ConsistentHashLb, DestinationRule, H2UpgradePolicy, LoadBalancerSettings,
    LocalityLbSetting, OutlierDetection, PortTrafficPolicy, TrafficPolicy, TunnelSettings,
};
use crate::decode::Path;
use crate::diagnostic::Severity;
use crate::object::ObjectId;

pub(super) fn check(cx: &mut Checker<'_>, spec: &Path<'_>, id: &ObjectId, body: &DestinationRule) {
    match body.host.as_str() {
        "" => cx.error(&spec.field("host"), "expected the name of a service"),
        host => cx.wildcard_host(&spec.field("host"), host),
    }
    cx.export_to(&spec.field("exportTo"), &body.export_to, &id.namespace, false);
    if let Some(policy) = &body.traffic_policy {
        traffic_policy(cx, &spec.field("trafficPolicy"), policy);
    }
    let subsets = &spec.field("subsets");
    cx.unique(subsets, body.subsets.iter().map(|subset| subset.name.as_str()), "subset");
    for (index, subset) in body.subsets.iter().enumerate() {
        let at = subsets.index(index);
        if !is_dns_label(&subset.name) {
            cx.error(&at.field("name"), format!("expected the name of a subset (a DNS label), found {:?}", subset.name));
        }
        cx.labels(&at.field("labels"), &subset.labels);
        if let Some(policy) = &subset.traffic_policy {
            traffic_policy(cx, &at.field("trafficPolicy"), policy);
        }
    }
    if let Some(selector) = &body.workload_selector {
        let at = spec.field("workloadSelector");
        cx.selector(&at.field("matchLabels"), &selector.match_labels);
        let own = body.export_to.iter().all(|entry| entry == "." || **entry == *id.namespace);
        cx.require(own, &spec.field("exportTo"), "a rule with a workloadSelector acts in its own namespace; expected \".\"");
    }
}

fn traffic_policy(cx: &mut Checker<'_>, path: &Path<'_>, policy: &TrafficPolicy) {
    cx.require(*policy != TrafficPolicy::default(), path, "expected at least one setting in trafficPolicy");
    let both = policy.tunnel.is_some() && policy.proxy_protocol.is_some();
    cx.require(!both, &path.field("proxyProtocol"), "proxyProtocol cannot be combined with tunnel");
    load_balancer(cx, &path.field("loadBalancer"), policy.load_balancer.as_ref(), policy.outlier_detection.is_some());
    connection_pool(cx, &path.field("connectionPool"), policy.connection_pool.as_ref());
    outlier_detection(cx, &path.field("outlierDetection"), policy.outlier_detection.as_ref());
    tls(cx, &path.field("tls"), policy.tls.as_ref(), "IST0128");
    let ports = &path.field("portLevelSettings");
    for (index, port) in policy.port_level_settings.iter().enumerate() {
        port_policy(cx, &ports.index(index), port);
    }
    if let Some(settings) = &policy.tunnel {
        tunnel(cx, &path.field("tunnel"), settings);
    }
    if let Some(percent) = policy.retry_budget.as_ref().and_then(|budget| budget.percent) {
        cx.require((0.0..=100.0).contains(&percent), &path.field("retryBudget").field("percent"), "expected a percentage from 0 to 100");
    }
}

fn port_policy(cx: &mut Checker<'_>, path: &Path<'_>, policy: &PortTrafficPolicy) {
    match &policy.port {
        Some(port) => cx.port(&path.field("port").field("number"), port.number),
        None => cx.error(&path.field("port"), "expected the number of a service port"),
    }
    let nothing =
        policy.load_balancer.is_none() && policy.connection_pool.is_none() && policy.outlier_detection.is_none() && policy.tls.is_none();
    cx.require(!nothing, path, "expected at least one of loadBalancer, connectionPool, outlierDetection, tls");
    load_balancer(cx, &path.field("loadBalancer"), policy.load_balancer.as_ref(), policy.outlier_detection.is_some());
    connection_pool(cx, &path.field("connectionPool"), policy.connection_pool.as_ref());
    outlier_detection(cx, &path.field("outlierDetection"), policy.outlier_detection.as_ref());
    tls(cx, &path.field("tls"), policy.tls.as_ref(), "IST0129");
}

fn load_balancer(cx: &mut Checker<'_>, path: &Path<'_>, settings: Option<&LoadBalancerSettings>, detects_outliers: bool) {
    let Some(settings) = settings else { return };
    if let Some(hash) = &settings.consistent_hash {
        consistent_hash(cx, &path.field("consistentHash"), hash);
    }
    if let Some(locality) = &settings.locality_lb_setting {
        locality_lb(cx, &path.field("localityLbSetting"), locality, detects_outliers);
    }
    let deprecated = settings.warmup_duration_secs.is_some();
    cx.warn_if(deprecated, &path.field("warmupDurationSecs"), "warmupDurationSecs is deprecated; use warmup.duration");
    let Some(warmup) = &settings.warmup else { return };
    let at = &path.field("warmup");
    cx.require(warmup.duration.is_some(), &at.field("duration"), "expected a duration");
    cx.duration(&at.field("duration"), warmup.duration);
    let percent = warmup.minimum_percent.is_none_or(|percent| (0.0..=100.0).contains(&percent));
    cx.require(percent, &at.field("minimumPercent"), "expected a percentage from 0 to 100");
    cx.require(warmup.aggression.is_none_or(|value| value > 0.0), &at.field("aggression"), "expected a number above 0");
}

fn consistent_hash(cx: &mut Checker<'_>, path: &Path<'_>, hash: &ConsistentHashLb) {
    if let Some(cookie) = &hash.http_cookie {
        cx.require(!cookie.name.is_empty(), &path.field("httpCookie").field("name"), "expected the name of a cookie");
    }
    if let Some(maglev) = &hash.maglev {
        let fits = maglev.table_size < 5_000_011 && is_prime(maglev.table_size);
        cx.require(fits, &path.field("maglev").field("tableSize"), "expected a prime number below 5000011, such as 65537");
    }
    if hash.minimum_ring_size != 0 {
        let at = &path.field("minimumRingSize");
        cx.warning(at, "minimumRingSize is deprecated here; use ringHash.minimumRingSize");
        cx.require(hash.ring_hash.is_none() && hash.maglev.is_none(), at, "minimumRingSize cannot be combined with ringHash or maglev");
    }
}

fn is_prime(number: u64) -> bool {
    number >= 2 && (2..).take_while(|factor| factor * factor <= number).all(|factor| !number.is_multiple_of(factor))
}

fn locality_lb(cx: &mut Checker<'_>, path: &Path<'_>, setting: &LocalityLbSetting, detects_outliers: bool) {
    let both = !setting.distribute.is_empty() && !setting.failover.is_empty();
    cx.require(!both, &path.field("failover"), "failover cannot be combined with distribute");
    for (index, entry) in setting.distribute.iter().enumerate() {
        let list = path.field("distribute");
        let at = list.index(index);
        let sum: u64 = entry.to.values().map(|weight| u64::from(*weight)).sum();
        let each = entry.to.values().all(|weight| (1..=100).contains(weight));
        cx.require(each && sum == 100, &at.field("to"), "expected weights from 1 to 100 that sum to 100");
        for locality in std::iter::once(&entry.from).chain(entry.to.keys()) {
            let star = locality.find('*').is_none_or(|star| star + 1 == locality.len() && (star == 0 || locality[..star].ends_with('/')));
            cx.require(star, &at, "\"*\" may stand once, at the end of a locality");
        }
    }
    for (index, entry) in setting.failover.iter().enumerate() {
        let regions = [&entry.from, &entry.to].into_iter().all(|region| !region.contains(['/', '*']));
        let message = "expected two different regions, without zone and without \"*\"";
        cx.require(regions && entry.from != entry.to, &path.field("failover").index(index), message);
    }
    let fails_over = !setting.failover.is_empty() || !setting.failover_priority.is_empty();
    cx.warn_if(fails_over && !detects_outliers, path, "failover needs outlierDetection in the same policy; without it nothing fails over");
}

fn connection_pool(cx: &mut Checker<'_>, path: &Path<'_>, settings: Option<&ConnectionPoolSettings>) {
    let Some(settings) = settings else { return };
    cx.require(settings.tcp.is_some() || settings.http.is_some(), path, "expected tcp or http");
    if let Some(tcp) = &settings.tcp {
        let at = &path.field("tcp");
        cx.require(*tcp != Default::default(), at, "expected at least one setting");
        cx.not_negative(&at.field("maxConnections"), tcp.max_connections);
        cx.duration(&at.field("connectTimeout"), tcp.connect_timeout);
        cx.duration(&at.field("maxConnectionDuration"), tcp.max_connection_duration);
        cx.duration_or_zero(&at.field("idleTimeout"), tcp.idle_timeout);
    }
    if let Some(http) = &settings.http {
        let at = &path.field("http");
        cx.require(*http != Default::default(), at, "expected at least one setting");
        cx.not_negative(&at.field("http1MaxPendingRequests"), http.http1_max_pending_requests);
        cx.not_negative(&at.field("http2MaxRequests"), http.http2_max_requests);
        cx.not_negative(&at.field("maxRequestsPerConnection"), http.max_requests_per_connection);
        cx.not_negative(&at.field("maxRetries"), http.max_retries);
        cx.not_negative(&at.field("maxConcurrentStreams"), http.max_concurrent_streams);
        cx.duration_or_zero(&at.field("idleTimeout"), http.idle_timeout);
        let both = http.use_client_protocol && http.h2_upgrade_policy == H2UpgradePolicy::Upgrade;
        cx.require(!both, &at.field("useClientProtocol"), "useClientProtocol cannot be combined with h2UpgradePolicy UPGRADE");
        if let Some(pings) = &http.http2_keep_alive {
            let complete = pings.interval.is_some() && pings.timeout.is_some();
            cx.require(complete, &at.field("http2KeepAlive"), "expected both interval and timeout");
        }
    }
}

fn outlier_detection(cx: &mut Checker<'_>, path: &Path<'_>, settings: Option<&OutlierDetection>) {
    let Some(settings) = settings else { return };
    let removed = settings.consecutive_errors != 0;
    cx.warn_if(removed, &path.field("consecutiveErrors"), "Istio has removed consecutiveErrors; it is ignored, use consecutive5xxErrors");
    let local = settings.consecutive_local_origin_failures.is_some_and(|failures| failures > 0);
    cx.require(
        !local || settings.split_external_local_origin_errors,
        &path.field("consecutiveLocalOriginFailures"),
        "this needs splitExternalLocalOriginErrors: true",
    );
    cx.duration(&path.field("interval"), settings.interval);
    cx.duration(&path.field("baseEjectionTime"), settings.base_ejection_time);
    for (field, percent) in [("maxEjectionPercent", settings.max_ejection_percent), ("minHealthPercent", settings.min_health_percent)] {
        cx.require((0..=100).contains(&percent), &path.field(field), "expected a percentage from 0 to 100");
    }
}

/// `unverified` is the code for a mode that verifies nobody, at this level.
fn tls(cx: &mut Checker<'_>, path: &Path<'_>, settings: Option<&ClientTlsSettings>, unverified: &'static str) {
    let Some(settings) = settings else { return };
    let by_secret = !settings.credential_name.is_empty();
    let files = [&settings.client_certificate, &settings.private_key, &settings.ca_certificates, &settings.ca_crl];
    if settings.mode == ClientTlsMode::IstioMutual {
        return;
    }
    cx.require(
        !by_secret || files.iter().all(|file| file.is_empty()),
        &path.field("credentialName"),
        "credentialName cannot be combined with file paths",
    );
    let pair = !settings.client_certificate.is_empty() && !settings.private_key.is_empty();
    let mutual = settings.mode == ClientTlsMode::Mutual;
    cx.require(!mutual || pair || by_secret, path, "MUTUAL needs clientCertificate and privateKey, or credentialName");
    let insecure = settings.insecure_skip_verify == Some(true);
    let verifies = !settings.ca_certificates.is_empty() || !settings.subject_alt_names.is_empty();
    let simple = settings.mode == ClientTlsMode::Simple;
    let at = &path.field("insecureSkipVerify");
    cx.require(!insecure || !verifies, at, "insecureSkipVerify cannot be combined with caCertificates or subjectAltNames");
    cx.require(!insecure || !simple || !by_secret, at, "insecureSkipVerify cannot be combined with credentialName in mode SIMPLE");
    if (simple || mutual) && settings.ca_certificates.is_empty() && !by_secret && !insecure {
        let message = "without caCertificates the server is verified against the roots of the operating system";
        cx.push(Severity::Warning, unverified, path, message.into());
    }
}

fn tunnel(cx: &mut Checker<'_>, path: &Path<'_>, settings: &TunnelSettings) {
    let known = matches!(settings.protocol.as_str(), "" | "CONNECT" | "POST");
    cx.require(known, &path.field("protocol"), "expected CONNECT or POST");
    let host = is_ip(&settings.target_host) || domain(&settings.target_host).is_ok();
    cx.require(host, &path.field("targetHost"), "expected a host name or an IP address");
    cx.port(&path.field("targetPort"), settings.target_port);
}
