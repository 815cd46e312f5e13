//! The text of a file to typed, checked objects.
//!
//! Every document is handled by itself; within an object every problem is collected. What is in [`Parsed::objects`] may be
//! used; what is in [`Parsed::invalid`] was there but may not.

use std::path::Path as FilePath;
use std::sync::Arc;

use crate::decode::{Decode, Decoder, Dialect, Path, Problem, closest};
use crate::diagnostic::{Consequence, Diagnostic, Severity};
use crate::object::{Body, Kind, Object, ObjectId, ObjectMeta, PositionCache, Source};
use crate::validate;
use crate::yaml::{self, Document, Node};

/// What a file holds.
#[derive(Debug, Default)]
pub struct Parsed {
    /// Valid objects in the order written. An object written twice is there twice.
    pub objects: Vec<Arc<Object>>,
    /// Objects that are present but have errors, each named in a diagnostic.
    pub invalid: Vec<ObjectId>,
    /// What is to be said.
    pub diagnostics: Vec<Diagnostic>,
    /// True when some document could not be read far enough to know which object it is.
    pub syntax_error: bool,
}

/// The namespace of objects that do not name one.
pub const DEFAULT_NAMESPACE: &str = "default";

/// Reads, decodes and validates the objects of a file.
pub fn parse(file: &FilePath, text: &str) -> Parsed {
    let mut parser = FileParser { file: Arc::from(file), parsed: Parsed::default() };
    for document in yaml::stream(text) {
        parser.document(&document);
    }
    parser.parsed
}

/// Makes an object from JSON, as a program that builds objects needs it; `file` is what diagnostics will name.
///
/// # Errors
/// The diagnostics of an object that is not valid.
pub fn from_json(file: &FilePath, value: &serde_json::Value) -> Result<Arc<Object>, Vec<Diagnostic>> {
    let mut parsed = parse(file, &value.to_string());
    parsed.objects.pop().ok_or(parsed.diagnostics)
}

struct FileParser {
    file: Arc<FilePath>,
    parsed: Parsed,
}

impl FileParser {
    fn document(&mut self, document: &Document<'_>) {
        let node = match &document.node {
            Ok(node) => node,
            Err(error) => {
                let problem = Problem {
                    severity: Severity::Error,
                    code: "IST0106",
                    position: error.position,
                    field: String::new(),
                    message: format!("syntax error: {}", error.message),
                };
                return self.unreadable(problem);
            }
        };
        let text: Arc<str> = Arc::from(document.text);
        let mut ids = Vec::new();
        self.tree(node, &text, document.first_line, String::new(), &mut ids);
        for repeated in &document.repeated {
            let problem = Problem {
                severity: Severity::Warning,
                code: "IST0133",
                position: repeated.position,
                field: yaml::path_of_key(node, repeated.position).unwrap_or_else(|| repeated.key.clone()),
                message: "this key is written twice here; the later value counts".into(),
            };
            // Of the objects in a List, nobody can say which has it.
            let id = if ids.len() == 1 { ids.first().cloned() } else { None };
            self.push(id, problem, Consequence::None);
        }
    }

    /// One object, or the items of a List; `ids` collects which.
    fn tree(&mut self, node: &Node, text: &Arc<str>, first_line: u32, path: String, ids: &mut Vec<ObjectId>) {
        let kind = node.get("kind").and_then(Node::as_str);
        let is_list = node.get("apiVersion").and_then(Node::as_str) == Some("v1") && kind == Some("List");
        if !is_list {
            let source = Source { text: text.clone(), first_line, path: path.into() };
            return ids.extend(self.object(node, source));
        }
        for (index, item) in node.get("items").map(Node::items).unwrap_or_default().iter().enumerate() {
            let dot = if path.is_empty() { "" } else { "." };
            self.tree(item, text, first_line, format!("{path}{dot}items[{index}]"), ids);
        }
    }

