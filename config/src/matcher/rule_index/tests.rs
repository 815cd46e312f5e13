//! The index and its naive twin give the same answer for random rules and requests.

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::Table;
use crate::matcher::{FullRegex, HeaderKey, HeaderMatch, PathMatch, QueryMatch, RequestHead, RouteMatch, StringMatch};

fn text() -> impl Strategy<Value = String> {
    "(/|/a|/b|/ab|/A|/aB|x){0,4}"
}

fn path_match() -> impl Strategy<Value = PathMatch> {
    prop_oneof![
        (text(), any::<bool>()).prop_map(|(path, ignore_case)| PathMatch::Exact { path, ignore_case }),
        (text(), any::<bool>()).prop_map(|(prefix, ignore_case)| PathMatch::Prefix { prefix, ignore_case }),
        prop_oneof![Just("/a.*"), Just("/(a|ab)"), Just(".*b"), Just("/[ab]/?"), Just("(?i)/AB.*"), Just("/a|/ab|")]
            .prop_map(|source| PathMatch::Regex(FullRegex::new(source).expect("valid"))),
    ]
}

fn string_match() -> impl Strategy<Value = StringMatch> {
    prop_oneof![
        Just(StringMatch::Exact("v".to_owned())),
        Just(StringMatch::Exact(String::new())),
        Just(StringMatch::Prefix("v".to_owned())),
        Just(StringMatch::Regex(FullRegex::new("v|w.*").expect("valid"))),
        Just(StringMatch::Present),
    ]
}

fn rule() -> impl Strategy<Value = RouteMatch> {
    let header = (string_match(), any::<bool>()).prop_map(|(value, invert)| HeaderMatch {
        name: HeaderKey::Header(HeaderName::from_static("x-k")),
        value,
        invert,
    });
    let query = string_match().prop_map(|value| QueryMatch { name: "q".to_owned(), value });
    let method = prop::option::weighted(0.2, Just(StringMatch::Exact("POST".to_owned())));
    (path_match(), method, prop::collection::vec(header, 0..2), prop::collection::vec(query, 0..2))
        .prop_map(|(path, method, headers, query)| RouteMatch { path, method: method.map(Box::new), headers, query, ..RouteMatch::any() })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
    #[test]
    fn agrees_with_trying_the_rules_in_order(
        rules in prop::collection::vec(rule(), 0..24),
        path in text(),
        method in prop_oneof![Just("GET"), Just("POST")],
        values in prop::collection::vec(prop_oneof![Just("v"), Just("w1"), Just("")], 0..3),
        query in prop::option::of(prop_oneof![Just("q=v"), Just("p=1&q"), Just("q=x&q=v"), Just("")]),
    ) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("x-k", HeaderValue::from_static(value));
        }
        let head = RequestHead { method, scheme: "http", authority: "a.com", path: &path, query, headers: &headers };
        let naive = rules.iter().position(|rule| rule.is_match(&head));
        let table = Table::new(rules.iter());
        prop_assert_eq!(table.find(&head, |position| rules.get(position)), naive);
    }
}

#[test]
fn rules_that_share_a_path_are_decided_by_order() {
    let exact = |path: &str, method: Option<&str>| RouteMatch {
        path: PathMatch::Exact { path: path.to_owned(), ignore_case: false },
        method: method.map(|method| Box::new(StringMatch::Exact(method.to_owned()))),
        ..RouteMatch::any()
    };
    let rules = [exact("/a", Some("PUT")), RouteMatch::any(), exact("/a", None)];
    let table = Table::new(rules.iter());
    let headers = HeaderMap::new();
    let find = |method, path| {
        let head = RequestHead { method, scheme: "http", authority: "", path, query: None, headers: &headers };
        table.find(&head, |position| rules.get(position))
    };
    assert_eq!(find("PUT", "/a"), Some(0));
    assert_eq!(find("GET", "/a"), Some(1), "the earlier prefix wins over the later exact path");
    assert_eq!(find("GET", "*"), None);
}
