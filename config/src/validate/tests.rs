//! The shared rules as tables. What each kind's rules say is in `tests/golden`.

use super::common::{covers, domain, is_dns_label, is_label_key, is_label_value, is_subnet, overlap, wildcard_domain};
use crate::api::kubernetes::{LabelSelector, Timestamp};

#[test]
fn host_names_and_wildcards_follow_istios_syntax() {
    for host in ["a", "a.b", "a.b.", "A-1.example.com", "xn--d1acpjx3f.xn--p1ai", "1.example", &"a".repeat(63)] {
        assert_eq!(domain(host), Ok(()), "{host}");
        assert_eq!(wildcard_domain(host), Ok(()), "{host}");
    }
    for host in ["", ".", "a..b", "-a", "a-", "a_b", "a.*", "10.0.0.1", "a b", "é.com", &"a".repeat(64), &"a.".repeat(200)] {
        assert!(domain(host).is_err(), "{host}");
    }
    for host in ["*", "*.a", "*-a.b", "*a.b"] {
        assert_eq!(wildcard_domain(host), Ok(()), "{host}");
    }
    for host in ["**", "*.*.a", "a*", "a.*.b", "*.", "*-"] {
        assert!(wildcard_domain(host).is_err(), "{host}");
    }
}

#[test]
fn wildcards_cover_subdomains_but_not_the_bare_domain() {
    for (pattern, host, expected) in [
        ("*.foo.com", "a.foo.com", true),
        ("*.foo.com", "a.b.foo.com", true),
        ("*.foo.com", "foo.com", false),
        ("*.foo.com", "*.b.foo.com", true),
        ("*.b.foo.com", "*.foo.com", false),
        ("*", "anything", true),
        ("*foo.com", "barfoo.com", true),
        ("A.com", "a.com", true),
        ("a.com", "*.com", false),
    ] {
        assert_eq!(covers(pattern, host), expected, "{pattern} {host}");
    }
    assert!(overlap("a.com", "*.com") && overlap("*.com", "a.com") && !overlap("*.a.com", "*.b.com"));
}

#[test]
fn labels_are_kubernetes_labels() {
    for value in ["", "a", "A.b_c-1", &"x".repeat(63)] {
        assert!(is_label_value(value), "{value}");
    }
    for value in ["-a", "a-", "a b", "a/b", "é", &"x".repeat(64)] {
        assert!(!is_label_value(value), "{value}");
    }
    assert!(is_label_key("app") && is_label_key("app.kubernetes.io/name"));
    assert!(!is_label_key("") && !is_label_key("/a") && !is_label_key("a/") && !is_label_key("A.io/b/c"));
    assert!(is_dns_label("a-1") && !is_dns_label("A") && !is_dns_label("a.b") && !is_dns_label(""));
}

#[test]
fn subnets_are_addresses_or_ranges() {
    assert!(is_subnet("10.0.0.1") && is_subnet("10.0.0.0/8") && is_subnet("::1") && is_subnet("fd00::/8"));
    assert!(!is_subnet("10.0.0.0/33") && !is_subnet("a") && !is_subnet("10.0.0"));
}

#[test]
fn times_are_rfc_3339_in_whole_seconds() {
    let at = |text| Timestamp::parse(text).map(|time| time.0);
    assert_eq!(at("1970-01-01T00:00:00Z"), Some(0));
    assert_eq!(at("2024-02-29T12:34:56.789Z"), Some(1_709_210_096));
    assert_eq!(at("2000-03-01T00:00:00+01:30"), Some(951_863_400));
    assert_eq!(at("1969-12-31T23:59:59Z"), Some(-1));
    for text in
        ["", "2024-01-01", "2024-13-01T00:00:00Z", "2024-01-01T25:00:00Z", "2024-01-01T00:00:00", "2024-01-01T00:00:00Zx", "é-01-01T0:0:0Z"]
    {
        assert_eq!(at(text), None, "{text}");
    }
}

#[test]
fn selectors_with_expressions_need_all_of_them() {
    let selector = |text: &str| {
        let node = crate::yaml::documents(text).remove(0).node.expect("readable");
        let mut cx = crate::decode::Decoder::new(crate::decode::Dialect::Kubernetes);
        let selector: LabelSelector = crate::decode::Decode::decode(&node, &crate::decode::Path::Root, &mut cx);
        assert!(cx.into_problems().is_empty());
        selector
    };
    let labels = [("app", "shop"), ("tier", "web")].map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    for (text, expected) in [
        ("{matchLabels: {app: shop}}", true),
        ("{matchLabels: {app: other}}", false),
        ("{matchExpressions: [{key: app, operator: In, values: [shop, x]}, {key: gone, operator: DoesNotExist}]}", true),
        ("{matchExpressions: [{key: app, operator: NotIn, values: [shop]}]}", false),
        ("{matchExpressions: [{key: gone, operator: NotIn, values: [x]}, {key: tier, operator: Exists}]}", true),
        ("{matchExpressions: [{key: app, operator: Like, values: [shop]}]}", false),
    ] {
        assert_eq!(selector(text).matches(&labels), expected, "{text}");
    }
}
