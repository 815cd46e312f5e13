//! `caBundle` of the webhook configurations: what would have to change for API servers to trust our certificate. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation, TestOperation};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use serde_json::Value;

/// The Service that a webhook calls if it is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
}

/// How a webhook configuration stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// All of our webhooks carry the bundle; this many.
    Published(usize),
    /// No webhook calls our Service.
    NotOurs,
    /// A JSON Patch that writes the bundle, unless the configuration is changed before.
    Differs(Patch),
}

/// Compares. Webhooks that call another Service belong to somebody else and are never touched.
#[must_use]
pub fn compare(configuration: &MutatingWebhookConfiguration, service: &Service, bundle: &str) -> Standing {
    let webhooks = configuration.webhooks.iter().flatten().enumerate();
    let ours: Vec<_> = webhooks
        .filter(|(_, webhook)| {
            let called = webhook.client_config.service.as_ref();
            called.is_some_and(|called| called.name == service.name && called.namespace == service.namespace)
        })
        .collect();
    let differing: Vec<usize> = ours
        .iter()
        .filter(|(_, webhook)| webhook.client_config.ca_bundle.as_ref().is_none_or(|present| present.0 != bundle.as_bytes()))
        .map(|(index, _)| *index)
        .collect();
    if ours.is_empty() {
        Standing::NotOurs
    } else if differing.is_empty() {
        Standing::Published(ours.len())
    } else {
        Standing::Differs(patch(configuration, &differing, bundle))
    }
}

/// Positions are only right for the version that was read, so the patch insists on it.
fn patch(configuration: &MutatingWebhookConfiguration, positions: &[usize], bundle: &str) -> Patch {
    let version = configuration.metadata.resource_version.clone().unwrap_or_default();
    let unchanged = TestOperation { path: PointerBuf::from_tokens(["metadata", "resourceVersion"]), value: Value::from(version) };
    let writes = positions.iter().map(|index| {
        let path = PointerBuf::from_tokens(["webhooks", &index.to_string(), "clientConfig", "caBundle"]);
        PatchOperation::Add(AddOperation { path, value: Value::from(STANDARD.encode(bundle)) })
    });
    Patch([PatchOperation::Test(unchanged)].into_iter().chain(writes).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Service, Standing, compare};

    fn configuration(webhooks: &Value) -> k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration {
        serde_json::from_value(json!({ "metadata": { "name": "c", "resourceVersion": "7" }, "webhooks": webhooks })).unwrap()
    }

    fn webhook(service: &str, bundle: &str) -> Value {
        json!({
            "name": format!("{service}.example"), "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": { "service": { "name": service, "namespace": "mesh" }, "caBundle": bundle },
        })
    }

    #[test]
    fn only_our_webhooks_are_written_and_only_where_they_differ() {
        let ours = Service { name: "ours".to_owned(), namespace: "mesh".to_owned() };
        let standing = compare(&configuration(&json!([webhook("theirs", ""), webhook("ours", "YQ=="), webhook("ours", "")])), &ours, "a");
        let expected = json!([
            { "op": "test", "path": "/metadata/resourceVersion", "value": "7" },
            { "op": "add", "path": "/webhooks/2/clientConfig/caBundle", "value": "YQ==" },
        ]);
        assert_eq!(standing, Standing::Differs(serde_json::from_value(expected).unwrap()));
        assert_eq!(compare(&configuration(&json!([webhook("ours", "YQ==")])), &ours, "a"), Standing::Published(1));
        assert_eq!(compare(&configuration(&json!([webhook("theirs", "")])), &ours, "a"), Standing::NotOurs);
        let elsewhere = Service { namespace: "other".to_owned(), ..ours };
        assert_eq!(compare(&configuration(&json!([webhook("ours", "")])), &elsewhere, "a"), Standing::NotOurs);
    }
}
