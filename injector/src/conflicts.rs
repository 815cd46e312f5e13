//! What in an application's containers works against the proxy: its uid or gid, whose traffic is not captured, and its ports, which only
//! one of the two can listen on.

use serde_json::Value;

use crate::complaints::Complaints;
use crate::pod;
use crate::prometheus::RESERVED;
use crate::template::Rendering;

const BYPASS: &str = "its traffic bypasses the proxy, mTLS and policies";
const TAKEN: &str = "whichever starts second fails";

/// Looks at all containers that are not injected.
pub(crate) fn find(rendering: &Rendering<'_>, complaints: &mut Complaints) {
    let ours = [crate::PROXY_CONTAINER, crate::INIT_CONTAINER, crate::VALIDATION_CONTAINER];
    let containers = pod::list(rendering.pod, "initContainers").iter().chain(pod::list(rendering.pod, "containers"));
    for container in containers.filter(|container| !ours.contains(&pod::name(container))) {
        if rendering.captures() {
            user(rendering, container, complaints);
        }
        ports(rendering, container, complaints);
    }
}

/// A container's own user, else the pod's. What its image says is not known here.
fn user(rendering: &Rendering<'_>, container: &Value, complaints: &mut Complaints) {
    let of_pod = rendering.pod.pointer("/spec/securityContext");
    let id = |field: &str| container.get("securityContext").and_then(|own| own.get(field)).or_else(|| of_pod?.get(field))?.as_u64();
    for (field, ours) in [("runAsUser", rendering.ids.uid), ("runAsGroup", rendering.ids.gid)] {
        if id(field) == Some(ours) {
            complaints.add(format!("container {}: {field} {ours} is the proxy's own", pod::name(container)), BYPASS);
        }
    }
}

fn ports(rendering: &Rendering<'_>, container: &Value, complaints: &mut Complaints) {
    let declared = container.get("ports").and_then(Value::as_array).into_iter().flatten();
    let numbers = declared.filter(|port| port.get("protocol").is_none_or(|protocol| protocol == "TCP"));
    for number in numbers.filter_map(|port| port.get("containerPort")?.as_u64()) {
        let status = number == u64::from(rendering.status_port) && number != 0;
        // 15004 is reserved by Istio, and nobody listens there; the moved status server leaves 15020 free.
        let reserved = RESERVED.iter().any(|port| u64::from(*port) == number && !matches!(port, 15004 | 15020 | 15053 | 15008));
        if status || reserved {
            complaints.add(format!("container {}: port {number} is one of the proxy's own", pod::name(container)), TAKEN);
        }
    }
}
