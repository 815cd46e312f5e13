//! Tables for Istio semantics 1.5: paths, headers, `withoutHeaders`, query parameters.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::*;

fn regex(source: &str) -> StringMatch {
    StringMatch::Regex(FullRegex::new(source).expect("valid"))
}

fn exact(text: &str) -> StringMatch {
    StringMatch::Exact(text.to_owned())
}

fn head<'a>(headers: &'a HeaderMap, query: Option<&'a str>) -> RequestHead<'a> {
    RequestHead { method: "GET", scheme: "http", authority: "Shop.example:80", path: "/a/b", query, headers }
}

#[test]
fn paths_match_whole_by_prefix_or_by_expression() {
    let path = |text: &str, ignore_case| PathMatch::Exact { path: text.into(), ignore_case };
    let prefix = |text: &str, ignore_case| PathMatch::Prefix { prefix: text.into(), ignore_case };
    for (condition, input, expected) in [
        (path("/a", false), "/a", true),
        (path("/a", false), "/a/", false),
        (path("/A", true), "/a", true),
        (prefix("/foo", false), "/foobar", true),
        (prefix("/foo", false), "/Foo", false),
        (prefix("/FOO", true), "/foobar", true),
        (prefix("/foo", true), "/f\u{f6}o", false),
        (PathMatch::Regex(FullRegex::new("/a/[0-9]+").expect("valid")), "/a/12", true),
        (PathMatch::Regex(FullRegex::new("/a/[0-9]+").expect("valid")), "/a/12/", false),
        (PathMatch::any(), "/", true),
        (PathMatch::any(), "*", false),
    ] {
        assert_eq!(condition.is_match(input), expected, "{condition:?} on {input}");
    }
}

#[test]
fn header_conditions_join_repeats_and_treat_absence_as_istio_does() {
    let name = HeaderKey::Header(HeaderName::from_static("x-k"));
    let cases: [(StringMatch, bool, &[&str], bool); 15] = [
        (exact("v"), false, &["v"], true),
        (exact("v"), false, &["V"], false),
        (exact("v"), false, &[], false),
        (exact("a,b"), false, &["a", "b"], true),
        (exact("a"), false, &["a", "b"], false),
        (exact(""), false, &[""], true),
        (exact(""), false, &[], false),
        (StringMatch::Present, false, &[""], true),
        (StringMatch::Present, false, &[], false),
        (StringMatch::Present, true, &[], true),
        (StringMatch::Present, true, &["x"], false),
        (exact("x"), true, &[], true),
        (exact("x"), true, &["x"], false),
        (regex(".*"), true, &[], false),
        (regex(".*"), true, &["x"], false),
    ];
    for (value, invert, sent, expected) in cases {
        let mut headers = HeaderMap::new();
        for value in sent {
            headers.append("x-k", HeaderValue::from_static(value));
        }
        let condition = HeaderMatch { name: name.clone(), value, invert };
        assert_eq!(condition.is_match(&head(&headers, None)), expected, "{condition:?} on {sent:?}");
    }
}

#[test]
fn pseudo_headers_are_conditions_too_and_path_carries_the_query() {
    let headers = HeaderMap::new();
    for (key, value, query, expected) in [
        (":method", "GET", None, true),
        (":scheme", "http", None, true),
        (":authority", "Shop.example:80", None, true),
        ("Host", "Shop.example:80", None, true),
        ("host", "shop.example", None, false),
        (":path", "/a/b", None, true),
        (":path", "/a/b?x=1", Some("x=1"), true),
        (":path", "/a/b", Some("x=1"), false),
    ] {
        let condition = HeaderMatch { name: HeaderKey::parse(key).expect("a key"), value: exact(value), invert: false };
        assert_eq!(condition.is_match(&head(&headers, query)), expected, "{key} {value}");
    }
    assert_eq!(HeaderKey::parse(":unknown"), None);
    assert_eq!(HeaderKey::parse("a b"), None);
}

#[test]
fn the_first_occurrence_of_a_query_parameter_counts_and_is_not_decoded() {
    for (value, query, expected) in [
        (exact("1"), Some("q=1"), true),
        (exact("1"), Some("q=2&q=1"), false),
        (exact("1"), Some("Q=1"), false),
        (exact("a b"), Some("q=a%20b"), false),
        (exact("a%20b"), Some("q=a%20b"), true),
        (exact(""), Some("q"), true),
        (StringMatch::Present, Some("p&q"), true),
        (StringMatch::Present, Some("p"), false),
        (StringMatch::Present, None, false),
        (regex("v[0-9]"), Some("x=&q=v1"), true),
    ] {
        let condition = QueryMatch { name: "q".to_owned(), value };
        assert_eq!(condition.is_match(query), expected, "{condition:?} on {query:?}");
    }
}

#[test]
fn a_catch_all_is_recognised() {
    let with_path = |path| RouteMatch { path, ..RouteMatch::any() };
    assert!(RouteMatch::any().is_catch_all());
    assert!(with_path(PathMatch::Regex(FullRegex::new(".*").expect("valid"))).is_catch_all());
    assert!(!with_path(PathMatch::Exact { path: "/".into(), ignore_case: false }).is_catch_all());
    assert!(!RouteMatch { method: Some(Box::new(exact("GET"))), ..RouteMatch::any() }.is_catch_all());
}
