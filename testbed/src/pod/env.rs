//! The environment of a container, and `$(NAME)` in its command.

use std::collections::BTreeMap;

use outrigger_config::api::kubernetes::{Container, EnvVar};

use super::facts::{self, Facts, Sources};

/// The environment as written, references resolved, in order: `envFrom` first, later names win.
///
/// # Errors
/// When a reference leads nowhere and is not optional; the text says which.
pub fn environment(container: &Container, facts: &Facts, sources: &Sources) -> Result<BTreeMap<String, String>, String> {
    let mut env = BTreeMap::new();
    for source in &container.env_from {
        let (kind, reference) = match (&source.config_map_ref, &source.secret_ref) {
            (Some(reference), _) => ("ConfigMap", reference),
            (None, Some(reference)) => ("Secret", reference),
            (None, None) => continue,
        };
        let found = lookup(kind, &reference.name, facts, sources);
        if found.is_none() && !reference.optional {
            return Err(missing(kind, &reference.name, facts));
        }
        for (key, value) in found.unwrap_or_default() {
            env.insert(format!("{}{key}", source.prefix), text(value));
        }
    }
    for variable in &container.env {
        if let Some(value) = value(variable, container, facts, sources)? {
            let value = expand(&value, &env);
            env.insert(variable.name.clone(), value);
        }
    }
    Ok(env)
}

fn value(variable: &EnvVar, container: &Container, facts: &Facts, sources: &Sources) -> Result<Option<String>, String> {
    let Some(from) = &variable.value_from else { return Ok(Some(variable.value.clone())) };
    if let Some(selector) = &from.field_ref {
        return facts.field(selector).map(Some);
    }
    if let Some(selector) = &from.resource_field_ref {
        return facts::resource(selector, container).map(Some);
    }
    let (kind, name, key, optional) = match (&from.config_map_key_ref, &from.secret_key_ref) {
        (Some(selector), _) => ("ConfigMap", &selector.name, &selector.key, selector.optional),
        (None, Some(selector)) => ("Secret", &selector.name, &selector.key, selector.optional),
        (None, None) => return Ok(None),
    };
    match lookup(kind, name, facts, sources).map(|mut keys| keys.remove(key)) {
        Some(Some(bytes)) => Ok(Some(text(bytes))),
        _ if optional => Ok(None),
        Some(None) => Err(format!("{kind} {}/{name} has no key {key:?}", facts.meta.namespace)),
        None => Err(missing(kind, name, facts)),
    }
}

fn lookup(kind: &str, name: &str, facts: &Facts, sources: &Sources) -> Option<BTreeMap<String, Vec<u8>>> {
    let namespace = &facts.meta.namespace;
    if kind == "Secret" { sources.secret(namespace, name) } else { sources.config_map(namespace, name) }
}

fn missing(kind: &str, name: &str, facts: &Facts) -> String {
    format!("{kind} {}/{name} not found", facts.meta.namespace)
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Replaces `$(NAME)` by the variable; `$$` stands for `$`, and an unknown name stays as it is.
pub fn expand(text: &str, env: &BTreeMap<String, String>) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, from) = rest.split_at(at);
        result.push_str(before);
        let name = from.strip_prefix("$(").and_then(|inner| inner.split_once(')'));
        rest = if let Some(after) = from.strip_prefix("$$") {
            result.push('$');
            after
        } else if let Some((name, after)) = name.filter(|(name, _)| env.contains_key(*name)) {
            result.push_str(env.get(name).map_or("", String::as_str));
            after
        } else {
            result.push('$');
            from.get(1..).unwrap_or_default()
        };
    }
    result.push_str(rest);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_in_commands_follow_kubernetes() {
        let env = BTreeMap::from([("NS".to_owned(), "shop".to_owned())]);
        let cases = [
            ("$(NS).svc", "shop.svc"),
            ("$$(NS)", "$(NS)"),
            ("$(NONE)", "$(NONE)"),
            ("$HOME $", "$HOME $"),
            ("a$(NS)b$(NS)", "ashopbshop"),
            ("$(NS", "$(NS"),
        ];
        for (text, expected) in cases {
            assert_eq!(expand(text, &env), expected, "{text}");
        }
    }
}
