//! Host names as configuration writes them: completion of short names, wildcards, the names a service answers to.
//!
//! Source: Istio semantics 0.3 and 1.2 (domains), 3.4 (intersection). All results are in lower case.

use std::net::IpAddr;

/// Completes a short name (no dot, no address, not `*`) with the namespace of the rule that wrote it.
pub(super) fn expand(host: &str, namespace: &str, cluster_domain: &str) -> String {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    if host.is_empty() || host == "*" || host.contains('.') || host.parse::<IpAddr>().is_ok() {
        return host;
    }
    [&*host, ".", namespace, ".svc.", cluster_domain].concat()
}

/// The narrower of two host patterns when one covers the other: what a VirtualService host and a Gateway server host
/// have in common.
pub(super) fn intersection<'h>(a: &'h str, b: &'h str) -> Option<&'h str> {
    match (covers(a, b), covers(b, a)) {
        (true, _) => Some(b),
        (_, true) => Some(a),
        _ => None,
    }
}

/// Whether every name that `narrow` stands for is also one of `wide`. Both may be wildcards.
pub(super) fn covers(wide: &str, narrow: &str) -> bool {
    match wide.strip_prefix('*') {
        None => wide == narrow,
        Some(suffix) => match narrow.strip_prefix('*') {
            Some(inner) => inner.ends_with(suffix),
            None => narrow.len() > suffix.len() && narrow.ends_with(suffix),
        },
    }
}

/// The names under which clients in `client_namespace` reach a host: itself, with a trailing dot, and the shorter
/// forms of a Kubernetes name.
pub(super) fn names(host: &str, client_namespace: &str, cluster_domain: &str) -> Vec<String> {
    let mut names = Vec::with_capacity(5);
    names.push(host.to_owned());
    if !host.starts_with('*') && host.parse::<IpAddr>().is_err() {
        names.push([host, "."].concat());
    }
    let svc = host.strip_suffix(cluster_domain).and_then(|rest| rest.strip_suffix(".svc."));
    if let Some((name, namespace)) = svc.and_then(|short| short.rsplit_once('.')) {
        if namespace == client_namespace {
            names.push(name.to_owned());
        }
        names.push([name, ".", namespace].concat());
        names.push([name, ".", namespace, ".svc"].concat());
    }
    names
}

/// An address as a Host header writes it: IPv6 in brackets.
pub(super) fn address_domain(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// Istio's name of an outbound cluster.
pub(super) fn outbound_cluster(port: u16, subset: &str, host: &str) -> String {
    format!("outbound|{port}|{subset}|{host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_take_the_rules_namespace_and_others_stay() {
        for (host, expected) in [
            ("reviews", "reviews.prod.svc.cluster.local"),
            ("Reviews", "reviews.prod.svc.cluster.local"),
            ("reviews.prod", "reviews.prod"),
            ("*", "*"),
            ("*.foo.com", "*.foo.com"),
            ("10.0.0.1", "10.0.0.1"),
            ("::1", "::1"),
            ("a.b.", "a.b"),
        ] {
            assert_eq!(expand(host, "prod", "cluster.local"), expected);
        }
    }

    #[test]
    fn the_narrower_host_is_what_two_patterns_share() {
        for (a, b, expected) in [
            ("a.foo.com", "*.foo.com", Some("a.foo.com")),
            ("*.foo.com", "a.b.foo.com", Some("a.b.foo.com")),
            ("*.a.foo.com", "*.foo.com", Some("*.a.foo.com")),
            ("*", "*.foo.com", Some("*.foo.com")),
            ("*", "*", Some("*")),
            ("foo.com", "*.foo.com", None),
            ("a.com", "b.com", None),
            ("*.foo.com", "*.bar.com", None),
        ] {
            assert_eq!(intersection(a, b), expected, "{a} and {b}");
            assert_eq!(intersection(b, a), expected, "{b} and {a}");
        }
    }

    #[test]
    fn a_kubernetes_name_has_short_forms_and_the_shortest_only_at_home() {
        let at = |namespace| names("a.shop.svc.cluster.local", namespace, "cluster.local");
        let away = ["a.shop.svc.cluster.local", "a.shop.svc.cluster.local.", "a.shop", "a.shop.svc"];
        assert_eq!(at("other"), away);
        assert_eq!(at("shop"), [away[0], away[1], "a", away[2], away[3]]);
        assert_eq!(names("a.com", "shop", "cluster.local"), ["a.com", "a.com."]);
        assert_eq!(names("*.a.com", "shop", "cluster.local"), ["*.a.com"]);
    }
}
