//! CPU and memory of the injected containers.

use serde_json::{Map, Value};

use crate::annotations::ResourceOverrides;
use crate::quantity::amount;
use crate::settings::Resources;

/// An annotation changes the one value it names; Istio drops all defaults as soon as any of the four is given (contract section 8, item 6).
/// A default that contradicts an annotation gives way: Kubernetes refuses requests above limits.
pub(super) fn resources(asked: &ResourceOverrides, default: &Resources) -> Value {
    let (cpu, cpu_limit) = pair(&asked.cpu, &asked.cpu_limit, &default.cpu, &default.cpu_limit);
    let (memory, memory_limit) = pair(&asked.memory, &asked.memory_limit, &default.memory, &default.memory_limit);
    let sections = [("requests", [("cpu", cpu), ("memory", memory)]), ("limits", [("cpu", cpu_limit), ("memory", memory_limit)])];
    let section = |entries: [(&str, Option<String>); 2]| -> Map<String, Value> {
        entries.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::String(value?)))).collect()
    };
    let filled = sections.into_iter().map(|(name, entries)| (name.to_owned(), section(entries)));
    filled.filter(|(_, entries)| !entries.is_empty()).map(|(name, entries)| (name, Value::Object(entries))).collect::<Map<_, _>>().into()
}

type Quantity = Option<String>;

fn pair(request: &Quantity, limit: &Quantity, default_request: &Quantity, default_limit: &Quantity) -> (Quantity, Quantity) {
    let above = |request: &Quantity, limit: &Quantity| {
        let amount = |text: &Quantity| amount(text.as_deref()?);
        amount(request).zip(amount(limit)).is_some_and(|(request, limit)| request > limit)
    };
    let or = |asked: &Quantity, default: &Quantity| asked.clone().or_else(|| default.clone());
    let (asked_request, asked_limit) = (or(request, default_request), or(limit, default_limit));
    match above(&asked_request, &asked_limit) {
        true if limit.is_none() => (asked_request.clone(), asked_request),
        true if request.is_none() => (asked_limit.clone(), asked_limit),
        _ => (asked_request, asked_limit),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::resources;
    use crate::annotations::ResourceOverrides;
    use crate::settings::Resources;

    #[test]
    fn an_annotation_changes_one_value_and_a_default_that_contradicts_it_gives_way() {
        let text = |text: &str| Some(text.to_owned());
        let asked = ResourceOverrides { memory: text("2Gi"), cpu_limit: text("5m"), ..ResourceOverrides::default() };
        let expected = json!({ "requests": { "cpu": "5m", "memory": "2Gi" }, "limits": { "cpu": "5m", "memory": "2Gi" } });
        assert_eq!(resources(&asked, &Resources::default()), expected);
    }

    #[test]
    fn what_is_unlimited_is_not_written() {
        let none = Resources { cpu: None, memory: None, cpu_limit: None, memory_limit: None };
        assert_eq!(resources(&ResourceOverrides::default(), &none), json!({}));
    }
}