    /// One object. `None` when it is not one that is used here, or nobody can tell which it is.
    fn object(&mut self, node: &Node, source: Source) -> Option<ObjectId> {
        let mut cx = Decoder::new(Dialect::Kubernetes);
        let kind = self.kind(node)?;
        let meta: ObjectMeta = match node.get("metadata") {
            Some(metadata) => Decode::decode(metadata, &Path::Root.field("metadata"), &mut cx),
            None => ObjectMeta::default(),
        };
        let Some(id) = ObjectId::of(kind, &meta) else {
            let position = node.entry("metadata").map_or(node.position, |entry| entry.key_position);
            cx.error(position, &Path::Root.field("metadata").field("name"), format!("a {kind} needs a name"));
            cx.into_problems().into_iter().for_each(|problem| self.unreadable(problem));
            return None;
        };
        let body = decode_body(kind, node, &mut cx);
        let mut problems = cx.into_problems();
        let broken_rules = validate::object(&id, &meta, &body, node);
        let own = broken_rules.into_iter().filter(|rule| !problems.iter().any(|problem| follows_from(rule, problem))).collect::<Vec<_>>();
        problems.extend(own);
        let valid = problems.iter().all(|problem| problem.severity < Severity::Error);
        for problem in problems {
            self.report(&id, problem);
        }
        self.not_enforced(&id, node);
        if valid {
            let api_version = node.get("apiVersion").and_then(Node::as_str).unwrap_or_default().into();
            let object =
                Object { id: id.clone(), api_version, meta, body, file: self.file.clone(), source, positions: PositionCache::default() };
            self.parsed.objects.push(Arc::new(object));
        } else {
            self.parsed.invalid.push(id.clone());
        }
        Some(id)
    }

    /// The kind of a tree; reports why there is none.
    fn kind(&mut self, node: &Node) -> Option<Kind> {
        match recognise(node) {
            Recognised::Kind(kind) => Some(kind),
            Recognised::Foreign(message) => {
                self.push(None, problem(Severity::Info, node, message), Consequence::None);
                None
            }
            Recognised::Unreadable(message) => {
                self.unreadable(problem(Severity::Error, node, message));
                None
            }
        }
    }

    /// Policies that nothing enforces yet are an error for `--strict`, but the object itself is in order.
    fn not_enforced(&mut self, id: &ObjectId, node: &Node) {
        if matches!(id.kind, Kind::AuthorizationPolicy | Kind::RequestAuthentication) {
            let message = format!("this {} is NOT ENFORCED: requests it would refuse are let through", id.kind);
            self.push(Some(id.clone()), problem(Severity::Error, node, message), Consequence::None);
            if let Some(last) = self.parsed.diagnostics.last_mut() {
                last.blocks_strict = true;
            }
        }
    }

    fn report(&mut self, id: &ObjectId, problem: Problem) {
        let fatal = problem.severity == Severity::Error;
        let consequence = if fatal { Consequence::LeftOut } else { Consequence::None };
        // An unknown field in a policy may be its teeth.
        let toothless = id.kind.is_policy() && problem.severity == Severity::Warning;
        self.push(Some(id.clone()), problem, consequence);
        if let Some(last) = self.parsed.diagnostics.last_mut() {
            last.blocks_strict = fatal || toothless;
        }
    }

    fn unreadable(&mut self, problem: Problem) {
        self.parsed.syntax_error = true;
        self.push(None, problem, Consequence::DocumentLeftOut);
        if let Some(last) = self.parsed.diagnostics.last_mut() {
            last.blocks_strict = true;
        }
    }

    fn push(&mut self, object: Option<ObjectId>, problem: Problem, consequence: Consequence) {
        self.parsed.diagnostics.push(Diagnostic {
            severity: problem.severity,
            code: problem.code,
            file: self.file.clone(),
            line: problem.position.line,
            column: problem.position.column,
            object,
            field: problem.field,
            message: problem.message,
            consequence,
            blocks_strict: false,
        });
    }
}

/// Whether a broken rule may only be the consequence of a value that could not be read and so became its default: it is about
/// the same field, one around it or one inside it.
fn follows_from(rule: &Problem, unread: &Problem) -> bool {
    unread.severity == Severity::Error && (rule.field.starts_with(&unread.field) || unread.field.starts_with(&rule.field))
}

fn problem(severity: Severity, node: &Node, message: String) -> Problem {
    Problem { severity, code: "IST0106", position: node.position, field: String::new(), message }
}

