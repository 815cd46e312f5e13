//! AdmissionReview, in the two versions that API servers have spoken: `admission.k8s.io/v1` and `v1beta1`. Both have the same fields; an
//! answer has to be in the version of the question and repeat its `uid`.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The API server cuts longer warnings, and drops all that follow 4 KiB together.
const WARNING: usize = 256;
const WARNINGS: usize = 4096;

/// Version of the question, hence of the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// `admission.k8s.io/v1`.
    #[default]
    V1,
    /// `admission.k8s.io/v1beta1`, gone from Kubernetes 1.22 on.
    V1Beta1,
}

impl Version {
    /// The `apiVersion`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "admission.k8s.io/v1",
            Self::V1Beta1 => "admission.k8s.io/v1beta1",
        }
    }
}

/// What is asked, as far as the injector needs it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Request {
    /// Repeated in the answer.
    pub uid: String,
    /// What is created.
    pub resource: Resource,
    /// `binding`, `eviction`, ...: not the pod itself.
    pub sub_resource: Option<String>,
    /// `CREATE`.
    pub operation: String,
    /// Namespace of the request; the object often does not name it.
    pub namespace: String,
    /// The pod as the API server has it.
    pub object: Value,
}

/// Group and plural name of a kind; the version does not matter here.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Resource {
    /// Empty for core.
    pub group: String,
    /// `pods`.
    pub resource: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    request: Option<Request>,
}

/// A body that is no AdmissionReview with a request. What was understood of it goes into the answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Malformed {
    /// Version to answer in.
    pub version: Version,
    /// The request's, or empty.
    pub uid: String,
    /// What was expected.
    pub message: String,
}

/// Reads a review.
///
/// # Errors
/// [`Malformed`]: not JSON, another kind or version, no request.
pub fn read(body: &[u8]) -> Result<(Version, Request), Malformed> {
    let unreadable = |error| Malformed { message: format!("could not decode body: {error}"), ..Malformed::default() };
    let envelope: Envelope = serde_json::from_slice(body).map_err(unreadable)?;
    let uid = || envelope.request.as_ref().map(|request| request.uid.clone()).unwrap_or_default();
    let version = match (envelope.kind.as_str(), envelope.api_version.as_str()) {
        ("AdmissionReview", "admission.k8s.io/v1") => Version::V1,
        ("AdmissionReview", "admission.k8s.io/v1beta1") => Version::V1Beta1,
        (kind, version) => {
            let message = format!("expected kind AdmissionReview of admission.k8s.io/v1 or v1beta1, got kind `{kind}` of `{version}`");
            return Err(Malformed { uid: uid(), message, ..Malformed::default() });
        }
    };
    match envelope.request {
        Some(request) => Ok((version, request)),
        None => Err(Malformed { version, message: "the AdmissionReview has no request".to_owned(), ..Malformed::default() }),
    }
}

/// The answer to a review.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Response {
    /// Whether the pod may be created.
    pub allowed: bool,
    /// JSON Patch, if the pod is changed.
    pub patch: Option<Vec<u8>>,
    /// Why not, if not allowed.
    pub message: Option<String>,
    /// Shown by kubectl.
    pub warnings: Vec<String>,
    /// For the audit log; keys without a prefix, which the API server adds.
    pub audit_annotations: BTreeMap<&'static str, String>,
}

impl Response {
    /// Not allowed, with the reason.
    #[must_use]
    pub fn refused(message: String) -> Self {
        Self { message: Some(message), ..Self::default() }
    }

    /// The body to send.
    #[must_use]
    pub fn render(&self, version: Version, uid: &str) -> Vec<u8> {
        let review = Rendered {
            api_version: version.as_str(),
            kind: "AdmissionReview",
            response: RenderedResponse {
                uid,
                allowed: self.allowed,
                status: self.message.as_deref().map(|message| Status { status: "Failure", message, reason: "Invalid", code: 422 }),
                patch_type: self.patch.as_ref().map(|_| "JSONPatch"),
                patch: self.patch.as_ref().map(|patch| STANDARD.encode(patch)),
                warnings: presentable(&self.warnings),
                audit_annotations: &self.audit_annotations,
            },
        };
        // Strings and maps of strings always have a JSON form.
        serde_json::to_vec(&review).unwrap_or_default()
    }
}

