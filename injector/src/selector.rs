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
    /// An operator Kubernetes does not know, in words.
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
        match self.operator.as_str() {
            "In" => Ok(listed),
            "NotIn" => Ok(!listed),
            "Exists" => Ok(value.is_some()),
            "DoesNotExist" => Ok(value.is_none()),
            other => Err(format!("operator `{other}` of label {}: expected In, NotIn, Exists or DoesNotExist", self.key)),
        }
    }
}
