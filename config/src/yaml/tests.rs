//! What the reader makes of YAML and JSON, compared with kubectl's reading.

use proptest::prelude::*;
use serde_json::json;

use super::emit::to_yaml;
use super::read::read_all;
use super::{Node, Position, documents, locate, plain};

/// The documents of a text as JSON.
fn read(text: &str) -> Vec<serde_json::Value> {
    documents(text).into_iter().map(|document| document.node.expect(text).to_json()).collect()
}

fn read_one(text: &str) -> serde_json::Value {
    let mut found = read(text);
    assert_eq!(found.len(), 1, "{text:?}");
    found.remove(0)
}

/// `line:column: message` of the only error.
fn error(text: &str) -> String {
    let errors: Vec<_> = documents(text).into_iter().filter_map(|document| document.node.err()).collect();
    assert_eq!(errors.len(), 1, "{text:?}");
    format!("{}: {}", errors[0].position, errors[0].message)
}

#[test]
fn plain_scalars_follow_yaml_1_1_as_go_yaml_reads_it() {
    let table = [
        ("0644", json!(420)),
        ("0o644", json!(420)),
        ("0x1F", json!(31)),
        ("0b11", json!(3)),
        ("-012", json!(-10)),
        ("1_000", json!(1000)),
        ("08", json!(8.0)),
        ("+7", json!(7)),
        ("--7", json!("--7")),
        ("18446744073709551615", json!(18_446_744_073_709_551_615_u64)),
        ("-9223372036854775808", json!(i64::MIN)),
        ("1.5", json!(1.5)),
        (".5", json!(0.5)),
        ("1e3", json!(1000.0)),
        ("1e", json!("1e")),
        ("1.2.3", json!("1.2.3")),
        ("10.0.0.1", json!("10.0.0.1")),
        ("1:30", json!("1:30")),
        ("2024-01-01", json!("2024-01-01")),
        (".inf", json!(".inf")),
        ("yes", json!(true)),
        ("On", json!(true)),
        ("y", json!(true)),
        ("off", json!(false)),
        ("NO", json!(false)),
        ("yEs", json!("yEs")),
        ("n", json!(false)),
        ("True", json!(true)),
        ("FALSE", json!(false)),
        ("falsely", json!("falsely")),
        ("-.INF", json!("-.INF")),
        ("~", json!(null)),
        ("Null", json!(null)),
        ("\"yes\"", json!("yes")),
        ("'0644'", json!("0644")),
        ("!!str 12", json!("12")),
        ("!!int \"12\"", json!(12)),
        ("_1", json!("_1")),
        ("-", json!([null])),
    ];
    for (text, expected) in table {
        assert_eq!(read_one(&format!("a: {text}\n").replace("a: -\n", "a:\n-\n"))["a"], expected, "{text}");
    }
}

#[test]
fn keys_become_the_strings_json_has() {
    assert_eq!(read_one("on: 1\n8080: 2\n0x10: 3\n'yes': 4\n"), json!({"true": 1, "8080": 2, "16": 3, "yes": 4}));
}

#[test]
fn documents_are_divided_by_marks_and_empty_ones_are_dropped() {
    assert_eq!(
        read("a: 1\n---\n# nothing\n---\n\n--- # comment\nb: 2\n...\nc: 3\n---\n"),
        [json!({"a": 1}), json!({"b": 2}), json!({"c": 3})]
    );
    assert_eq!(read("%YAML 1.1\n---\na: 1\n"), [json!({"a": 1})]);
    assert_eq!(read(""), Vec::<serde_json::Value>::new());
    assert_eq!(read("\u{feff}# only a comment\n"), Vec::<serde_json::Value>::new());
    assert_eq!(read("--- {a: 1}\n"), [json!({"a": 1})]);
    assert_eq!(read("a: |\n  ---x\n  text\n"), [json!({"a": "---x\ntext\n"})]);
}

#[test]
fn carriage_returns_and_byte_order_marks_do_not_matter() {
    assert_eq!(read("\u{feff}a: 1\r\nb: |\r\n  x\r\n  y\r\n---\r\nc: 2\r\n"), [json!({"a": 1, "b": "x\ny\n"}), json!({"c": 2})]);
}