enum Recognised {
    Kind(Kind),
    /// Somebody else's object.
    Foreign(String),
    /// Nobody can know what it was meant to be.
    Unreadable(String),
}

/// Which kind a tree is, by `apiVersion` and `kind`.
fn recognise(node: &Node) -> Recognised {
    let field = |name| node.get(name).and_then(Node::as_str).filter(|text: &&str| !text.is_empty());
    if node.entries().is_empty() {
        return Recognised::Unreadable(format!("expected an object with apiVersion, kind and metadata, found {}", node.describe()));
    }
    let (Some(api_version), Some(kind)) = (field("apiVersion"), field("kind")) else {
        let missing = if field("kind").is_none() { "kind" } else { "apiVersion" };
        return Recognised::Unreadable(format!("expected an object with apiVersion and kind, found a mapping without {missing}"));
    };
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    let in_group = |known: &&Kind| known.group() == group;
    match Kind::ALL.iter().find(|known| in_group(known) && known.as_str() == kind) {
        Some(known) if known.versions().contains(&version) => Recognised::Kind(*known),
        Some(known) => Recognised::Unreadable(format!("{group} serves {kind} as {}, not as {version:?}", known.versions().join(", "))),
        None if group.ends_with(".istio.io") && Kind::ALL.iter().any(|known| in_group(&known)) => {
            let names = Kind::ALL.iter().filter(in_group).map(|known| known.as_str());
            let hint = closest(kind, names).map(|name| format!(", did you mean {name:?}?")).unwrap_or_default();
            Recognised::Unreadable(format!("{group} has no kind {kind:?}{hint}"))
        }
        None => Recognised::Foreign(format!("{kind} of {api_version} is not used here")),
    }
}

/// Reads the part of an object that its kind defines.
fn decode_body(kind: Kind, node: &Node, cx: &mut Decoder) -> Body {
    macro_rules! istio {
        ($variant:ident) => {
            Body::$variant(Arc::new(decode_spec(node, cx)))
        };
    }
    macro_rules! kubernetes {
        ($variant:ident) => {
            Body::$variant(Arc::new(Decode::decode(node, &Path::Root, cx)))
        };
    }
    match kind {
        Kind::VirtualService => istio!(VirtualService),
        Kind::DestinationRule => istio!(DestinationRule),
        Kind::Gateway => istio!(Gateway),
        Kind::ServiceEntry => istio!(ServiceEntry),
        Kind::WorkloadEntry => istio!(WorkloadEntry),
        Kind::PeerAuthentication => istio!(PeerAuthentication),
        Kind::ProxyConfig => istio!(ProxyConfig),
        Kind::Namespace => kubernetes!(Namespace),
        Kind::Pod => kubernetes!(Pod),
        Kind::Deployment => kubernetes!(Deployment),
        Kind::StatefulSet => kubernetes!(StatefulSet),
        Kind::DaemonSet => kubernetes!(DaemonSet),
        Kind::ReplicaSet => kubernetes!(ReplicaSet),
        Kind::Job => kubernetes!(Job),
        Kind::Service => kubernetes!(Service),
        Kind::EndpointSlice => kubernetes!(EndpointSlice),
        Kind::ServiceAccount => kubernetes!(ServiceAccount),
        Kind::Secret => kubernetes!(Secret),
        Kind::ConfigMap => kubernetes!(ConfigMap),
        Kind::Sidecar
        | Kind::WorkloadGroup
        | Kind::EnvoyFilter
        | Kind::RequestAuthentication
        | Kind::AuthorizationPolicy
        | Kind::Telemetry
        | Kind::WasmPlugin
        | Kind::TrafficExtension => Body::Unread,
    }
}

/// The `spec` of an Istio object; an absent one is an empty one.
fn decode_spec<T: Decode>(node: &Node, cx: &mut Decoder) -> T {
    cx.within(Dialect::Istio, |cx| {
        let fields = cx.fields(node, &Path::Root, &["spec"], &["apiVersion", "kind", "metadata", "status"]);
        fields.map(|fields| fields.get("spec", &Path::Root, cx)).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests;
