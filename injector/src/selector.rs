//! Kubernetes label selectors, for `neverInjectSelector` and `alwaysInjectSelector`.

use std::collections::BTreeMap;

use serde::Deserialize;

/// All conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    /// Labels with exactly these values.
    pub match_labels: BTreeMap<String, String>,
    /// Further conditions.
    pub match_expressions: Vec<Requirement>,
}

/// One condition on one label.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Requirement {
    /// The label.
    pub key: String,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    pub operator: String,
    /// Values for the first two.
    pub values: Vec<String>,
}

impl LabelSelector {
    /// Whether there is no condition at all. Such a selector is ignored by the injector, where Kubernetes would match everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }

    /// Whether `labels` satisfy the selector.
    ///
    /// # Errors
    /// What Kubernetes would not take, in words: an unknown operator, values missing or superfluous, no label.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> Result<bool, String> {
        let mut all = self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value));
        for requirement in &self.match_expressions {
            all &= requirement.holds(labels.get(&requirement.key))?;
        }
        Ok(all)
    }
}

impl Requirement {
    fn holds(&self, value: Option<&String>) -> Result<bool, String> {
        let listed = value.is_some_and(|value| self.values.contains(value));
        let (operator, key) = (&self.operator, &self.key);
        match (operator.as_str(), self.values.as_slice()) {
            _ if key.is_empty() => Err(format!("operator `{operator}`: expected a label in `key`, got none")),
            ("In" | "NotIn", []) => Err(format!("operator `{operator}` of label {key}: expected at least one of `values`, got none")),
            ("In", _) => Ok(listed),
            ("NotIn", _) => Ok(!listed),
            ("Exists", []) => Ok(value.is_some()),
            ("DoesNotExist", []) => Ok(value.is_none()),
            ("Exists" | "DoesNotExist", values) => {
                Err(format!("operator `{operator}` of label {key}: expected no `values`, got {}", values.len()))
            }
            _ => Err(format!("operator `{operator}` of label {key}: expected In, NotIn, Exists or DoesNotExist")),
        }
    }
}
