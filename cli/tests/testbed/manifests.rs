//! Manifests with mistakes: named, and the rest runs.

use outrigger_testbed::{Message, Options, Testbed};

use crate::bed::{PATIENCE, PROGRAM, app, begun, client, end, unique_name};

async fn messages(bed: &mut Testbed) -> Vec<String> {
    let mut receiver = bed.messages().unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    let mut texts = Vec::new();
    while let Ok(message) = receiver.try_recv() {
        texts.push(match message {
            Message::Diagnostic(diagnostic) => diagnostic.to_string(),
            Message::Note(note) => note,
        });
    }
    texts
}

#[tokio::test]
async fn a_pod_without_image_is_named_and_the_rest_runs() {
    let nameless = "apiVersion: v1\nkind: Pod\nmetadata: {name: nameless}\nspec: {containers: [{name: app}]}\n---\n";
    let mut bed = begun("no-image", &(nameless.to_owned() + &client())).await;
    bed.wait_until(PATIENCE, |state| state.pods.iter().any(|pod| pod.name == "client" && pod.ready)).await.unwrap();
    let said = messages(&mut bed).await.join("\n");
    assert!(said.contains("nameless") && said.contains("image"), "{said}");
    end(bed).await;
}

#[tokio::test]
async fn a_pod_that_misses_a_config_map_starts_when_it_comes() {
    let needy = client().replace("command: [sleep, infinity]", "command: [sleep, infinity], envFrom: [{configMapRef: {name: late}}]");
    let bed = begun("late", &needy).await;
    let status = "CreateContainerConfigError: ConfigMap default/late not found";
    bed.wait_until(PATIENCE, |state| state.pods.iter().any(|pod| pod.status == status)).await.unwrap();
    bed.apply("late.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: late}\ndata: {A: b}\n").await.unwrap();
    bed.wait_ready(PATIENCE).await.unwrap();
    end(bed).await;
}

#[tokio::test]
async fn a_syntax_error_names_file_and_line_and_what_ran_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.yaml"), app("front", 1)).unwrap();
    let options = Options::with_program(PROGRAM, [folder.path()]).named(unique_name("syntax"));
    let mut bed = Testbed::start(options).await.unwrap();
    bed.wait_ready(PATIENCE).await.unwrap();
    let before = bed.pods()[0].name.clone();
    std::fs::write(folder.path().join("a.yaml"), "kind: Pod\nmetadata: {name: [\n").unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let said = messages(&mut bed).await.join("\n");
    assert!(said.contains("a.yaml:") && said.contains("syntax error"), "{said}");
    assert_eq!(bed.pods()[0].name, before);
    end(bed).await;
}

#[tokio::test]
async fn an_empty_folder_is_no_error_and_what_comes_later_runs() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::with_program(PROGRAM, [folder.path()]).named(unique_name("empty"));
    let bed = Testbed::start(options).await.unwrap();
    assert!(bed.pods().is_empty());
    std::fs::write(folder.path().join("late.yaml"), client()).unwrap();
    bed.wait_ready(PATIENCE).await.unwrap();
    assert_eq!(bed.pods().len(), 1);
    end(bed).await;
}

#[tokio::test]
async fn a_path_that_does_not_exist_is_an_error_that_leaves_nothing() {
    let name = unique_name("no-path");
    let options = Options::with_program(PROGRAM, ["/nonexistent/manifests"]).named(&name);
    let error = Testbed::start(options).await.unwrap_err();
    assert!(format!("{error:#}").contains("/nonexistent"), "{error:#}");
    crate::bed::assert_gone(&name);
}

#[tokio::test]
async fn a_port_already_taken_is_told_with_the_reason() {
    let twice = "apiVersion: v1\nkind: Pod\nmetadata: {name: twice}\nspec:\n  containers:\n  \
                 - {name: a, image: example.com/a, ports: [{containerPort: 8080}]}\n  \
                 - {name: b, image: example.com/b, ports: [{containerPort: 8080}]}\n";
    let bed = begun("taken", twice).await;
    let told = |status: &str| status.starts_with("CrashLoopBackOff") && status.contains("8080") && status.contains("in use");
    bed.wait_until(PATIENCE, |state| state.pods.iter().any(|pod| told(&pod.status))).await.unwrap();
    end(bed).await;
}
