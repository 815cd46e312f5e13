//! The example of the repository, and what pipes, files and terminals get.

use std::process::{Command, Stdio};

use super::{containers, inject, outrigger, read, root};

const SHOPFRONT: &str = "examples/shopfront";

#[test]
fn injecting_what_was_injected_changes_nothing() {
    let once = outrigger(&["inject", "-f", SHOPFRONT], "");
    assert_eq!((once.code, once.err.as_str()), (Some(0), ""));
    let pods: Vec<_> = read(&once.out).into_iter().filter(|object| object["kind"] == "Deployment").collect();
    assert_eq!(pods.len(), 4);
    for deployment in &pods {
        assert_eq!(containers(&deployment["spec"]["template"]), ["istio-proxy", "web"]);
    }
    let twice = outrigger(&["inject", "-f", "-"], &once.out);
    assert_eq!((twice.code, twice.err.as_str()), (Some(0), ""));
    assert_eq!(twice.out, once.out);
}

#[test]
fn only_lines_are_added_or_replaced_and_other_files_pass_through() {
    let original = std::fs::read_to_string(root().join(SHOPFRONT).join("shopfront.yaml")).unwrap();
    let injected = inject(&original);
    let mut lines = injected.lines();
    // What the proxy answers for the application.
    let replaced = ["            path: /healthz", "            port: http"];
    for line in original.lines().filter(|line| !replaced.contains(line)) {
        assert!(lines.any(|other| other == line), "{line}");
    }
    let other = std::fs::read_to_string(root().join(SHOPFRONT).join("virtual-service.yaml")).unwrap();
    assert_eq!(inject(&other), other);
}

#[test]
fn uninject_gives_the_original_back() {
    let original = std::fs::read_to_string(root().join(SHOPFRONT).join("shopfront.yaml")).unwrap();
    let back = outrigger(&["uninject", "-f", "-"], &inject(&original));
    assert_eq!((back.code, back.err.as_str()), (Some(0), ""));
    assert_eq!(back.out, original);
    let nothing = outrigger(&["uninject", "-f", "-"], &original);
    assert_eq!((nothing.code, nothing.out), (Some(0), original));
}

#[test]
fn a_dry_run_is_a_patch_without_colours_in_a_pipe() {
    let done = outrigger(&["inject", "-f", "examples/shopfront/shopfront.yaml", "--dry-run"], "");
    assert_eq!(done.code, Some(0));
    assert!(
        done.out.starts_with("--- examples/shopfront/shopfront.yaml\n+++ examples/shopfront/shopfront.yaml (changed)\n@@ "),
        "{}",
        done.out
    );
    assert!(done.out.contains("\n+      - name: istio-proxy\n") && !done.out.contains('\x1b'));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shopfront.yaml");
    std::fs::copy(root().join("examples/shopfront/shopfront.yaml"), &file).unwrap();
    let diff = outrigger(&["inject", "-f", file.to_str().unwrap(), "--dry-run"], "").out;
    let mut patch = Command::new("patch").arg(&file).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    std::io::Write::write_all(&mut patch.stdin.take().unwrap(), diff.as_bytes()).unwrap();
    assert!(patch.wait().unwrap().success());
    let patched = std::fs::read_to_string(&file).unwrap();
    assert_eq!(patched, outrigger(&["inject", "-f", "examples/shopfront/shopfront.yaml"], "").out);
}

#[test]
fn on_a_terminal_the_difference_is_coloured_unless_that_is_unwanted() {
    let command = format!("{} inject -f examples/shopfront/shopfront.yaml --dry-run", env!("CARGO_BIN_EXE_outrigger"));
    let on_terminal = |no_color: &str| {
        let mut script = Command::new("script");
        let done = script.args(["-qec", &command, "/dev/null"]).env("NO_COLOR", no_color).current_dir(root()).output().unwrap();
        String::from_utf8(done.stdout).unwrap()
    };
    assert!(on_terminal("").contains("\x1b[32m+      - name: istio-proxy\x1b[0m"));
    assert!(!on_terminal("1").contains('\x1b'));
}

