//! The metadata that sidecars tell each other in HTTP headers (sidecar contract 7.4).
//!
//! `x-envoy-peer-metadata-id` is the node id; `x-envoy-peer-metadata` is the base64 of a protobuf Struct with the
//! workload's names, keys in order so that equal workloads send equal bytes. Decoding is bounded and never trusts the
//! peer with more than text for labels.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use http::{HeaderName, HeaderValue};
use outrigger_config::model::{Node, Workload};
use outrigger_config::string_map::StringMap;
use prost::Message;
use prost_types::value::Kind;
use prost_types::{Struct, Value};

/// The node id of the sender.
pub const PEER_METADATA_ID: HeaderName = HeaderName::from_static("x-envoy-peer-metadata-id");
/// The sender's metadata.
pub const PEER_METADATA: HeaderName = HeaderName::from_static("x-envoy-peer-metadata");

/// Longest header value decoded; Istio's own are about 500 bytes.
const MAX_ENCODED: usize = 16 * 1024;
/// Longest label value kept.
const MAX_TEXT: usize = 253;

/// Both header values of this proxy, made once.
#[derive(Clone, Debug)]
pub struct PeerMetadata {
    /// Value of [`PEER_METADATA_ID`].
    pub id: HeaderValue,
    /// Value of [`PEER_METADATA`].
    pub metadata: HeaderValue,
}

impl PeerMetadata {
    /// The values for a node; `None` when its id cannot stand in a header (a pod name with control characters).
    pub fn of(node: &Node) -> Option<Self> {
        let id = HeaderValue::from_str(&node.id()).ok()?;
        let metadata = HeaderValue::from_str(&STANDARD.encode(describe(node).encode_to_vec())).ok()?;
        Some(PeerMetadata { id, metadata })
    }
}

fn describe(node: &Node) -> Struct {
    let workload = node.workload();
    let labels = [
        ("app", workload.app),
        ("service.istio.io/canonical-name", workload.canonical_name),
        ("service.istio.io/canonical-revision", workload.canonical_revision),
        ("version", workload.version),
    ];
    let labels = labels.into_iter().filter(|(_, value)| !value.is_empty()).map(|(key, value)| (key.to_owned(), text(value)));
    let mut fields = BTreeMap::from([
        ("CLUSTER_ID".to_owned(), text(node.cluster_id.clone())),
        ("IDENTITY".to_owned(), text(node.spiffe_id())),
        ("NAME".to_owned(), text(node.name.clone())),
        ("NAMESPACE".to_owned(), text(node.namespace.clone())),
        ("OWNER".to_owned(), text(node.owner.clone())),
        ("WORKLOAD_NAME".to_owned(), text(node.workload_name.clone())),
    ]);
    fields.insert("LABELS".to_owned(), Value { kind: Some(Kind::StructValue(Struct { fields: labels.collect() })) });
    Struct { fields }
}

fn text(value: String) -> Value {
    Value { kind: Some(Kind::StringValue(value)) }
}

/// The workload a peer's header describes; `None` for anything that is not such a description.
pub fn decode(value: &HeaderValue) -> Option<Workload> {
    let encoded = value.as_bytes();
    if encoded.len() > MAX_ENCODED {
        return None;
    }
    let unpadded = encoded.iter().rposition(|byte| *byte != b'=').map_or(&encoded[..0], |last| &encoded[..=last]);
    let message = Struct::decode(STANDARD_NO_PAD.decode(unpadded).ok()?.as_slice()).ok()?;
    let labels = match message.fields.get("LABELS").and_then(|value| value.kind.as_ref()) {
        Some(Kind::StructValue(labels)) => labels.fields.iter().filter_map(|(key, value)| Some((key.clone(), string(value)?))).collect(),
        _ => StringMap::new(),
    };
    let field = |name: &str| message.fields.get(name).and_then(string).unwrap_or_default();
    let identity = field("IDENTITY");
    let service_account = identity.rsplit_once("/sa/").map(|(_, account)| account).unwrap_or_default();
    Some(Workload::from_labels(&field("WORKLOAD_NAME"), &field("NAMESPACE"), service_account, &labels, &field("CLUSTER_ID")))
}

/// A text fit for a metric label.
fn string(value: &Value) -> Option<String> {
    match &value.kind {
        Some(Kind::StringValue(text)) if text.len() <= MAX_TEXT && !text.contains(char::is_control) => Some(text.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> Node {
        let labels = [("app", "reviews"), ("version", "v2")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        Node {
            name: "reviews-v2-abc".into(),
            namespace: "shop".into(),
            service_account: "reviews".into(),
            ip_addresses: vec![std::net::Ipv4Addr::new(10, 0, 0, 7).into()],
            labels: labels.into(),
            workload_name: "reviews-v2".into(),
            owner: "kubernetes://apis/apps/v1/namespaces/shop/deployments/reviews-v2".into(),
            ..Node::default()
        }
    }

    #[test]
    fn what_one_proxy_sends_another_reads() {
        let sent = PeerMetadata::of(&node());
        assert_eq!(
            sent.as_ref().map(|sent| &sent.id),
            Some(&HeaderValue::from_static("sidecar~10.0.0.7~reviews-v2-abc.shop~shop.svc.cluster.local"))
        );
        assert_eq!(sent.and_then(|sent| decode(&sent.metadata)), Some(node().workload()));
    }

    #[test]
    fn equal_workloads_send_equal_bytes() {
        let bytes = || PeerMetadata::of(&node()).map(|sent| sent.metadata);
        assert_eq!(bytes(), bytes());
    }

    #[test]
    fn base64_without_padding_is_read() {
        let unpadded = PeerMetadata::of(&node()).and_then(|sent| {
            let text = sent.metadata.to_str().ok()?.trim_end_matches('=').to_owned();
            HeaderValue::from_str(&text).ok()
        });
        assert_eq!(unpadded.and_then(|value| decode(&value)), Some(node().workload()));
    }

    #[test]
    fn junk_is_nobody() {
        for junk in ["", "====", "not base64!", "AAAA"] {
            assert_eq!(HeaderValue::from_str(junk).ok().and_then(|value| decode(&value)).filter(|w| !w.name.is_empty()), None, "{junk:?}");
        }
        let long = "A".repeat(MAX_ENCODED + 4);
        assert_eq!(HeaderValue::from_str(&long).ok().and_then(|value| decode(&value)), None);
    }
}