#[test]
fn anchors_aliases_and_merge_keys_are_expanded() {
    let text = "base: &base {a: 1, b: 2}\nmore: &more {b: 3, c: 4}\nx:\n  <<: *base\n  b: 9\nw:\n  <<: [*base, *more]\nz: *base\n";
    let tree = read_one(text);
    assert_eq!(tree["x"], json!({"a": 1, "b": 9}));
    assert_eq!(tree["w"], json!({"a": 1, "b": 2, "c": 4}));
    assert_eq!(tree["z"], json!({"a": 1, "b": 2}));
}

#[test]
fn large_mappings_keep_order_and_uniqueness() {
    let block: String = (0..100).map(|i| format!("k{i}: {i}\n")).collect();
    let flow = format!("{{{}}}", (0..100).map(|i| format!("\"k{i}\": {i}")).collect::<Vec<_>>().join(", "));
    for text in [format!("{block}k50: again\n"), flow.replace("{\"k0\"", "{\"k50\": \"first\", \"k0\"")] {
        let mut found = documents(&text);
        let document = found.remove(0);
        let tree = document.node.expect("readable");
        assert_eq!((tree.entries().len(), document.repeated.len()), (100, 1));
        assert_eq!(&*tree.entries()[99].key, "k99");
    }
    let merged = read_one(&format!("base: &base\n  {}\nx: {{<<: *base, k7: mine}}\n", block.trim_end().replace('\n', "\n  ")));
    assert_eq!((merged["x"]["k7"].as_str(), merged["x"]["k99"].as_i64()), (Some("mine"), Some(99)));
}

#[test]
fn alias_expansion_depth_and_self_reference_are_refused() {
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        laughs += &format!("a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 10].join(", "));
    }
    assert!(error(&laughs).contains("aliases are expanded"), "{}", error(&laughs));
    assert!(error(&format!("a: {}", "[".repeat(150))).contains("levels deep"));
    assert!(error(&"{\"a\":".repeat(500)).contains("levels of nesting"));
    assert_eq!(error("a: &a\n  b: *a\n"), "2:6: this alias stands inside the value it refers to");
    assert!(error("a: *nowhere\n").contains("unknown anchor"), "{}", error("a: *nowhere\n"));
}

#[test]
fn of_a_repeated_key_the_last_value_counts_and_the_repetition_is_told() {
    for text in ["a: 1\nb: 2\na: 3\n", "{\"a\": 1,\n\"b\": 2,\n\"a\": 3}"] {
        let mut found = documents(text);
        let document = found.remove(0);
        assert_eq!(document.node.expect("readable").to_json(), json!({"a": 3, "b": 2}));
        assert_eq!(document.repeated.len(), 1);
        assert_eq!((document.repeated[0].key.as_str(), document.repeated[0].position), ("a", Position { line: 3, column: 1 }));
    }
}

#[test]
fn a_syntax_error_spoils_its_own_document_only() {
    let found = documents("a: 1\n---\nb: [1\n---\nc: 3\n");
    let readable: Vec<bool> = found.iter().map(|document| document.node.is_ok()).collect();
    assert_eq!(readable, [true, false, true]);
}

#[test]
fn syntax_errors_have_the_line_of_the_whole_file() {
    assert!(error("a: 1\n---\nb:\n  c: x: y\n").starts_with("4:"), "{}", error("a: 1\n---\nb:\n  c: x: y\n"));
    assert!(error("a:\n\t- b\n").starts_with("2:"), "{}", error("a:\n\t- b\n"));
    assert_eq!(error("{\"a\": 1,\n \"b\" 2}"), "2:6: expected \":\", found '2'");
}

#[test]
fn json_is_read_as_json_and_several_objects_may_follow_each_other() {
    let text = "{\"a\": \"\\u00e9\\ud83d\\ude00\\/\\n\", \"n\": -1.5e2}\n{\"b\":\t[true, null, 012]}";
    assert!(error(text).contains("expected a value"), "leading zeros are not JSON");
    let text = text.replace("012", "12");
    assert_eq!(read(&text), [json!({"a": "é😀/\n", "n": -150.0}), json!({"b": [true, null, 12]})]);
    assert_eq!(read("{a: 1, b: [x]}\n---\nc: 2\n"), [json!({"a": 1, "b": ["x"]}), json!({"c": 2})], "flow YAML is not JSON");
}

