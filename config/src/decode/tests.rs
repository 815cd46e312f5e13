//! Names, scalars, durations and suggestions.

use std::time::Duration;

use proptest::prelude::*;

use super::{Bytes, Decode, Decoder, Dialect, IntOrString, Path, Step, api_struct, camel, closest, parse_duration, steps};
use crate::string_map::StringMap;
use crate::yaml::documents;

api_struct! {
    /// All kinds of fields.
    pub struct Sample {
        /// A number.
        pub max_retries: i32,
        /// A wrapper.
        pub http1_limit: Option<u32>,
        /// A keyword.
        pub matches: Vec<String> = "match",
        /// A map with nulls.
        pub without: StringMap<Option<bool>>,
        /// A share.
        pub share: f64,
        /// Bytes.
        pub body: Bytes,
        /// A port.
        pub port: IntOrString,
        /// Time.
        pub timeout: Option<Duration>,
    }
    oneof ["body", "port"]
    also ["elsewhere"]
}

/// The value and `line:column field: message` of each problem.
fn decode(dialect: Dialect, text: &str) -> (Sample, Vec<String>) {
    let node = documents(text).remove(0).node.expect("readable");
    let mut cx = Decoder::new(dialect);
    let value = Sample::decode(&node, &Path::Root, &mut cx);
    let problems = cx.into_problems();
    (value, problems.into_iter().map(|p| format!("{} {} {}: {}", p.position, p.severity, p.field, p.message)).collect())
}

#[test]
fn istio_takes_both_spellings_and_numbers_as_strings() {
    for text in ["maxRetries: 3\nhttp1Limit: 4", "max_retries: '3'\nhttp1_limit: 4.0", "maxRetries: 3e0\nhttp1_limit: '4'"] {
        let (value, problems) = decode(Dialect::Istio, text);
        assert_eq!((value.max_retries, value.http1_limit, problems), (3, Some(4), vec![]), "{text}");
    }
}

#[test]
fn kubernetes_takes_camel_case_and_real_numbers_only() {
    let (value, problems) = decode(Dialect::Kubernetes, "max_retries: 3\nhttp1Limit: '4'");
    assert_eq!((value.max_retries, value.http1_limit), (0, Some(0)));
    assert_eq!(
        problems,
        [
            "1:1 Warning maxRetries: unknown field, did you mean \"maxRetries\"? It is ignored",
            "2:13 Error http1Limit: expected a whole number, found the string \"4\"",
        ]
    );
}

#[test]
fn absent_null_and_zero_are_told_apart_where_the_api_does() {
    let (value, problems) = decode(Dialect::Istio, "http1Limit: 0\nmaxRetries: null\nwithout: {a: null, b: true}\nelsewhere: {x: 1}");
    assert_eq!(value.http1_limit, Some(0));
    assert_eq!(value.timeout, None);
    assert_eq!(value.without, StringMap::from([("a".into(), None), ("b".into(), Some(true))]));
    assert!(problems.is_empty(), "{problems:?}");
}

#[test]
fn every_problem_is_told_with_its_place() {
    let text = "maxRetries: 99999999999\nmatch: x\nshare: much\nbody: '!'\nport: [1]\ntimeout: -1s\nwithout: {a: 1}\n";
    let (_, problems) = decode(Dialect::Istio, text);
    assert_eq!(
        problems,
        [
            "5:1 Error port: only one of \"body\" and \"port\" may be set",
            "1:13 Error maxRetries: expected a whole number from -2147483648 to 2147483647, found the number 99999999999",
            "2:8 Error match: expected a list, found the string \"x\"",
            "7:14 Error without[a]: expected true or false, found the number 1",
            "3:8 Error share: expected a number, found the string \"much\"",
            "4:7 Error body: expected bytes in base64, found something else",
            "5:7 Error port: expected a whole number, found a list",
            "6:10 Error timeout: expected a duration such as \"1.5s\", \"250ms\" or \"1h30m\", found the string \"-1s\"",
        ]
    );
}

#[test]
fn bytes_are_base64_in_any_alphabet_with_or_without_padding() {
    for text in ["-_8=", "+/8", "+/\n8="] {
        let (value, problems) = decode(Dialect::Istio, &format!("body: {text:?}"));
        assert_eq!((value.body.0.as_slice(), problems), ([0xfb, 0xff].as_slice(), vec![]), "{text:?}");
    }
    assert_eq!(format!("{:?}", Bytes(vec![1, 2])), "Bytes(2 bytes)", "never the content");
}

#[test]
fn durations_are_gos() {
    let table = [
        ("1s", Some(Duration::from_secs(1))),
        ("1.5s", Some(Duration::from_millis(1500))),
        ("1h2m3s4ms5us6ns", Some(Duration::new(3723, 4_005_006))),
        ("0", Some(Duration::ZERO)),
        ("0s", Some(Duration::ZERO)),
        (".5m", Some(Duration::from_secs(30))),
        ("0.0001ms", Some(Duration::from_nanos(100))),
        ("1µs", Some(Duration::from_micros(1))),
        ("", None),
        ("1", None),
        ("s", None),
        (".s", None),
        ("-1s", None),
        ("1d", None),
        ("1s ", None),
        ("1.2.3s", None),
        ("99999999999999999999999h", None),
    ];
    for (text, expected) in table {
        assert_eq!(parse_duration(text), expected, "{text:?}");
    }
}

#[test]
fn suggestions_are_near_and_none_is_made_for_far_words() {
    let fields = ["gateways", "perTryTimeout", "http", "export_to"];
    let suggest = |word| closest(word, fields.into_iter());
    assert_eq!(suggest("gatways").as_deref(), Some("gateways"));
    assert_eq!(suggest("perTryTimeot").as_deref(), Some("perTryTimeout"));
    assert_eq!(suggest("exportto").as_deref(), Some("exportTo"));
    assert_eq!(suggest("htpt").as_deref(), Some("http"));
    assert_eq!(suggest("tls"), None);
    assert_eq!(suggest("x"), None);
}

#[test]
fn names_and_paths_are_printed_in_lower_camel_case() {
    let spell = |name| camel(name).collect::<String>();
    assert_eq!(spell("consecutive_5xx_errors"), "consecutive5xxErrors");
    assert_eq!(spell("h2_upgrade_policy"), "h2UpgradePolicy");
    assert_eq!(spell("clusterIP"), "clusterIP");
    let root = Path::Root;
    let labels = root.field("spec").to_string();
    assert_eq!(labels, "spec");
    assert_eq!(root.field("a_b").index(3).to_string(), "aB[3]");
    assert_eq!(root.field("labels").key("a.b/c").to_string(), "labels[a.b/c]");
    let taken: Vec<Step<'_>> = steps("spec.http[0].labels[a.b/c].x").collect();
    let expected =
        [Step::Field("spec"), Step::Field("http"), Step::Bracket("0"), Step::Field("labels"), Step::Bracket("a.b/c"), Step::Field("x")];
    assert_eq!(taken, expected);
}

proptest! {
    #[test]
    fn no_duration_text_panics(text in "[0-9.hmsuµn+-]{0,30}") {
        parse_duration(&text);
    }

    #[test]
    fn no_path_text_panics(text in "[a.\\[\\]0]{0,20}") {
        prop_assert!(steps(&text).count() <= 20);
    }

    #[test]
    fn whole_milliseconds_round_trip(ms in 0_u64..10_000_000_000) {
        prop_assert_eq!(parse_duration(&format!("{}.{:03}s", ms / 1000, ms % 1000)), Some(Duration::from_millis(ms)));
    }
}
