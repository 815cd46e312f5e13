//! Rules for PeerAuthentication.

use super::Checker;
use crate::api::peer_authentication::PeerAuthentication;
use crate::decode::Path;

pub(super) fn check(cx: &mut Checker<'_>, spec: &Path<'_>, body: &PeerAuthentication) {
    let selector = body.selector.as_ref();
    if let Some(selector) = selector {
        let at = spec.field("selector");
        cx.selector(&at.field("matchLabels"), &selector.match_labels);
    }
    if body.port_level_mtls.is_empty() {
        let written = cx.node.get("spec").and_then(|spec| spec.get("portLevelMtls").or_else(|| spec.get("port_level_mtls")));
        let empty = written.is_some_and(|node| !node.is_null());
        return cx.require(!empty, &spec.field("portLevelMtls"), "expected at least one port");
    }
    let selects = selector.is_some_and(|selector| !selector.match_labels.is_empty());
    let message = "modes per port need a selector with labels, for ports belong to workloads";
    cx.require(selects, &spec.field("portLevelMtls"), message);
    for port in body.port_level_mtls.keys() {
        let key = port.to_string();
        cx.port(&spec.field("portLevelMtls").key(&key), *port);
    }
}
