//! An object of the configuration: identity, metadata, typed body, and where it was written.

mod documents;
mod positions;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

pub use self::documents::KeptDocuments;
pub(crate) use self::positions::PositionCache;
pub use crate::api::kubernetes::{ObjectMeta, OwnerReference, Timestamp};
use crate::api::{destination_rule, gateway, kubernetes, peer_authentication, service_entry, virtual_service};
use crate::diagnostic::{Consequence, Diagnostic, Severity};
use crate::mesh::ProxyConfigResource;
use crate::parse::DEFAULT_NAMESPACE;
use crate::yaml::{self, Node, Position};

macro_rules! kinds {
    ($( $variant:ident $group:literal $versions:expr; )*) => {
        /// The kinds that are understood or at least recognised.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $( #[doc = concat!("`", stringify!($variant), "`, group `", $group, "`.")] $variant, )*
        }

        impl Kind {
            /// All kinds.
            pub const ALL: &[Kind] = &[$( Kind::$variant, )*];

            /// The name in manifests.
            pub fn as_str(self) -> &'static str {
                match self { $( Kind::$variant => stringify!($variant), )* }
            }

            /// The API group; empty for the core group.
            pub fn group(self) -> &'static str {
                match self { $( Kind::$variant => $group, )* }
            }

            /// The versions that are served; all have the same schema.
            pub fn versions(self) -> &'static [&'static str] {
                match self { $( Kind::$variant => $versions, )* }
            }
        }
    };
}

const NETWORKING: &[&str] = &["v1", "v1beta1", "v1alpha3"];
const SECURITY: &[&str] = &["v1", "v1beta1"];
const V1: &[&str] = &["v1"];

kinds! {
    VirtualService "networking.istio.io" NETWORKING;
    DestinationRule "networking.istio.io" NETWORKING;
    Gateway "networking.istio.io" NETWORKING;
    ServiceEntry "networking.istio.io" NETWORKING;
    Sidecar "networking.istio.io" NETWORKING;
    WorkloadEntry "networking.istio.io" NETWORKING;
    WorkloadGroup "networking.istio.io" NETWORKING;
    ProxyConfig "networking.istio.io" &["v1beta1"];
    EnvoyFilter "networking.istio.io" &["v1alpha3"];
    PeerAuthentication "security.istio.io" SECURITY;
    RequestAuthentication "security.istio.io" SECURITY;
    AuthorizationPolicy "security.istio.io" SECURITY;
    Telemetry "telemetry.istio.io" &["v1", "v1alpha1"];
    WasmPlugin "extensions.istio.io" &["v1alpha1"];
    TrafficExtension "extensions.istio.io" &["v1alpha1"];
    Namespace "" V1;
    Pod "" V1;
    Service "" V1;
    ServiceAccount "" V1;
    Secret "" V1;
    ConfigMap "" V1;
    EndpointSlice "discovery.k8s.io" &["v1", "v1beta1"];
    Deployment "apps" V1;
    StatefulSet "apps" V1;
    DaemonSet "apps" V1;
    ReplicaSet "apps" V1;
    Job "batch" V1;
}

impl Kind {
    /// Whether objects of this kind live in a namespace.
    pub fn is_namespaced(self) -> bool {
        self != Kind::Namespace
    }

    /// Whether the kind belongs to Istio.
    pub fn is_istio(self) -> bool {
        self.group().ends_with(".istio.io")
    }

    /// Whether the kind is a security policy, which must never be missing silently.
    pub fn is_policy(self) -> bool {
        matches!(self, Kind::PeerAuthentication | Kind::RequestAuthentication | Kind::AuthorizationPolicy)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What makes an object unique. Versions of an API group do not: they are views of one object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    /// Kind.
    pub kind: Kind,
    /// Namespace; empty for kinds without one.
    pub namespace: Arc<str>,
    /// Name, or `generateName` when there is no name.
    pub name: Arc<str>,
}

impl ObjectId {
    /// The identity that metadata gives an object; `None` without a name.
    pub(crate) fn of(kind: Kind, meta: &ObjectMeta) -> Option<ObjectId> {
        let name = if meta.name.is_empty() { &meta.generate_name } else { &meta.name };
        let namespace = match (kind.is_namespaced(), meta.namespace.as_str()) {
            (false, _) => "",
            (true, "") => DEFAULT_NAMESPACE,
            (true, namespace) => namespace,
        };
        (!name.is_empty()).then(|| ObjectId { kind, namespace: namespace.into(), name: name.as_str().into() })
    }
}

/// `VirtualService shop/frontend`.
impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.namespace {
            "" => write!(f, "{} {}", self.kind, self.name),
            namespace => write!(f, "{} {namespace}/{}", self.kind, self.name),
        }
    }
}

