//! Edits of real-looking manifests, and of generated ones.

use outrigger_config::yaml::documents;
use serde_json::{Value, json};

use super::{Rewritten, rewrite};

fn edit(text: &str, change: impl FnOnce(&mut Value)) -> Rewritten {
    let node = documents(text).remove(0).node.unwrap();
    let mut value = node.to_json();
    change(&mut value);
    let rewritten = rewrite(text, &node, &value).unwrap();
    let read = documents(&rewritten.text).remove(0).node.unwrap_or_else(|error| panic!("{error:?}\n{}", rewritten.text)).to_json();
    assert_eq!(read, value, "{}", rewritten.text);
    rewritten
}

/// The lines that are new, as `+line`, and those that are gone, as `-line`.
fn changed(before: &str, after: &str) -> Vec<String> {
    let (mut rest, mut out) = (before.lines().peekable(), Vec::new());
    for line in after.lines() {
        if rest.peek() == Some(&line) {
            rest.next();
        } else if rest.clone().any(|other| other == line) {
            while let Some(gone) = rest.next_if(|other| *other != line) {
                out.push(format!("-{gone}"));
            }
            rest.next();
        } else {
            out.push(format!("+{line}"));
        }
    }
    out.extend(rest.map(|gone| format!("-{gone}")));
    out
}