/// Warnings travel in HTTP headers: no control characters, bounded length, bounded sum.
fn presentable(warnings: &[String]) -> Vec<String> {
    let mut left = WARNINGS;
    let clean = warnings.iter().map(|warning| {
        let text: String = warning.chars().map(|character| if character.is_control() { ' ' } else { character }).collect();
        if text.len() <= WARNING {
            return text;
        }
        let end = text.floor_char_boundary(WARNING - '…'.len_utf8());
        format!("{}…", &text[..end])
    });
    clean
        .take_while(|warning| {
            let fits = warning.len() <= left;
            left = left.saturating_sub(warning.len());
            fits
        })
        .collect()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rendered<'r> {
    api_version: &'r str,
    kind: &'r str,
    response: RenderedResponse<'r>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RenderedResponse<'r> {
    uid: &'r str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    audit_annotations: &'r BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
struct Status<'r> {
    status: &'r str,
    message: &'r str,
    reason: &'r str,
    code: u16,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Malformed, Response, Version, read};

    fn rendered(response: &Response) -> Value {
        serde_json::from_slice(&response.render(Version::V1, "u-1")).unwrap()
    }

    #[test]
    fn both_versions_are_read_and_anything_else_is_named() {
        for version in [Version::V1, Version::V1Beta1] {
            let body =
                json!({ "apiVersion": version.as_str(), "kind": "AdmissionReview", "request": { "uid": "u-1", "namespace": "shop" } });
            let (read, request) = read(body.to_string().as_bytes()).unwrap();
            assert_eq!((read, request.uid.as_str(), request.namespace.as_str()), (version, "u-1", "shop"));
        }
        let other = json!({ "apiVersion": "admission.k8s.io/v2", "kind": "AdmissionReview", "request": { "uid": "u-2" } });
        let Malformed { uid, message, .. } = read(other.to_string().as_bytes()).unwrap_err();
        assert_eq!(uid, "u-2", "the API server only accepts an answer with its uid");
        assert!(message.contains("`admission.k8s.io/v2`"), "{message}");
        let empty = json!({ "apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview" });
        assert_eq!(read(empty.to_string().as_bytes()).unwrap_err().version, Version::V1Beta1);
        assert!(read(b"{").unwrap_err().message.contains("could not decode body"));
        let deep = format!("{{\"request\":{{\"object\":{}", "[".repeat(100_000));
        assert!(read(deep.as_bytes()).unwrap_err().message.contains("recursion"), "a deep document is no stack overflow");
    }

    #[test]
    fn an_answer_has_a_patch_type_only_with_a_patch_and_a_status_only_with_a_refusal() {
        let plain = rendered(&Response { allowed: true, ..Response::default() });
        assert_eq!(plain["response"], json!({ "uid": "u-1", "allowed": true }));
        let patched = rendered(&Response { allowed: true, patch: Some(b"[]".to_vec()), ..Response::default() });
        assert_eq!(patched["response"]["patchType"], "JSONPatch");
        assert_eq!(patched["response"]["patch"], "W10=");
        let refused = rendered(&Response::refused("because".to_owned()));
        assert_eq!(refused["response"]["allowed"], false);
        assert_eq!(refused["response"]["status"]["message"], "because");
    }

    #[test]
    fn warnings_fit_into_headers() {
        let warnings = vec!["a\nb".to_owned(), "ä".repeat(300)];
        let shown = rendered(&Response { warnings, ..Response::default() });
        assert_eq!(shown["response"]["warnings"][0], "a b");
        let long = shown["response"]["warnings"][1].as_str().unwrap();
        assert!(long.len() <= 256 && long.ends_with('…'), "{long}");
        let many = rendered(&Response { warnings: vec!["x".repeat(200); 50], ..Response::default() });
        assert_eq!(many["response"]["warnings"].as_array().unwrap().len(), 20);
    }
}