#[test]
fn positions_lead_to_values_or_to_the_nearest_part_of_the_path() {
    let text = "---\nspec:\n  http:\n  - route:\n    - weight: 5\n      destination: {host: a}\n  labels:\n    app.kubernetes.io/name: x\n";
    let root = documents(text).remove(0).node.expect("readable");
    let at = |path| locate(&root, path).to_string();
    assert_eq!(at("spec.http[0].route[0].weight"), "5:15");
    assert_eq!(at("spec.http[0].route[0].destination.host"), "6:27");
    assert_eq!(at("spec.http[0].route[0].destination.subset"), "6:7");
    assert_eq!(at("spec.http[0].route"), "4:5");
    assert_eq!(at("spec.labels[app.kubernetes.io/name]"), "8:29");
    assert_eq!(at("spec.http[7]"), "3:3");
    assert_eq!(at(""), "2:1");
}

#[test]
fn snake_case_keys_are_found_by_their_camel_case_path() {
    let root = documents("spec:\n  export_to: ['.']\n").remove(0).node.expect("readable");
    assert_eq!(locate(&root, "spec.exportTo[0]").to_string(), "2:15");
}

#[test]
fn emitted_yaml_is_laid_out_as_kubectl_does() {
    let value =
        json!({"kind": "Pod", "args": ["--x", "80", "yes"], "env": [{"name": "A", "value": "a: b"}], "empty": {}, "text": "x\ny\n"});
    let expected = "args:\n- \"--x\"\n- \"80\"\n- \"yes\"\nempty: {}\nenv:\n- name: A\n  value: \"a: b\"\nkind: Pod\ntext: |\n  x\n  y\n";
    let mut lines: Vec<&str> = expected.lines().collect();
    let emitted = to_yaml(&value);
    let mut got: Vec<&str> = emitted.lines().collect();
    // The order of keys is that of the JSON map.
    lines.sort_unstable();
    got.sort_unstable();
    assert_eq!(got, lines);
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        "[ -~éü\n\t\r'\"#:\\-]{0,12}".prop_map(Into::into),
        "(yes|no|0644|null|~|1e3|- a|a: b|#x| x|x |\\|)".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(serde_json::Value::Array),
            prop::collection::btree_map("[a-z0-9./ :-]{0,6}", inner, 0..5).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// What the reader of plain manifests makes of a text, once the general reader was seen to make the same of it.
fn plainly(text: &str) -> Option<Node> {
    let fast = plain::read(text, 7)?;
    let mut repeated = Vec::new();
    let general = read_all(text, 7, &mut repeated);
    assert_eq!(general, Ok(Some(fast.clone())), "{text}");
    assert!(repeated.is_empty(), "{text}");
    Some(fast)
}

#[test]
fn manifests_in_the_usual_style_need_no_general_reader() {
    for text in [
        "a: 1\n",
        "---\n# comment\na: b c # comment\nb:\n- x\n- y: 1\n  z: [1, 'a b', \"c\", {d: e:f}]\n-   - k\n    - l\nc: {}\nd: []\n",
        "---   # mark\nspec:\n  hosts: [\"*\"]\n  http:\n    -\n      route:\n      - destination: {host: a.b, port: {number: 80}}\n\n  on: yes\n  8080: 'it''s'\n",
        "- a\n- - b\n  - c\n-\n  d: -1\n  e: ~\n",
        "a:\n  b: http://x/y#z\n  c: a, b] }\n  d: 'x' # y\n  e: [ a , b ]\n  f: { g: h , i: j }\n",
        "  a: 1\n  b:\n    c: <none>\n",
    ] {
        assert!(plainly(text).is_some(), "{text}");
    }
}

#[test]
fn what_is_not_plain_is_left_to_the_general_reader() {
    for text in [
        "a: |\n  x\n",
        "a: b\n  c\n",
        "a: &x 1\n",
        "a: *x\n",
        "a: !!str 1\n",
        "a:\n",
        "a: \n b\n",
        "a: 1\na: 2\n",
        "{a: 1, a: 2}\n",
        "a: \"\\n\"\n",
        "a: 'x\n  y'\n",
        "a: [1,\n 2]\n",
        "a:\tb\n",
        "a: \u{e9}\n",
        "? a\n: b\n",
        "\"a\": 1\n",
        "<<: {a: 1}\n",
        "a: b: c\n",
        "a: [b: c]\n",
        "a: {b}\n",
        "a: [b, ]\n",
        "a: - b\n",
        "a\n",
        "a: [1]: 2\n",
        "a: 'b': c\n",
        "a: 'b'c\n",
        "a: [1]x\n",
        "a:\n    b: 1\n  c: 2\n",
        "a: 1\n  b: 2\n",
        "- a\nb: 1\n",
        "a: 1\n- b\n",
        "%TAG ! x\n---\na: 1\n",
        "--- a: 1\n",
        "a: @b\n",
        "a: `b\n",
        "a: {b: c#}\n",
        "a: {b:c}\n",
        "a:\n  - b\n c: 1\n",
        "",
    ] {
        assert!(plainly(text).is_none(), "{text}");
    }
    assert!(plainly(&"- ".repeat(80)).is_none());
}

/// Lines as manifests have them, in any order and at any depth.
fn manifest_like() -> impl Strategy<Value = String> {
    let scalar = r#"(b|b c|1|yes|~|-1|x:y|http://a/b|'c d'|"e"|'it''s'|\{\}|\[\]|\[a, b\]|\{a: b, c: \[d\]\}|\[\{a: b\}, 'c'\]|\| |a #b|a#b|&a|\*a|!a|'|"|\[|\{)"#;
    let line = (0usize..5, "(- ){0,2}", "((a|b|c|on|8080|x.y/z-w): ?)?", proptest::option::of(scalar), "( # c|  |#)?");
    let line = line
        .prop_map(|(depth, dashes, key, scalar, end)| format!("{}{dashes}{key}{}{end}\n", " ".repeat(depth), scalar.unwrap_or_default()));
    prop::collection::vec(line, 0..8).prop_map(|lines| lines.concat())
}

proptest! {
    #[test]
    fn both_readers_agree_on_what_looks_like_a_manifest(text in manifest_like()) {
        plainly(&text);
    }

    #[test]
    fn both_readers_agree_on_any_soup_of_signs(parts in prop::collection::vec(r#"(a|b: |c:|- |-|\n|\n  |\n- |  |\{|\}|\[|\]|,|, |: |'|"|\#| \#|---\n|x y|~|<<|\.)"#, 0..24)) {
        plainly(&parts.concat());
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "[\\PC\n\t\r]{0,200}") {
        documents(&text);
    }

    #[test]
    fn no_yaml_like_text_makes_the_reader_panic(parts in prop::collection::vec("(a: |- |\n|  |\\{|\\}|\\[|\\]|,|&a |\\*a|<<: |---\n|\\.\\.\\.|\\||>|\"|'|#|!!str |\\? |: |\t|%TAG|x)", 0..40)) {
        documents(&parts.concat());
    }

    #[test]
    fn no_json_like_text_makes_the_reader_panic(parts in prop::collection::vec("(\\{|\\}|\\[|\\]|,|:|\"|\\\\u|d83d|\\\\|1|e|-|null|\n| |é)", 0..40)) {
        documents(&format!("{{{}", parts.concat()));
    }

    #[test]
    fn what_is_emitted_as_yaml_reads_back_the_same(value in any_json()) {
        let wrapped = serde_json::json!({ "w": value });
        prop_assert_eq!(read(&to_yaml(&wrapped)), vec![wrapped]);
    }

    #[test]
    fn json_survives_the_tree(value in any_json()) {
        prop_assert_eq!(Node::from_json(&value).to_json(), value);
    }

    #[test]
    fn json_text_reads_as_serde_reads_it(value in any_json()) {
        let wrapped = serde_json::json!({ "w": value });
        prop_assert_eq!(read(&wrapped.to_string()), vec![wrapped.clone()]);
        prop_assert_eq!(read(&serde_json::to_string_pretty(&wrapped).expect("serialises")), vec![wrapped]);
    }
}
