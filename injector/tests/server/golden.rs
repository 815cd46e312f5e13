//! Every case of the golden files through the webhook, as the pod that its controller would create: what the API server makes of the answer is
//! what `inject` makes of the pod, and is held to the contract's table.

use outrigger_injector::{Configuration, Context, Namespace, decide_selected, inject};
use serde_json::{Value, json};

use super::caller::patched;
use super::contract::cases::{Case, cases};
use super::contract::{Injection, check};
use super::webhook::Webhook;

fn configuration(case: &Case) -> Configuration {
    let text = |key| case.configuration(key);
    Configuration::read(&text("config").unwrap_or_default(), text("values").as_deref(), text("mesh").as_deref())
        .unwrap_or_else(|error| panic!("{}: {error}", case.name))
}

/// What the API server should end up with, or the message that refuses the pod.
fn expected(case: &Case, pod: &Value) -> Result<Value, String> {
    let mut pod = pod.clone();
    let had_namespace = pod["metadata"]["namespace"].is_string();
    pod["metadata"]["namespace"] = json!("shop");
    let namespace = Namespace { name: "shop".to_owned(), ..Namespace::default() };
    let context = Context { namespace, settings: configuration(case).settings, ..Context::default() };
    if !decide_selected(&pod, &context).inject {
        return Ok(pod);
    }
    let mut injected = inject(&pod, &context).map_err(|error| error.to_string())?.pod;
    if !had_namespace && let Some(metadata) = injected["metadata"].as_object_mut() {
        metadata.remove("namespace");
    }
    Ok(injected)
}

#[tokio::test]
async fn every_golden_case_comes_back_from_the_webhook_as_inject_makes_it() {
    let webhook = Webhook::start(outrigger_injector::webhook::server::Limits::default()).await;
    let mut caller = webhook.caller().await;
    let (mut injected, mut refused) = (0, 0);
    for case in cases() {
        webhook.state.configure(configuration(&case).settings, &case.name);
        let pod = case.created();
        let response = caller.review(&pod).await.unwrap_or_else(|error| panic!("{}: {error}", case.name));
        match expected(&case, &pod) {
            Ok(expected) => {
                let found = patched(&pod, &response);
                assert_eq!(found, expected, "{}", case.name);
                injected += 1;
                let facts = case.facts();
                let problems = check(&Injection::new(&pod, &found, &facts, None));
                assert!(problems.is_empty() || case.folder == "templates", "{}: against the contract:\n{}", case.name, problems.join("\n"));
            }
            Err(message) => {
                assert_eq!((&response["allowed"], &response["status"]["message"]), (&json!(false), &json!(message)), "{}", case.name);
                refused += 1;
            }
        }
    }
    assert!(injected >= 60 && refused >= 3, "{injected} injected, {refused} refused");
}