const POD: &str = "\
# head
apiVersion: v1
kind: Pod   # the kind
metadata:
  annotations: {}  # none yet
  labels: {app: web, 'version': \"1\"}
  name: web
spec:
  # the containers
  containers:   # one
  # the web server
  - image: web:1   # pinned
    name: web
    env:
    -   name: A
        value: |
          x

    # behind the block

    readinessProbe: {httpGet: {port: 80}}   # soon
  - {name: flow, image: f}
  # - name: commented-out
  nodeSelector:
    disk: ssd
# tail
";

#[test]
fn lines_are_added_where_they_belong_and_all_others_stay() {
    let done = edit(POD, |pod| {
        pod["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "istio-proxy", "args": ["a"]}));
        pod["spec"]["initContainers"] = json!([{"name": "istio-init"}]);
    });
    assert_eq!(done.warning, None);
    assert_eq!(
        changed(POD, &done.text),
        ["+  - name: istio-proxy", "+    args:", "+    - a", "+  initContainers:", "+  - name: istio-init"]
    );
    assert!(done.text.contains("  - {name: flow, image: f}\n  - name: istio-proxy\n    args:\n    - a\n  # - name: commented-out\n"));
    assert!(done.text.contains("    disk: ssd\n  initContainers:\n  - name: istio-init\n# tail\n"));
}

#[test]
fn an_item_in_front_leaves_the_comment_with_the_one_it_describes() {
    let done = edit(POD, |pod| pod["spec"]["containers"].as_array_mut().unwrap().insert(0, json!({"name": "first"})));
    assert!(
        done.text.contains("  containers:   # one\n  - name: first\n  # the web server\n  - image: web:1   # pinned\n"),
        "{}",
        done.text
    );
}

#[test]
fn flow_collections_that_grow_become_blocks_and_keep_the_comment_behind() {
    let done = edit(POD, |pod| {
        pod["metadata"]["annotations"]["a"] = json!("yes");
        pod["metadata"]["labels"]["x"] = json!("1");
        pod["spec"]["containers"][0]["readinessProbe"]["httpGet"] = json!({"port": 15020, "path": "/p"});
        pod["spec"]["containers"][1]["image"] = json!("g");
    });
    assert_eq!(done.warning, None);
    assert!(
        done.text.contains(
            "  annotations:  # none yet\n    a: \"yes\"\n  labels:\n    app: web\n    version: \"1\"\n    x: \"1\"\n  name: web\n"
        ),
        "{}",
        done.text
    );
    assert!(
        done.text.contains(
            "    readinessProbe:   # soon\n      httpGet:\n        path: /p\n        port: 15020\n  - name: flow\n    image: g\n"
        ),
        "{}",
        done.text
    );
}

#[test]
fn scalars_change_in_place_and_block_scalars_keep_what_follows() {
    let done = edit(POD, |pod| {
        pod["spec"]["containers"][0]["image"] = json!("null");
        pod["spec"]["containers"][0]["env"][0]["value"] = json!("0x1f");
    });
    assert!(done.text.contains("  - image: \"null\"   # pinned\n"));
    assert!(done.text.contains("        value: \"0x1f\"\n\n    # behind the block\n"), "{}", done.text);
}

#[test]
fn what_was_added_can_be_taken_away_line_by_line() {
    let added = edit(POD, |pod| {
        pod["spec"]["containers"].as_array_mut().unwrap().insert(1, json!({"name": "istio-proxy", "args": ["a"]}));
        pod["spec"]["volumes"] = json!([{"name": "v", "emptyDir": {}}]);
    });
    let taken = edit(&added.text, |pod| {
        pod["spec"]["containers"].as_array_mut().unwrap().remove(1);
        pod["spec"].as_object_mut().unwrap().remove("volumes");
    });
    assert_eq!(taken, Rewritten { text: POD.to_owned(), warning: None });
}

#[test]
fn windows_line_ends_missing_last_ones_and_wide_characters_are_kept() {
    let windows = "kind: Pod\r\nmetadata:\r\n  labels:\r\n    a: é😀 # ü\r\n  annotations:\r\n";
    let done = edit(windows, |pod| {
        pod["metadata"]["labels"]["b"] = json!("c");
        pod["metadata"]["annotations"] = json!({"d": "e"});
    });
    assert_eq!(done.text, "kind: Pod\r\nmetadata:\r\n  labels:\r\n    a: é😀 # ü\r\n    b: c\r\n  annotations:\r\n    d: e\r\n");
    let open = "metadata:\n  labels:\n    a: b";
    assert_eq!(edit(open, |pod| pod["metadata"]["labels"]["c"] = json!("d")).text, "metadata:\n  labels:\n    a: b\n    c: d");
    assert_eq!(edit("a: 1\nb: 2", |pod| drop(pod.as_object_mut().unwrap().remove("b"))).text, "a: 1");
}

#[test]
fn the_documents_own_indentation_is_followed() {
    let text = "spec:\n    containers:\n      - name: a\n        ports:\n          - containerPort: 1\n";
    let done = edit(text, |pod| {
        pod["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "b", "args": ["x"], "resources": {"limits": {"cpu": 1}}}));
        pod["spec"]["volumes"] = json!([{"name": "v"}]);
    });
    assert_eq!(
        done.text,
        format!(
            "{text}      - name: b\n        args:\n          - x\n        resources:\n            limits:\n                cpu: 1\n    volumes:\n      - name: v\n"
        )
    );
}

#[test]
fn an_alias_that_changes_is_written_out_and_its_anchor_stays() {
    let text = "a: &labels\n  x: \"1\"\nb: *labels\nc: {<<: *labels, z: 1}\nd:\n  <<: *labels\n  z: 2\n";
    let done = edit(text, |value| {
        value["b"]["v"] = json!("2");
        value["d"]["x"] = json!("3");
    });
    assert_eq!(
        done.text,
        "a: &labels\n  x: \"1\"\nb:\n  v: \"2\"\n  x: \"1\"\nc: {<<: *labels, z: 1}\nd:\n  <<: *labels\n  z: 2\n  x: \"3\"\n"
    );
    assert_eq!(done.warning, None);
}

#[test]
fn what_cannot_be_edited_is_written_anew_in_its_order_and_says_so() {
    // Adding to the anchored value would add to its alias too.
    let text = "# head\n---\nz: &a\n  x: 1 # gone\nb: *a\n";
    let done = edit(text, |value| value["z"]["w"] = json!(2));
    assert_eq!(done.text, "# head\n---\nz:\n  x: 1\n  w: 2\nb:\n  x: 1\n");
    assert!(done.warning.unwrap().contains("written anew"));
    let inside = edit("a: [1, # one\n  2]\n", |value| value["a"] = json!([1]));
    assert_eq!(inside.text, "a:\n- 1\n");
    assert!(inside.warning.unwrap().contains("comments"));
}

#[test]
fn json_stays_json_with_its_indentation() {
    let text = "{\n    \"kind\": \"Pod\",\n    \"spec\": {\"containers\": []}\n}\n";
    let done = edit(text, |pod| pod["spec"]["containers"] = json!([{"name": "a"}]));
    assert_eq!(
        done.text,
        "{\n    \"kind\": \"Pod\",\n    \"spec\": {\n        \"containers\": [\n            {\n                \"name\": \"a\"\n            }\n        ]\n    }\n}\n"
    );
    let line = edit("{\"b\":1,\"a\":2}", |value| value["a"] = json!(3));
    assert_eq!(line.text, "{\"b\":1,\"a\":3}");
    let marked = edit("---\n\n{\"a\": 2}\n", |value| value["a"] = json!(3));
    assert_eq!(marked, Rewritten { text: "---\n\n{\"a\":3}\n".to_owned(), warning: None });
    let yaml = edit("{a: 2} # two\n", |value| value["a"] = json!(3));
    assert_eq!((yaml.text.as_str(), yaml.warning.is_some()), ("a: 3\n", true));
    assert_eq!(line.warning, None);
}

#[test]
fn repeated_keys_elsewhere_do_not_matter_and_a_repeated_one_that_changes_is_written_once() {
    let text = "a: 1\na: 2\nb:\n  c: 1 # c\n";
    let done = edit(text, |value| value["b"]["d"] = json!(2));
    assert_eq!(done, Rewritten { text: format!("{text}  d: 2\n"), warning: None });
    let anew = edit("b: {x: 1}\nb:\n  c: 1\n", |value| value["b"]["d"] = json!(2));
    assert_eq!(anew.text, "b:\n  c: 1\n  d: 2\n");
}

#[test]
fn long_lists_are_edited_item_by_item() {
    let text: String = "items:\n".to_owned() + &(0..5000).map(|n| format!("- n: {n} # c\n")).collect::<String>();
    let done = edit(&text, |value| value["items"][4000]["added"] = json!(true));
    assert_eq!(done.warning, None);
    assert_eq!(changed(&text, &done.text), ["+  added: true"]);
}

#[test]
fn what_would_be_too_deep_to_be_read_again_is_refused() {
    let text = "a: 1 # one\n";
    let node = documents(text).remove(0).node.unwrap();
    let deep = (0..101).fold(json!(1), |value, _| json!({"a": value}));
    assert!(rewrite(text, &node, &deep).unwrap_err().contains("divide it"));
}
