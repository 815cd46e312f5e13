//! What must hold for any text: generated values in generated layouts, with comments everywhere, changed in any way.

use outrigger_config::yaml::documents;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{Change, Refusal, Workload, rewrite, transform};

/// Decides about layout, one byte per question.
struct Layout {
    choices: Vec<u8>,
    at: usize,
    step: usize,
    sequence: usize,
    block_only: bool,
    comments: usize,
}

impl Layout {
    fn new(choices: Vec<u8>, block_only: bool) -> Self {
        let of = |index: usize, from: &[usize]| from[usize::from(choices.get(index).copied().unwrap_or_default()) % from.len()];
        let step = of(0, &[2, 2, 2, 3, 4]);
        let sequence = of(1, &[0, 0, step]);
        Self { at: 2, step, sequence, block_only, comments: 0, choices }
    }

    fn one_in(&mut self, n: u8) -> bool {
        self.at += 1;
        self.choices.get(self.at % self.choices.len().max(1)).is_some_and(|choice| choice % n == 0)
    }

    fn comment(&mut self) -> String {
        self.comments += 1;
        format!("# c{} é: {{ - 'x", self.comments)
    }

    fn lines_between(&mut self, out: &mut String, indent: usize) {
        if self.one_in(4) {
            out.push_str(&format!("{}{}\n", " ".repeat(indent), self.comment()));
        }
        if self.one_in(7) {
            out.push('\n');
        }
    }

    fn end_of_line(&mut self, out: &mut String) {
        if self.one_in(4) {
            out.push_str(&format!("  {}", self.comment()));
        } else if self.one_in(9) {
            out.push_str("  ");
        }
        out.push('\n');
    }

    fn mapping(&mut self, out: &mut String, map: &Map<String, Value>, indent: usize, mut inline: bool) {
        for (key, value) in map {
            if !std::mem::take(&mut inline) {
                self.lines_between(out, indent);
                out.push_str(&" ".repeat(indent));
            }
            out.push_str(&if self.one_in(5) { Value::from(key.as_str()).to_string() } else { super::render::string(key) });
            out.push(':');
            self.value(out, value, indent, false);
        }
    }

    fn sequence(&mut self, out: &mut String, items: &[Value], indent: usize) {
        for item in items {
            self.lines_between(out, indent);
            out.push_str(&format!("{}-", " ".repeat(indent)));
            match item {
                Value::Object(map) if !map.is_empty() && (self.block_only || !self.one_in(5)) => {
                    out.push_str("   ");
                    self.mapping(out, map, indent + 4, true);
                }
                other => self.value(out, other, indent, true),
            }
        }
    }

    /// Behind a colon or dash that stands at column `indent`.
    fn value(&mut self, out: &mut String, value: &Value, indent: usize, dash: bool) {
        let flow = !self.block_only && self.one_in(4);
        match value {
            Value::Object(map) if !map.is_empty() && !flow => {
                self.end_of_line(out);
                self.mapping(out, map, indent + self.step, false);
            }
            Value::Array(items) if !items.is_empty() && !flow => {
                self.end_of_line(out);
                let deeper = if dash { self.step } else { self.sequence };
                self.sequence(out, items, indent + deeper);
            }
            Value::Null if !self.block_only && self.one_in(2) => self.end_of_line(out),
            Value::String(text) if text.ends_with("z\n") && !text.starts_with([' ', '\n', '\t']) => {
                out.push_str(if self.one_in(2) { " |+\n" } else { " |\n" });
                for line in text.trim_end_matches('\n').split('\n') {
                    out.push_str(&format!("{}{line}\n", " ".repeat(indent + self.step)));
                }
            }
            other => {
                out.push_str(&format!(" {}", super::render::inline(&super::render::Ordered::like(other, None))));
                self.end_of_line(out);
            }
        }
    }

    fn document(&mut self, value: &Value) -> String {
        let mut out = String::new();
        self.mapping(&mut out, value.as_object().unwrap_or(&Map::new()), 0, false);
        if self.one_in(6) {
            out.truncate(out.trim_end().len());
        }
        out
    }
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i32>().prop_map(Into::into),
        "[ -~éü\n'\"#:]{0,9}".prop_map(Into::into),
        "(yes|0x1f|null|1e3|a # b|x\ny z\n|web|- a)".prop_map(Into::into),
    ]
}

