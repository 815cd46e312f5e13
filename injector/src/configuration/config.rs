//! Key `config`: policy, templates and selectors.

use std::collections::BTreeMap;

use super::fields::Fields;
use super::{Configuration, ConfigurationError, Part};
use crate::selector::LabelSelector;
use crate::settings::Policy;
use crate::templates::{GATEWAY, SIDECAR, Template};

const KNOWN: [&str; 10] = [
    "policy",
    "defaultTemplates",
    "templates",
    "rawTemplates",
    "aliases",
    "neverInjectSelector",
    "alwaysInjectSelector",
    "injectedAnnotations",
    "ignoredNamespaces",
    "strict",
];

pub(super) fn read(text: &str, configuration: &mut Configuration) -> Result<(), ConfigurationError> {
    let fields = Fields::of_text(Part::Config, text)?;
    let Configuration { settings, warnings } = configuration;
    let unknown = fields.names().filter(|name| !KNOWN.contains(name));
    warnings.extend(unknown.map(|name| format!("config: {name} is not known and has no effect; known are {}", KNOWN.join(", "))));
    if let Some(policy) = fields.text("policy")? {
        settings.policy = policy_of(&policy, warnings);
    }
    if let Some(names) = fields.texts("defaultTemplates")?.filter(|names| !names.is_empty()) {
        settings.default_templates = names;
    }
    if let Some(strict) = fields.boolean("strict")? {
        settings.strict = strict;
    }
    if let Some(names) = fields.texts("ignoredNamespaces")? {
        settings.ignored_namespaces = names;
    }
    settings.never_inject.extend(selectors(&fields, "neverInjectSelector")?);
    settings.always_inject.extend(selectors(&fields, "alwaysInjectSelector")?);
    settings.injected_annotations.extend(fields.strings("injectedAnnotations")?);
    let aliases = fields.section("aliases")?;
    for name in aliases.names() {
        settings.aliases.insert(name.to_owned(), aliases.texts(name)?.unwrap_or_default());
    }
    settings.templates.extend(templates(&fields, warnings)?);
    Ok(())
}

/// Istio refuses to inject under any other word (contract 3.2, step 6), and so do we, but not silently.
fn policy_of(text: &str, warnings: &mut Vec<String>) -> Policy {
    match text {
        "enabled" => Policy::Enabled,
        "disabled" => Policy::Disabled,
        other => {
            warnings.push(format!("config: policy: expected `enabled` or `disabled`, got `{other}`; no pod is injected"));
            Policy::Unknown
        }
    }
}

fn selectors(fields: &Fields, name: &str) -> Result<Vec<LabelSelector>, ConfigurationError> {
    let Some(value) = fields.get(name) else { return Ok(Vec::new()) };
    serde_json::from_value(value.clone()).map_err(|error| fields.error(name, format!("expected a list of label selectors: {error}")))
}

/// Istio's own chart puts the programs it calls `sidecar` and `gateway` here; ours are built in.
fn templates(fields: &Fields, warnings: &mut Vec<String>) -> Result<BTreeMap<String, Template>, ConfigurationError> {
    let mut found = BTreeMap::new();
    let texts = [fields.strings("templates")?, fields.strings("rawTemplates")?];
    for (name, text) in texts.into_iter().flatten() {
        let template = Template::read(&text);
        if let Template::Unusable(reason) = &template {
            let consequence = match name.as_str() {
                SIDECAR | GATEWAY => "the built-in template of that name is used",
                _ => "pods that ask for it are refused",
            };
            warnings.push(format!("config: templates.{name}: {reason}; {consequence}"));
        }
        found.insert(name, template);
    }
    Ok(found)
}
