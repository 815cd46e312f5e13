//! The golden cases as the webhook answers them: the review's JSON patch, applied to the pod the API server sent, is what the contract says.

mod contract;

use contract::cases::{Case, cases};
use contract::{Injection, check};
use outrigger_injector::webhook::admit::{Outcome, admit};
use outrigger_injector::webhook::parameters::Parameters;
use outrigger_injector::webhook::review::{Request, Resource};
use outrigger_injector::{Cluster, Configuration, Context, Namespace, Settings, inject};
use serde_json::Value;

fn settings(case: &Case) -> Settings {
    let text = |key| case.configuration(key);
    let read = Configuration::read(&text("config").unwrap_or_default(), text("values").as_deref(), text("mesh").as_deref());
    read.unwrap_or_else(|error| panic!("{}: {error}", case.name)).settings
}

fn request(pod: &Value) -> Request {
    let resource = Resource { resource: "pods".to_owned(), ..Resource::default() };
    Request { operation: "CREATE".to_owned(), namespace: "shop".to_owned(), object: pod.clone(), resource, ..Request::default() }
}

#[test]
fn the_patch_of_every_case_makes_the_pod_the_contract_wants() {
    let mut injected = 0;
    for case in cases() {
        let settings = settings(&case);
        let created = case.created();
        let verdict = admit(request(&created), &Parameters::default(), &settings, &Cluster::default());
        let namespace = Namespace { name: "shop".to_owned(), ..Namespace::default() };
        let expected = inject(&created, &Context { namespace, settings, ..Context::default() });
        let Ok(expected) = expected else {
            assert_eq!((verdict.outcome, verdict.response.allowed), (Outcome::Refused, false), "{}", case.name);
            continue;
        };
        assert_eq!((verdict.outcome, verdict.response.allowed), (Outcome::Injected, true), "{}: {}", case.name, verdict.reason);
        let patch = verdict.response.patch.as_deref().unwrap_or_else(|| panic!("{}: no patch", case.name));
        let patch: json_patch::Patch = serde_json::from_slice(patch).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let mut after = created.clone();
        json_patch::patch(&mut after, &patch).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        assert_eq!(after, expected.pod, "{}", case.name);
        assert_eq!(verdict.response.warnings, expected.warnings, "{}", case.name);
        let facts = case.facts();
        let problems = check(&Injection::new(&created, &after, &facts, None));
        assert!(problems.is_empty() || case.folder == "templates", "{}: {}", case.name, problems.join("\n"));
        injected += 1;
    }
    assert!(injected >= 60, "only {injected} cases were injected");
}
