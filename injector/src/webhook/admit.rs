//! The answer to one review: whether the pod gets a proxy, the patch that adds it, and the reason for log, audit and kubectl. Pure.

use serde_json::Value;

use super::parameters::Parameters;
use super::patch;
use super::review::{Request, Response};
use crate::cluster::Cluster;
use crate::settings::{Context, Namespace, Settings};
use crate::{Cause, decide_selected, inject, pod};

/// How a review ended, for counters and the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Allowed, with a patch.
    Injected,
    /// Allowed, as it is.
    Skipped,
    /// Not allowed.
    Refused,
}

impl Outcome {
    /// For log and audit.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Injected => "injected",
            Self::Skipped => "skipped",
            Self::Refused => "refused",
        }
    }
}

/// An answer and what it means.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What became of the pod.
    pub outcome: Outcome,
    /// Why.
    pub reason: String,
    /// What the API server is told.
    pub response: Response,
}

impl Verdict {
    fn new(outcome: Outcome, reason: String, mut response: Response, settings: &Settings) -> Self {
        response.audit_annotations =
            [("outcome", outcome.as_str().to_owned()), ("reason", reason.clone()), ("revision", settings.revision.clone())].into();
        Self { outcome, reason, response }
    }

    /// Not allowed, for a reason outside the pod.
    #[must_use]
    pub fn refused(reason: String, settings: &Settings) -> Self {
        Self::new(Outcome::Refused, reason.clone(), Response::refused(reason), settings)
    }
}

/// Decides about one review. Namespace labels play no part: the webhook's selectors have spoken before the API server called.
#[must_use]
pub fn admit(mut request: Request, parameters: &Parameters, settings: &Settings, cluster: &Cluster) -> Verdict {
    if let Some(reason) = not_a_new_pod(&request) {
        return Verdict::new(Outcome::Skipped, reason, Response { allowed: true, ..Response::default() }, settings);
    }
    let mut original = std::mem::take(&mut request.object);
    if let Err(reason) = complete(&mut original, &request.namespace) {
        return Verdict::refused(reason, settings);
    }
    let mut settings = settings.clone();
    parameters.apply_to_settings(&mut settings);
    let namespace = Namespace { name: request.namespace, ..Namespace::default() };
    let context = Context { namespace, settings, cluster: cluster.clone(), ..Context::default() };
    answer(&original, &context)
}

fn answer(original: &Value, context: &Context) -> Verdict {
    let decision = decide_selected(original, context);
    let settings = &context.settings;
    let mut response = Response { allowed: true, warnings: decision.warnings, ..Response::default() };
    let outcome = if decision.inject {
        inject::inject(original, context)
    } else {
        return skipped(decision.cause, decision.reason, response, settings);
    };
    let mut verdict = match outcome {
        Ok(injected) => {
            response.warnings.extend(injected.warnings);
            response.patch = serde_json::to_vec(&patch::difference(original, &injected.pod)).ok();
            Verdict::new(Outcome::Injected, decision.reason, response, settings)
        }
        Err(error) => {
            response = Response { allowed: false, message: Some(error.to_string()), ..response };
            Verdict::new(Outcome::Refused, error.to_string(), response, settings)
        }
    };
    verdict.response.audit_annotations.insert("cause", decision.cause.id().to_owned());
    verdict
}

fn skipped(cause: Cause, reason: String, response: Response, settings: &Settings) -> Verdict {
    let mut verdict = Verdict::new(Outcome::Skipped, reason, response, settings);
    verdict.response.audit_annotations.insert("cause", cause.id().to_owned());
    verdict
}

/// A rule of the webhook configuration that asks about more than contract 3.1 has: harmless, so admitted.
fn not_a_new_pod(request: &Request) -> Option<String> {
    let is_pod = request.resource.group.is_empty() && request.resource.resource == "pods";
    let is_itself = request.sub_resource.as_deref().unwrap_or_default().is_empty();
    let is_new = request.operation == "CREATE";
    let what = format!("{} of {}/{}", request.operation, request.resource.group, request.resource.resource);
    (!(is_pod && is_itself && is_new)).then(|| format!("only newly created pods are injected, this is {what}"))
}

/// `managedFields` can be larger than the rest of the pod and take no part; the namespace is often missing in the object.
fn complete(original: &mut Value, namespace: &str) -> Result<(), String> {
    let fields = original.as_object_mut().ok_or("request.object: expected a pod, got none")?;
    let metadata = fields.entry("metadata").or_insert_with(|| serde_json::json!({}));
    let metadata = metadata.as_object_mut().ok_or("request.object.metadata: expected a mapping")?;
    metadata.remove("managedFields");
    if metadata.get("namespace").and_then(Value::as_str).unwrap_or_default().is_empty() {
        metadata.insert("namespace".to_owned(), Value::from(namespace));
    }
    Ok(())
}

/// The pod's name for the log: often it has none yet.
#[must_use]
pub fn display_name(original: &Value) -> String {
    let metadata = |field: &str| original.get("metadata")?.get(field)?.as_str();
    match metadata("name") {
        Some(name) => name.to_owned(),
        None => metadata("generateName").map_or_else(|| pod::name(original).to_owned(), |prefix| format!("{prefix}*")),
    }
}

#[cfg(test)]
mod tests;
