//! Bad input: the message names file, line, object and field, and nothing is written.

use super::{outrigger, outrigger_in};

/// The complaint about a text, which must be the only one.
fn complaint(text: &str) -> String {
    let done = outrigger(&["inject", "-f", "-"], text);
    assert_eq!((done.code, done.out.as_str()), (Some(1), ""), "{}", done.err);
    let lines: Vec<&str> = done.err.lines().collect();
    assert_eq!(lines.last(), Some(&"outrigger: 1 problem; nothing is written"), "{}", done.err);
    lines[lines.len() - 2].to_owned()
}

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\n  namespace: shop\nspec:\n  containers: [{name: app}]\n";

#[test]
fn broken_yaml_is_told_with_line_and_column() {
    let text = format!("{POD}---\na: b\n c: d\n");
    let complaint = complaint(&text);
    assert!(complaint.starts_with("outrigger: standard input:10:"), "{complaint}");
    let json = outrigger(&["inject", "-f", "-"], "{\"a\": ]}\n");
    assert!(json.err.starts_with("outrigger: standard input:1:7: "), "{}", json.err);
}

#[test]
fn a_workload_without_a_pod_is_told_with_object_and_field() {
    let text = format!("{POD}---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: d, namespace: shop}}\nspec: {{}}\n");
    assert_eq!(complaint(&text), "outrigger: standard input:9: Deployment shop/d: spec.template.spec: expected the specification of a pod");
}

#[test]
fn a_pod_without_containers_is_told_with_the_field() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\nspec:\n  containers: []\n";
    let complaint = complaint(text);
    assert!(complaint.starts_with("outrigger: standard input:6: Pod web: spec.containers: expected at least one container"), "{complaint}");
}

#[test]
fn all_problems_of_all_files_are_told_together() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.yaml"), "a: b: c\n").unwrap();
    std::fs::write(folder.path().join("b.yaml"), "kind: Job\napiVersion: batch/v1\n---\nx: [\n").unwrap();
    let done = outrigger(&["inject", "-f", folder.path().to_str().unwrap()], "");
    assert_eq!((done.code, done.out.as_str()), (Some(1), ""));
    let told = ["a.yaml:1:", "b.yaml:1: Job without a name: spec.template.spec: ", "b.yaml:", "3 problems; nothing is written"];
    assert!(told.iter().all(|part| done.err.contains(part)), "{}", done.err);
}

#[test]
fn a_file_with_the_name_of_a_format_is_written_and_warned_about() {
    let folder = tempfile::tempdir().unwrap();
    for (command, name, warned) in [("inject", "json", true), ("uninject", "yaml", true), ("inject", "table.yaml", false)] {
        let done = outrigger_in(folder.path(), &[command, "-f", "-", "-o", name], POD);
        assert_eq!((done.code, done.out.as_str()), (Some(0), ""), "{}", done.err);
        assert_eq!(done.err.contains(&format!("warning: -o {name}: ")), warned, "{}", done.err);
        assert!(std::fs::read_to_string(folder.path().join(name)).unwrap().contains("kind: Pod"));
    }
}

#[test]
fn files_that_cannot_be_read_are_named() {
    for (arguments, expected) in [
        (&["inject", "-f", "no/such/file.yaml"][..], "outrigger: -f no/such/file.yaml: No such file"),
        (&["check-inject", "-f", "no/such/file.yaml"], "outrigger: -f no/such/file.yaml: No such file"),
        (&["inject", "-f", "-", "--valuesFile", "no-values"], "no-values"),
        (&["inject", "-f", "cli/src/inject"], "-f cli/src/inject: no file here ends in .yaml, .yml or .json"),
    ] {
        let done = outrigger(arguments, "");
        assert_eq!((done.code, done.out.as_str()), (Some(1), ""), "{arguments:?}");
        assert!(done.err.contains(expected), "{arguments:?}: {}", done.err);
    }
    assert_eq!(outrigger(&["inject"], "").code, Some(2));
    let twice = outrigger(&["inject", "-f", "-", "-f", "-"], "");
    assert_eq!((twice.code, twice.err.as_str()), (Some(2), "outrigger: -f -: standard input can be read only once\n"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("latin1.yaml");
    std::fs::write(&file, b"a: 1\nb: \xe9\n").unwrap();
    let done = outrigger(&["inject", "-f", file.to_str().unwrap()], "");
    assert!(done.err.contains("latin1.yaml:2: expected UTF-8; nothing is changed"), "{}", done.err);
}

#[test]
fn a_configuration_that_cannot_be_used_is_told_with_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("values.yaml");
    std::fs::write(&file, "global: [1\n").unwrap();
    let done = outrigger(&["inject", "-f", "-", "--valuesFile", file.to_str().unwrap()], POD);
    assert_eq!((done.code, done.out.as_str()), (Some(1), ""));
    assert!(done.err.contains("--valuesFile") && done.err.contains("values.yaml"), "{}", done.err);
}

#[test]
fn what_had_to_be_written_anew_is_warned_about() {
    // The selector repeats the template's labels, which grow, by name.
    let text = "# the shop\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  template:\n    metadata: # gone\n      labels: &labels\n        app: web\n    spec: {containers: [{name: app}]}\n  selector: {matchLabels: *labels}\n";
    let done = outrigger(&["inject", "-f", "-"], text);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(done.err.contains("standard input:2: warning: the document could not be edited in place and is written anew"), "{}", done.err);
    assert!(
        done.out.starts_with("# the shop\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  template:\n"),
        "{}",
        done.out
    );
    let object = super::read(&done.out).remove(0);
    assert_eq!(object["spec"]["selector"]["matchLabels"], serde_json::json!({"app": "web"}));
    assert_eq!(super::containers(&object["spec"]["template"]), ["app", "istio-proxy"]);

    let flow = format!("{}    # lost\n  ]\n", POD.replace("[{name: app}]", "[{name: app},"));
    let done = outrigger(&["inject", "-f", "-"], &flow);
    assert!(done.err.contains("warning: a part that had to be written anew had comments in it; they are lost"), "{}", done.err);
}

#[test]
fn a_config_map_without_the_key_that_was_meant_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("map.yaml");
    std::fs::write(&file, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\ndata: {other: ''}\n").unwrap();
    for (flag, key) in [("--injectConfigFile", "config"), ("--meshConfigFile", "mesh"), ("--valuesFile", "values")] {
        let path = file.to_str().unwrap();
        let done = outrigger(&["inject", "-f", "-", flag, path], POD);
        assert_eq!((done.code, done.out.as_str()), (Some(1), ""));
        assert!(done.err.contains(&format!("{flag} {path}: expected a ConfigMap with the key `{key}`")), "{}", done.err);
    }
}

#[test]
fn a_manifest_written_over_itself_keeps_its_mode_and_the_link_that_leads_to_it() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let folder = tempfile::tempdir().unwrap();
    let (file, link) = (folder.path().join("pod.yaml"), folder.path().join("link.yaml"));
    std::fs::write(&file, POD).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    symlink("pod.yaml", &link).unwrap();
    let path = link.to_str().unwrap();
    assert_eq!(outrigger(&["inject", "-f", path, "-o", path], "").code, Some(0));
    assert!(link.is_symlink() && std::fs::read_to_string(&file).unwrap().contains("istio-proxy"));
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}