fn any_value() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(4, 30, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            // Lists as pods have them.
            prop::collection::vec(("[a-d]", inner.clone()), 0..4)
                .prop_map(|items| items.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect()),
            prop::collection::btree_map("[a-mo-x][a-z.]{0,4}", inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

fn any_document() -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[a-mo-x][a-z]{0,5}", any_value(), 1..5).prop_map(|map| map.into_iter().collect())
}

/// Changes a value in one place, which the numbers choose.
fn change(value: &mut Value, path: &[u8], new: Value, only_add: bool) {
    let (first, rest) = path.split_first().unwrap_or((&0, &[]));
    let pick = |length: usize| usize::from(*first) % length.max(1);
    match value {
        Value::Object(map) if !map.is_empty() => {
            let key = map.keys().nth(pick(map.len())).cloned().unwrap_or_default();
            if rest.len() > 1 && map[&key].is_object() | map[&key].is_array() {
                change(&mut map[&key], rest, new, only_add);
            } else if !only_add && rest.first().is_some_and(|choice| choice % 3 == 0) && map.len() > 1 {
                map.remove(&key);
            } else if !only_add && rest.first().is_some_and(|choice| choice % 3 == 1) {
                map.insert(key, new);
            } else {
                map.insert("zz.new".to_owned(), new);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            let index = pick(items.len());
            if rest.len() > 1 && items[index].is_object() | items[index].is_array() {
                change(&mut items[index], rest, new, only_add);
            } else if !only_add && rest.first().is_some_and(|choice| choice % 3 == 0) {
                items.remove(index);
            } else if !only_add && rest.first().is_some_and(|choice| choice % 3 == 1) {
                items[index] = new;
            } else {
                items.insert(index, json!({"name": "istio-proxy", "new": new}));
            }
        }
        _ if only_add => {}
        other => *other = new,
    }
}

fn read(text: &str) -> Value {
    documents(text).remove(0).node.unwrap_or_else(|error| panic!("{error:?}\n{text}")).to_json()
}

/// Whether the lines of `before` are all in `after`, in order.
fn is_kept(before: &str, after: &str) -> bool {
    let mut lines = after.lines();
    before.lines().all(|line| lines.any(|other| other == line))
}

/// Adds a container to the pods named `web`.
fn add(workload: &Workload, pod: &Value) -> Result<Change, Refusal> {
    let mut pod = pod.clone();
    if workload.name != "web" {
        return Ok(Change::default());
    }
    pod["spec"]["added"] = json!([{"name": "istio-proxy", "args": ["yes"]}]);
    Ok(Change { pod: Some(pod), ..Change::default() })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn whatever_changes_the_text_means_what_was_meant(
        value in any_document(), choices in prop::collection::vec(any::<u8>(), 8..60),
        changes in prop::collection::vec((prop::collection::vec(any::<u8>(), 1..6), any_value()), 1..4), windows in any::<bool>(),
    ) {
        let mut text = Layout::new(choices, false).document(&value);
        if windows {
            text = text.replace('\n', "\r\n");
        }
        // A blank line behind a block scalar that keeps them changes what the generator meant.
        let value = read(&text);
        let mut new = value.clone();
        changes.into_iter().for_each(|(path, with)| change(&mut new, &path, with, false));
        let node = documents(&text).remove(0).node.unwrap();
        let done = rewrite(&text, &node, &new).unwrap();
        prop_assert_eq!(read(&done.text), new, "{}\nbecame\n{}", text, done.text);
        if value == read(&done.text) {
            prop_assert_eq!(done.text, text);
        }
    }

    #[test]
    fn what_is_added_to_blocks_keeps_every_line_and_every_comment(
        value in any_document(), choices in prop::collection::vec(any::<u8>(), 8..60),
        path in prop::collection::vec(any::<u8>(), 1..6), added in any_value(),
    ) {
        let text = Layout::new(choices, true).document(&value);
        let value = read(&text);
        let mut new = value.clone();
        change(&mut new, &path, added, true);
        let node = documents(&text).remove(0).node.unwrap();
        let done = rewrite(&text, &node, &new).unwrap();
        prop_assert_eq!(done.warning, None, "{}\nto {}", text, new);
        prop_assert!(is_kept(&text, &done.text), "{}\nbecame\n{}", text, done.text);
    }

    #[test]
    fn documents_without_a_change_stay_byte_for_byte(
        before in prop::collection::vec(any_document(), 0..3), after in prop::collection::vec(any_document(), 0..3),
        choices in prop::collection::vec(any::<u8>(), 8..60), mark in "(---\n|--- # mark\n|\n---\n\n|\\.\\.\\.\n---\n|---\n# nothing\n---\n)",
    ) {
        let mut layout = Layout::new(choices, false);
        let mut texts = |values: Vec<Value>| -> String { values.iter().map(|value| format!("{}\n{mark}", layout.document(value))).collect() };
        let (before, after) = (texts(before), texts(after));
        let pod = "apiVersion: v1\nkind: Pod # p\nmetadata: {name: web}\nspec:\n  containers: [] # none\n";
        let text = format!("{before}{pod}{mark}{after}");
        let done = transform(&text, add).unwrap_or_else(|error| panic!("{error:?}\n{text}"));
        let expected = format!("{before}{pod}  added:\n  - name: istio-proxy\n    args:\n    - \"yes\"\n{mark}{after}");
        prop_assert_eq!(done.text, expected);
    }

    #[test]
    fn no_text_makes_it_panic(text in "[\\PC\n\t\r]{0,200}") {
        let _ = transform(&text, add);
    }

    #[test]
    fn no_yaml_like_text_around_a_pod_makes_it_panic_or_lie(
        parts in prop::collection::vec("(  a: |  - |    - |\n|  |\\{|\\}|\\[|\\]|,|&a |\\*a|<<: |---\n|\\.\\.\\.|\\||\\|\\+|>|\"|'|#| #|!!str |\\? |: |\t|\r|%TAG|x|é)", 0..30)
    ) {
        let text = format!("apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\nspec:\n  containers: []\n{}", parts.concat());
        if let Ok(done) = transform(&text, add) && let [report] = &done.reports[..] {
            let pod = read(&done.text);
            prop_assert_eq!(Some(&pod), report.change.pod.as_ref());
        }
    }
}
