//! What the chart's service accounts may do: little, and by name.

use std::collections::BTreeSet;

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, Role};

use crate::cases::{self, Rendered};

fn rules(rendered: &Rendered) -> Vec<(String, PolicyRule)> {
    let mut all = Vec::new();
    for object in rendered.of_kind("Role") {
        let role: Role = serde_json::from_value(object.object.clone()).expect("typed");
        all.extend(role.rules.into_iter().flatten().map(|rule| (object.label(), rule)));
    }
    for object in rendered.of_kind("ClusterRole") {
        let role: ClusterRole = serde_json::from_value(object.object.clone()).expect("typed");
        assert!(role.aggregation_rule.is_none(), "{}", object.label());
        all.extend(role.rules.into_iter().flatten().map(|rule| (object.label(), rule)));
    }
    all
}

#[test]
fn no_permission_has_a_wildcard_and_writing_is_limited_to_names() {
    for (name, rendered) in cases::accepted() {
        for (role, rule) in rules(rendered) {
            let words = [&rule.verbs].into_iter().chain(&rule.resources).chain(&rule.api_groups).chain(&rule.resource_names).flatten();
            assert!(words.into_iter().all(|word| !word.contains('*')), "{name}: {role}: {rule:?}");
            let of_the_test =
                role.ends_with("-test") && rule.verbs == ["create"] && rule.resources.as_deref() == Some(&["pods".to_owned()]);
            let reads = rule.verbs.iter().all(|verb| ["get", "list", "watch"].contains(&verb.as_str()));
            let named = rule.resource_names.as_ref().is_some_and(|names| !names.is_empty());
            assert!(named || reads || of_the_test, "{name}: {role} writes without a name: {rule:?}");
            assert!(named || !sensitive(&rule), "{name}: {role} reads all of {:?}", rule.resources);
        }
    }
}

fn sensitive(rule: &PolicyRule) -> bool {
    let sensitive = ["secrets", "configmaps", "mutatingwebhookconfigurations", "serviceaccounts", "serviceaccounts/token"];
    rule.resources.iter().flatten().any(|resource| sensitive.contains(&resource.as_str()))
}

#[test]
fn with_a_certificate_from_elsewhere_the_injector_touches_no_secret_lease_or_webhook() {
    for case in ["cert-manager", "own certificate"] {
        for (role, rule) in rules(cases::case(case)) {
            let mut touched = rule.resources.iter().flatten();
            assert!(touched.all(|resource| ["configmaps", "nodes", "pods"].contains(&resource.as_str())), "{case}: {role}: {rule:?}");
        }
    }
}

#[test]
fn every_named_object_is_one_that_the_chart_makes() {
    for (name, rendered) in cases::accepted() {
        let made: BTreeSet<&str> = rendered.objects().iter().map(cases::Object::name).collect();
        for (role, rule) in rules(rendered) {
            for named in rule.resource_names.iter().flatten() {
                assert!(made.contains(named.as_str()), "{name}: {role}: {named}");
            }
        }
    }
}

#[test]
fn every_binding_leads_from_an_account_to_a_role_of_the_chart() {
    for (name, rendered) in cases::accepted() {
        for object in rendered.of_kind("RoleBinding").chain(rendered.of_kind("ClusterRoleBinding")) {
            let reference = &object.object["roleRef"];
            let role = rendered.one(reference["kind"].as_str().expect("given"), reference["name"].as_str().expect("given"));
            assert_eq!(role["metadata"]["namespace"], object.object["metadata"]["namespace"], "{name}: {}", object.label());
            for subject in object.object["subjects"].as_array().expect("given") {
                let account = rendered.one("ServiceAccount", subject["name"].as_str().expect("given"));
                assert_eq!(account["metadata"]["namespace"], subject["namespace"], "{name}: {}", object.label());
            }
        }
    }
}
