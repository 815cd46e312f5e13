//! Which workloads are asked about.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use outrigger_injector::manifest::Workload;

/// `[type/]name[.namespace]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    kind: Option<String>,
    name: String,
}

impl FromStr for Target {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text.split_once('/') {
            Some((kind, name)) => Target { kind: Some(kind.to_lowercase()), name: name.to_owned() },
            None => Target { kind: None, name: text.to_owned() },
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Some(kind) => write!(f, "{kind}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl Target {
    /// Whether a workload is meant. Names may have dots in them, so a name as a whole counts too.
    pub fn fits(&self, workload: &Workload, namespace: &str) -> bool {
        let named = self.name == workload.name
            || self.name.rsplit_once('.').is_some_and(|(name, inside)| name == workload.name && inside == namespace);
        named && self.kind.as_deref().is_none_or(|kind| is_kind(kind, &workload.kind))
    }
}

/// Whether `kind`, in lower case, is one of kubectl's words for a kind.
fn is_kind(kind: &str, of: &str) -> bool {
    let full = of.to_lowercase();
    let short = match of {
        "Pod" => "po",
        "Deployment" => "deploy",
        "ReplicaSet" => "rs",
        "ReplicationController" => "rc",
        "DaemonSet" => "ds",
        "StatefulSet" => "sts",
        "CronJob" => "cj",
        "DeploymentConfig" => "dc",
        "Rollout" => "ro",
        _ => "",
    };
    // `deployments.apps` is the form with the group.
    let kind = kind.split('.').next().unwrap_or_default();
    kind == full || kind.strip_suffix('s') == Some(&full) || (!short.is_empty() && kind == short)
}

/// Conditions on labels, as kubectl's `-l` has them; all must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels(Vec<Condition>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    Is(String, String),
    IsNot(String, String),
    Exists(String),
    Missing(String),
}

impl FromStr for Labels {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',').map(|part| condition(part.trim())).collect::<Result<_, _>>().map(Labels)
    }
}

fn condition(text: &str) -> Result<Condition, String> {
    let pair = |(key, value): (&str, &str)| (key.trim().to_owned(), value.trim().to_owned());
    let condition = if let Some(split) = text.split_once("!=") {
        let (key, value) = pair(split);
        Condition::IsNot(key, value)
    } else if let Some(split) = text.split_once("==").or_else(|| text.split_once('=')) {
        let (key, value) = pair(split);
        Condition::Is(key, value)
    } else if let Some(key) = text.strip_prefix('!') {
        Condition::Missing(key.to_owned())
    } else {
        Condition::Exists(text.to_owned())
    };
    let (Condition::Is(key, _) | Condition::IsNot(key, _) | Condition::Exists(key) | Condition::Missing(key)) = &condition;
    let fits = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/'));
    if fits { Ok(condition) } else { Err(format!("expected k=v, k!=v, k or !k, got `{text}`")) }
}

impl Labels {
    /// Whether all conditions hold.
    pub fn fit(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|condition| match condition {
            Condition::Is(key, value) => labels.get(key) == Some(value),
            Condition::IsNot(key, value) => labels.get(key) != Some(value),
            Condition::Exists(key) => labels.contains_key(key),
            Condition::Missing(key) => !labels.contains_key(key),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Labels, Target, Workload};

    fn workload(kind: &str, name: &str) -> Workload {
        let text = str::to_owned;
        Workload { api_version: text("apps/v1"), kind: text(kind), name: text(name), namespace: None, object: text(""), pod: text("") }
    }

    #[test]
    fn a_target_is_a_name_with_or_without_type_and_namespace() {
        let web = workload("Deployment", "web.v1");
        for fitting in ["web.v1", "web.v1.shop", "deploy/web.v1", "deployment/web.v1.shop", "deployments.apps/web.v1", "Deployment/web.v1"]
        {
            assert!(fitting.parse::<Target>().unwrap().fits(&web, "shop"), "{fitting}");
        }
        for other in ["web", "web.v1.other", "pod/web.v1", "sts/web.v1.shop", "/web.v1"] {
            assert!(!other.parse::<Target>().unwrap().fits(&web, "shop"), "{other}");
        }
    }

    #[test]
    fn labels_are_compared_as_kubectl_does() {
        let labels = [("app", "web"), ("tier", "front")].map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        for (text, fits) in [
            ("app=web", true),
            ("app==web,tier", true),
            ("app!=web", false),
            ("other!=web,!other", true),
            ("!app", false),
            ("app=web,tier=back", false),
        ] {
            assert_eq!(text.parse::<Labels>().unwrap().fit(&labels), fits, "{text}");
        }
        assert_eq!("=v".parse::<Labels>().unwrap_err(), "expected k=v, k!=v, k or !k, got `=v`");
        assert!("app in (a,b)".parse::<Labels>().is_err());
    }
}
