//! What other parts of the platform decide about a pod: Istio's CNI plugin, which writes the rules and reads them from the pod's annotations
//! (contract 2.9), and OpenShift, which gives every namespace its own users (contract 3.4).

use std::collections::BTreeMap;

use serde_json::Value;

use crate::settings::{Cni, Context};
use crate::template::Rendering;

/// uid and gid of the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ids {
    /// Its user.
    pub uid: u64,
    /// Its group.
    pub gid: u64,
}

/// The user and group every image of the proxy knows.
pub(crate) const PROXY_ID: u64 = 1337;

const MULTUS: &str = "k8s.v1.cni.cncf.io/networks";
const ATTACHMENT: &str = "default/istio-cni";

impl Ids {
    /// 1337, or under OpenShift the last of the namespace's range: the first is what applications get.
    pub(crate) fn of(context: &Context) -> Self {
        let range = |name: &str| {
            let text = context.namespace.annotations.get(name).filter(|_| context.settings.openshift)?;
            let block = text.split(',').next()?.trim();
            let (first, second) = block.split_once(['/', '-'])?;
            let (first, second) = (first.parse::<u64>().ok()?, second.parse::<u64>().ok()?);
            let last = if block.contains('/') { first.checked_add(second)?.checked_sub(1)? } else { second };
            Some(last).filter(|last| *last >= first.max(1))
        };
        let uid = range("openshift.io/sa.scc.uid-range").unwrap_or(PROXY_ID);
        Self { uid, gid: range("openshift.io/sa.scc.supplemental-groups").unwrap_or(uid) }
    }
}

/// The annotations that the CNI plugin reads; empty without one. `written` are the pod's own.
pub(crate) fn annotations(rendering: &Rendering<'_>, written: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut added = BTreeMap::new();
    if !rendering.by_cni() || !rendering.captures() {
        return added;
    }
    if rendering.context.settings.cni == Cni::Multus {
        added.insert(MULTUS.to_owned(), networks(written.get(MULTUS).map(String::as_str)));
    }
    let capture = &rendering.wishes.capture;
    let star = || Some("*".to_owned());
    let traffic = [
        ("includeOutboundIPRanges", capture.include_outbound_ranges.clone().or_else(star)),
        ("excludeOutboundIPRanges", capture.exclude_outbound_ranges.clone()),
        ("includeInboundPorts", capture.include_inbound_ports.clone().or_else(star)),
        ("excludeInboundPorts", Some(crate::template::excluded_inbound_ports(rendering))),
        ("includeOutboundPorts", capture.include_outbound_ports.clone()),
        ("excludeOutboundPorts", capture.exclude_outbound_ports.clone()),
        ("excludeInterfaces", capture.exclude_interfaces.clone()),
    ];
    let named = traffic.into_iter().filter_map(|(name, value)| Some((format!("traffic.sidecar.istio.io/{name}"), value?)));
    added.extend(named);
    added.extend(capture.virtual_interfaces.clone().map(|value| ("istio.io/reroute-virtual-interfaces".to_owned(), value)));
    added.insert("sidecar.istio.io/interceptionMode".to_owned(), rendering.interception_mode.clone());
    added
}

/// The list of networks, JSON or comma separated, with ours in it.
fn networks(written: Option<&str>) -> String {
    let list = written.unwrap_or_default().trim();
    if list.contains(ATTACHMENT) {
        return list.to_owned();
    }
    if let Ok(Value::Array(mut items)) = serde_json::from_str::<Value>(list) {
        items.push(serde_json::json!({ "name": "istio-cni", "namespace": "default" }));
        return Value::Array(items).to_string();
    }
    if list.is_empty() { ATTACHMENT.to_owned() } else { format!("{list}, {ATTACHMENT}") }
}

#[cfg(test)]
mod tests {
    use super::{Ids, networks};
    use crate::settings::Context;

    #[test]
    fn the_proxys_user_is_the_last_of_the_namespaces_range_under_openshift_alone() {
        let mut context = Context::default();
        let annotations = [("openshift.io/sa.scc.uid-range", "1000620000/10000"), ("openshift.io/sa.scc.supplemental-groups", "5-9,20/3")];
        context.namespace.annotations = annotations.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(Ids::of(&context), Ids { uid: 1337, gid: 1337 });
        context.settings.openshift = true;
        assert_eq!(Ids::of(&context), Ids { uid: 1_000_629_999, gid: 9 });
        for broken in ["", "x/1", "5/0", "18446744073709551615/2", "9-5"] {
            context.namespace.annotations.insert("openshift.io/sa.scc.uid-range".to_owned(), broken.to_owned());
            assert_eq!(Ids::of(&context).uid, 1337, "{broken}");
        }
    }

    #[test]
    fn the_attachment_is_added_once_to_either_form_of_the_list() {
        assert_eq!(networks(None), "default/istio-cni");
        assert_eq!(networks(Some("a, b")), "a, b, default/istio-cni");
        assert_eq!(networks(Some("default/istio-cni")), "default/istio-cni");
        assert_eq!(networks(Some(r#"[{"name":"a"}]"#)), r#"[{"name":"a"},{"name":"istio-cni","namespace":"default"}]"#);
    }
}