/// The typed content. For Istio kinds it is the `spec`, for Kubernetes kinds all but the metadata.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the names say it all")]
pub enum Body {
    VirtualService(Arc<virtual_service::VirtualService>),
    DestinationRule(Arc<destination_rule::DestinationRule>),
    Gateway(Arc<gateway::Gateway>),
    ServiceEntry(Arc<service_entry::ServiceEntry>),
    WorkloadEntry(Arc<service_entry::WorkloadEntry>),
    PeerAuthentication(Arc<peer_authentication::PeerAuthentication>),
    ProxyConfig(Arc<ProxyConfigResource>),
    Namespace(Arc<kubernetes::Namespace>),
    Pod(Arc<kubernetes::Pod>),
    Deployment(Arc<kubernetes::Deployment>),
    StatefulSet(Arc<kubernetes::StatefulSet>),
    DaemonSet(Arc<kubernetes::DaemonSet>),
    ReplicaSet(Arc<kubernetes::ReplicaSet>),
    Job(Arc<kubernetes::Job>),
    Service(Arc<kubernetes::Service>),
    EndpointSlice(Arc<kubernetes::EndpointSlice>),
    ServiceAccount(Arc<kubernetes::ServiceAccount>),
    Secret(Arc<kubernetes::Secret>),
    ConfigMap(Arc<kubernetes::ConfigMap>),
    /// Recognised, not read: Sidecar, AuthorizationPolicy and others that have no effect yet.
    Unread,
}

/// The text an object was read from; empty when it is not kept. Kept instead of the tree, which is many times larger and rarely needed again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The document.
    pub text: Arc<str>,
    /// Line of the file on which it starts, from 1.
    pub first_line: u32,
    /// Where in the document the object is, such as `items[2]` of a List; empty for the whole document.
    pub path: Box<str>,
}

/// An object of the configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Kind, namespace (`default` where none is written) and name.
    pub id: ObjectId,
    /// As written, such as `networking.istio.io/v1`.
    pub api_version: Box<str>,
    /// Metadata as written.
    pub meta: ObjectMeta,
    /// Typed content.
    pub body: Body,
    /// File.
    pub file: Arc<Path>,
    /// Text.
    pub source: Source,
    /// Positions asked for before.
    pub(crate) positions: PositionCache,
}

impl Object {
    /// The object's tree, read again from its text; `None` when that is not kept ([`crate::keep`]).
    pub fn tree(&self) -> Option<Node> {
        let document = yaml::read_document(&self.source.text, self.source.first_line)?;
        yaml::descend(&document, &self.source.path).cloned()
    }

    /// The whole object as JSON, with all fields as written, also those that are not modelled.
    pub fn to_json(&self) -> serde_json::Value {
        self.tree().map_or(serde_json::Value::Null, |tree| tree.to_json())
    }

    /// Where in the file a field path such as `spec.http[0].route[1].destination.subset` is written; for a field that is not
    /// written, where the nearest part of the path is; where the document is when its text is not kept.
    pub fn position(&self, field_path: &str) -> Position {
        let Source { text, first_line, path } = &self.source;
        let locate = |document: Option<&Node>| {
            let tree = document.and_then(|document| yaml::descend(document, path));
            tree.map_or(Position { line: *first_line, column: 1 }, |tree| yaml::locate(tree, field_path))
        };
        self.positions.get_or_find(field_path, || documents::look(text, *first_line, locate))
    }

    /// A diagnostic about a field of this object. It does not block `--strict`.
    pub fn diagnostic(
        &self,
        severity: Severity,
        code: &'static str,
        field_path: impl Into<String>,
        message: impl Into<String>,
    ) -> Diagnostic {
        let field = field_path.into();
        let Position { line, column } = self.position(&field);
        Diagnostic {
            severity,
            code,
            file: self.file.clone(),
            line,
            column,
            object: Some(self.id.clone()),
            field,
            message: message.into(),
            consequence: Consequence::None,
            blocks_strict: false,
        }
    }

    /// The key for "oldest first": creation time, name, namespace. Objects without a time come first.
    pub fn age_key(&self) -> (Timestamp, &str, &str) {
        (self.meta.creation_timestamp.unwrap_or_default(), &self.id.name, &self.id.namespace)
    }
}
