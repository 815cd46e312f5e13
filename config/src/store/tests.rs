//! The one rule for bad configuration.

use std::sync::Arc;

use super::{FileChange, Store};
use crate::object::Object;

fn config_map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{k: {value}}}\n---\n")
}

fn write(path: &str, text: impl Into<String>) -> FileChange {
    FileChange { path: path.into(), text: Some(text.into()) }
}

fn remove(path: &str) -> FileChange {
    FileChange { path: path.into(), text: None }
}

/// `name=value` of every ConfigMap in force.
fn in_force(store: &Store) -> Vec<String> {
    store.objects().map(|object| format!("{}={}", object.id.name, object.to_json()["data"]["k"].as_str().unwrap_or_default())).collect()
}

/// What the diagnostics say happens now.
fn consequences(store: &Store) -> Vec<&'static str> {
    store.diagnostics().iter().map(|diagnostic| diagnostic.consequence.as_str()).collect()
}

#[test]
fn at_first_load_an_invalid_object_is_left_out_and_named() {
    let mut store = Store::new();
    let said = store.apply(vec![write("a.yaml", config_map("a", "x") + &config_map("b", "1"))]);
    assert_eq!(in_force(&store), ["a=x"]);
    assert_eq!(said.len(), 1);
    assert_eq!(said[0].object.as_ref().map(ToString::to_string).as_deref(), Some("ConfigMap default/b"));
    assert_eq!(consequences(&store), ["the object is left out"]);
}

#[test]
fn on_reload_the_last_good_version_stays_until_mended_or_deleted() {
    let mut store = Store::new();
    store.apply(vec![write("a.yaml", config_map("a", "x"))]);
    store.apply(vec![write("a.yaml", config_map("a", "1"))]);
    assert_eq!(in_force(&store), ["a=x"]);
    assert_eq!(consequences(&store), ["its last good version stays in force"]);
    store.apply(vec![write("b.yaml", config_map("b", "w"))]);
    assert_eq!(in_force(&store), ["a=x", "b=w"], "other changes do not forget it");
    store.apply(vec![write("a.yaml", config_map("a", "z"))]);
    assert_eq!(in_force(&store), ["a=z", "b=w"]);
    assert!(store.diagnostics().is_empty());
    store.apply(vec![write("a.yaml", config_map("a", "1"))]);
    store.apply(vec![write("a.yaml", "")]);
    assert_eq!(in_force(&store), ["b=w"]);
}

#[test]
fn a_syntax_error_freezes_what_its_file_held_and_nothing_else() {
    let mut store = Store::new();
    store.apply(vec![write("a.yaml", config_map("a", "x") + &config_map("b", "x")), write("c.yaml", config_map("c", "x"))]);
    let said = store.apply(vec![write("a.yaml", config_map("a", "new") + "kind: [\n"), write("c.yaml", config_map("c", "new"))]);
    assert_eq!(in_force(&store), ["a=x", "b=x", "c=new"]);
    assert_eq!(said.len(), 1);
    assert_eq!(consequences(&store), ["what this file held stays in force"]);
    store.apply(vec![write("a.yaml", config_map("a", "new"))]);
    assert_eq!(in_force(&store), ["a=new", "c=new"]);
    assert!(store.diagnostics().is_empty());
}

#[test]
fn at_first_load_a_syntax_error_spoils_only_its_document() {
    let mut store = Store::new();
    store.apply(vec![write("a.yaml", config_map("a", "x") + "kind: [\n---\n" + &config_map("b", "x"))]);
    assert_eq!(in_force(&store), ["a=x", "b=x"]);
    assert_eq!(consequences(&store), ["this document is left out"]);
}

#[test]
fn removing_a_file_removes_its_objects_even_frozen_ones() {
    let mut store = Store::new();
    store.apply(vec![write("a.yaml", config_map("a", "x"))]);
    store.apply(vec![write("a.yaml", "kind: [")]);
    assert_eq!(in_force(&store), ["a=x"]);
    store.apply(vec![remove("a.yaml")]);
    assert!(in_force(&store).is_empty() && store.diagnostics().is_empty());
}

#[test]
fn an_object_may_move_between_files_and_keeps_its_last_good_version_on_the_way() {
    let mut store = Store::new();
    store.apply(vec![write("b.yaml", config_map("a", "x"))]);
    store.apply(vec![write("a.yaml", config_map("a", "w")), remove("b.yaml")]);
    assert_eq!(in_force(&store), ["a=w"]);
    store.apply(vec![remove("a.yaml"), write("c.yaml", config_map("a", "1"))]);
    assert_eq!(in_force(&store), ["a=w"]);
    assert_eq!(consequences(&store), ["its last good version stays in force"]);
}

#[test]
fn of_an_object_in_two_files_the_last_file_counts_and_both_are_named() {
    let mut store = Store::new();
    store.apply(vec![write("b.yaml", config_map("a", "second")), write("a.yaml", config_map("a", "first"))]);
    assert_eq!(in_force(&store), ["a=second"]);
    assert_eq!(store.diagnostics().len(), 1);
    assert_eq!(
        store.diagnostics()[0].to_string(),
        "a.yaml:3:18  Warning  IST0133  ConfigMap default/a  metadata.name: also written in b.yaml:1, which counts"
    );
    store.apply(vec![remove("b.yaml")]);
    assert_eq!(in_force(&store), ["a=first"]);
}

#[test]
fn unchanged_objects_stay_the_same_in_memory() {
    let mut store = Store::new();
    store.apply(vec![write("a.yaml", config_map("a", "x") + &config_map("b", "x"))]);
    let before: Vec<Arc<Object>> = store.objects().cloned().collect();
    store.apply(vec![write("a.yaml", config_map("a", "x") + &config_map("b", "w"))]);
    let same: Vec<bool> = store.objects().zip(&before).map(|(now, before)| Arc::ptr_eq(now, before)).collect();
    assert_eq!(same, [true, false]);
}

#[test]
fn an_object_published_by_a_runner_stands_in_place_of_the_written_one_without_complaint() {
    let published = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, annotations: {outrigger.dev/published-by: x}}\ndata: {k: '2'}\n";
    for [written_at, published_at] in [["a.yaml", "b.yaml"], ["b.yaml", "a.yaml"]] {
        let mut store = Store::new();
        store.apply(vec![write(written_at, config_map("a", "'1'")), write(published_at, published)]);
        assert_eq!(in_force(&store), ["a=2"]);
        assert_eq!(consequences(&store), [""; 0]);
    }
}
