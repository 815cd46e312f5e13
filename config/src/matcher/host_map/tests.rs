//! Tables of the lookup rules, and agreement with a naive reference.

use proptest::prelude::*;

use super::HostMap;

/// The rules in their plainest form: every domain compared with the host, the best one kept.
fn naive(domains: &[String], authority: &str) -> Option<usize> {
    let bracket = authority.rfind(']').map_or(0, |at| at + 1);
    let colons = authority.matches(':').count();
    let end = match authority[bracket..].rfind(':') {
        Some(at) if colons == 1 || bracket > 0 => bracket + at,
        _ => authority.len(),
    };
    let host = authority[..end].to_lowercase();
    let score = |domain: &str| match domain.to_lowercase().strip_prefix('*') {
        Some("") => Some(0),
        Some(suffix) => (host.len() > suffix.len() && host.ends_with(suffix)).then_some(suffix.len()),
        None => (host == domain.to_lowercase()).then_some(usize::MAX),
    };
    let mut best: Option<(usize, usize)> = None;
    for (position, domain) in domains.iter().enumerate() {
        if let Some(score) = score(domain).filter(|score| best.is_none_or(|(top, _)| *score > top)) {
            best = Some((score, position));
        }
    }
    best.map(|(_, position)| position)
}

fn map_of(domains: &[String]) -> HostMap {
    let mut map = HostMap::default();
    for (position, domain) in domains.iter().enumerate() {
        map.insert(domain, position);
    }
    map
}

#[test]
fn exact_beats_longest_wildcard_beats_any() {
    let domains: Vec<String> =
        ["*", "*.example.com", "*.a.example.com", "a.example.com", "*ample.org", "10.0.0.7", "[2001:db8::1]", "svc.ns.svc.cluster.local."]
            .map(str::to_owned)
            .to_vec();
    let map = map_of(&domains);
    for (authority, expected) in [
        ("a.example.com", 3),
        ("A.EXAMPLE.com:8080", 3),
        ("b.example.com", 1),
        ("b.a.example.com", 2),
        ("c.b.a.example.com:1", 2),
        ("example.com", 0),
        ("example.org", 4),
        ("ample.org", 0),
        ("10.0.0.7:80", 5),
        ("[2001:db8::1]", 6),
        ("[2001:DB8::1]:80", 6),
        ("[2001:db8::2]:80", 0),
        ("2001:db8::1", 0),
        ("svc.ns.svc.cluster.local.:80", 7),
        ("svc.ns.svc.cluster.local", 0),
        ("", 0),
        (":80", 0),
    ] {
        assert_eq!(map.find(authority), Some(expected), "{authority}");
    }
}

#[test]
fn nothing_matches_without_a_catch_all() {
    let map = map_of(&["a.com".to_owned(), "*.b.com".to_owned()]);
    for authority in ["b.com", ".b.com", "a.co", "a.com.", "", &"A".repeat(300), "b\u{e9}.B.com"] {
        let expected = (authority == "b\u{e9}.B.com").then_some(1);
        assert_eq!(map.find(authority), expected, "{authority}");
    }
}

#[test]
fn the_first_owner_keeps_a_domain() {
    let mut map = HostMap::default();
    assert!(map.insert("a.com", 0) && map.insert("*.com", 0) && map.insert("*", 0));
    assert!(!map.insert("A.com", 1) && !map.insert("*.COM", 1) && !map.insert("*", 1));
    assert_eq!([map.find("a.com"), map.find("b.com"), map.find("x")], [Some(0); 3]);
}

proptest! {
    #[test]
    fn agrees_with_the_naive_reference(
        domains in prop::collection::vec("(\\*|\\*\\.|\\*b|)((a|b|A)\\.){0,3}(a|b|com)?|\\*", 0..12),
        hosts in prop::collection::vec("((a|b|B|ab)\\.){0,4}(a|b|com|COM)?(:[0-9]{1,2})?", 1..12),
    ) {
        let map = map_of(&domains);
        for host in hosts {
            prop_assert_eq!(map.find(&host), naive(&domains, &host), "{:?} in {:?}", host, domains);
        }
    }
}