#[test]
fn explain_says_who_why_and_what() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  labels: {sidecar.istio.io/inject: \"true\"}\nspec:\n  containers: [{name: app}]\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: b, namespace: shop}\nspec:\n  hostNetwork: true\n  containers: [{name: app}]\n";
    let done = outrigger(&["inject", "-f", "-", "--explain"], text);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(
        done.out.contains("Pod a (standard input:1): injected\n  why               pod label sidecar.istio.io/inject=true\n"),
        "{}",
        done.out
    );
    assert!(done.out.contains("containers        +istio-proxy"), "{}", done.out);
    assert!(
        done.out.contains("Pod shop/b (standard input:9): not injected\n  why               the pod uses the host's network\n"),
        "{}",
        done.out
    );
    assert!(done.out.ends_with("2 workloads, 1 injected\n"), "{}", done.out);
    assert!(!done.out.contains("apiVersion"));
}

#[test]
fn who_is_not_injected_is_told_beside_the_manifests() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: b\n  annotations:\n    sidecar.istio.io/inject: \"false\" # no\nspec:\n  containers: [{name: app}]\n";
    let done = outrigger(&["inject", "-f", "-"], text);
    assert_eq!((done.code, done.out.as_str()), (Some(0), text));
    assert_eq!(done.err, "standard input:1: Pod b: not injected: pod annotation sidecar.istio.io/inject=false\n");
}

#[test]
fn namespaces_come_from_the_object_the_flag_and_the_input() {
    let pod =
        |namespace: &str| format!("apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n{namespace}spec:\n  containers: [{{name: app}}]\n");
    let system = outrigger(&["inject", "-f", "-"], &pod("  namespace: kube-system\n"));
    assert!(system.err.contains("not injected: namespace kube-system is never injected into"), "{}", system.err);
    let flag = outrigger(&["inject", "-f", "-", "-n", "kube-public"], &pod(""));
    assert!(flag.err.contains("kube-public is never injected into"), "{}", flag.err);
    // Injection by hand does not ask the labels of namespaces.
    let labelled =
        format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: default, labels: {{istio-injection: disabled}}}}\n---\n{}", pod(""));
    assert_eq!(containers(&read(&inject(&labelled))[1]), ["app", "istio-proxy"]);
}

#[test]
fn results_go_to_a_file_even_the_one_they_come_from() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.yaml");
    let text = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p # mine\nspec:\n  containers: [{name: app}]\n";
    std::fs::write(&file, text).unwrap();
    let path = file.to_str().unwrap();
    let done = outrigger(&["inject", "-f", path, "-o", path], "");
    assert_eq!((done.code, done.out.as_str()), (Some(0), ""));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), inject(text));
}

#[test]
fn a_reader_that_has_seen_enough_ends_it_quietly() {
    // More than a pipe holds, so that writing goes on after the reader has left.
    let text = std::fs::read_to_string(root().join(SHOPFRONT).join("shopfront.yaml")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for copy in 0..20 {
        std::fs::write(folder.path().join(format!("{copy}.yaml")), &text).unwrap();
    }
    let script = format!("{} inject -f {} | head -c 1; exit ${{PIPESTATUS[0]}}", env!("CARGO_BIN_EXE_outrigger"), folder.path().display());
    let done = Command::new("bash").args(["-c", &script]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&done.stderr), "");
    assert_eq!((done.status.code(), done.stdout.len()), (Some(141), 1));
}

#[test]
fn files_are_joined_into_one_stream_in_order() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("b.yaml"), "---\nb: 1 # no line break").unwrap();
    std::fs::write(folder.path().join("a.yml"), "# first\na: 1\n").unwrap();
    std::fs::write(folder.path().join("c.json"), "{\"c\": 1}\n").unwrap();
    std::fs::write(folder.path().join("notes.txt"), "not: a manifest\n").unwrap();
    let done = outrigger(&["inject", "-f", folder.path().to_str().unwrap(), "-f", "-"], "d: 1\n");
    assert_eq!(done.out, "# first\na: 1\n---\nb: 1 # no line break\n---\n{\"c\": 1}\n---\nd: 1\n");
}
