//! The rules an object must keep beyond the types of its fields, one file per kind.
//!
//! An error (IST0106) makes the object unusable; a warning (IST0133 unless another code is named) does not. Rules about more
//! than one object are in [`references`]; they never remove an object, for what is missing may still come.

mod common;
mod destination_rule;
pub mod effect;
mod gateway;
mod http_headers;
mod http_policy;
mod http_route;
mod kubernetes;
mod mesh;
mod peer_authentication;
mod reachability;
pub mod references;
mod service_entry;
#[cfg(test)]
mod tests;
mod virtual_service;

use crate::decode::{Path, Problem};
use crate::diagnostic::Severity;
use crate::object::{Body, ObjectId, ObjectMeta};
use crate::yaml::{self, Node};

/// Checks one object by itself. `node` is its tree.
pub fn object(id: &ObjectId, meta: &ObjectMeta, body: &Body, node: &Node) -> Vec<Problem> {
    let mut cx = Checker { node, problems: Vec::new() };
    kubernetes::metadata(&mut cx, meta);
    effect::check(&mut cx, id.kind);
    let spec = &Path::Root.field("spec");
    match body {
        Body::VirtualService(body) => virtual_service::check(&mut cx, spec, id, body),
        Body::DestinationRule(body) => destination_rule::check(&mut cx, spec, id, body),
        Body::Gateway(body) => gateway::check(&mut cx, spec, id, body),
        Body::ServiceEntry(body) => service_entry::check(&mut cx, spec, id, body),
        Body::PeerAuthentication(body) => peer_authentication::check(&mut cx, spec, body),
        Body::Pod(pod) => kubernetes::pod_spec(&mut cx, spec, &pod.spec, &[]),
        Body::Deployment(body) => kubernetes::workload(&mut cx, spec, Some(&body.spec.selector), &body.spec.template, &[]),
        Body::StatefulSet(body) => {
            kubernetes::workload(&mut cx, spec, Some(&body.spec.selector), &body.spec.template, &body.spec.volume_claim_templates)
        }
        Body::DaemonSet(body) => kubernetes::workload(&mut cx, spec, Some(&body.spec.selector), &body.spec.template, &[]),
        Body::ReplicaSet(body) => kubernetes::workload(&mut cx, spec, Some(&body.spec.selector), &body.spec.template, &[]),
        Body::Job(body) => kubernetes::workload(&mut cx, spec, None, &body.spec.template, &[]),
        Body::Service(body) => kubernetes::service(&mut cx, spec, &body.spec),
        Body::EndpointSlice(body) => kubernetes::endpoint_slice(&mut cx, body),
        Body::ConfigMap(body) => mesh::check(&mut cx, id, body),
        Body::WorkloadEntry(body) => service_entry::workload_entry(&mut cx, spec, body),
        Body::ProxyConfig(_) | Body::Namespace(_) | Body::ServiceAccount(_) | Body::Secret(_) | Body::Unread => {}
    }
    cx.problems
}

/// Collects what the rules find.
pub(crate) struct Checker<'n> {
    node: &'n Node,
    problems: Vec<Problem>,
}

impl Checker<'_> {
    /// A violation: the object cannot be used (IST0106).
    pub(crate) fn error(&mut self, path: &Path<'_>, message: impl Into<String>) {
        self.push(Severity::Error, "IST0106", path, message.into());
    }

    /// A violation unless `holds`.
    pub(crate) fn require(&mut self, holds: bool, path: &Path<'_>, message: &str) {
        if !holds {
            self.error(path, message);
        }
    }

    /// Something doubtful (IST0133).
    pub(crate) fn warning(&mut self, path: &Path<'_>, message: impl Into<String>) {
        self.push(Severity::Warning, "IST0133", path, message.into());
    }

    /// Something doubtful if `doubtful`.
    pub(crate) fn warn_if(&mut self, doubtful: bool, path: &Path<'_>, message: &str) {
        if doubtful {
            self.warning(path, message);
        }
    }

    /// A message with a code of its own.
    pub(crate) fn push(&mut self, severity: Severity, code: &'static str, path: &Path<'_>, message: String) {
        let field = path.to_string();
        let position = yaml::locate(self.node, &field);
        self.problems.push(Problem { severity, code, position, field, message });
    }
}
