//! Every pod passes Pod Security "restricted", as the standard's text has it, and cannot write its root file system.

use k8s_openapi::api::core::v1::{Container, PodSpec};
use serde_json::Value;

use crate::cases::{self, Object};

/// The pod an object makes, if it makes one.
pub fn pod(object: &Object) -> Option<PodSpec> {
    let spec: &Value = match object.kind() {
        "Pod" => &object.object["spec"],
        "Deployment" => &object.object["spec"]["template"]["spec"],
        _ => return None,
    };
    Some(serde_json::from_value(spec.clone()).expect("typed"))
}

#[test]
fn every_pod_passes_pod_security_restricted_with_a_read_only_root() {
    let mut pods = 0;
    for (name, rendered) in cases::accepted() {
        for object in rendered.objects() {
            let Some(pod) = pod(object) else { continue };
            pods += 1;
            if let Err(problem) = restricted(&pod) {
                panic!("{name}: {}: {problem}", object.label());
            }
        }
    }
    assert!(pods > 20, "{pods}");
}

/// Sysctls that the standard allows.
const SYSCTLS: [&str; 10] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
];

fn restricted(pod: &PodSpec) -> Result<(), String> {
    let security = pod.security_context.clone().ok_or("no securityContext")?;
    let ensure = |holds: bool, said: &str| if holds { Ok(()) } else { Err(said.to_owned()) };
    ensure(pod.host_network.is_none() && pod.host_pid.is_none() && pod.host_ipc.is_none(), "the host's namespaces")?;
    ensure(security.seccomp_profile.is_some_and(|profile| profile.type_ == "RuntimeDefault"), "seccompProfile")?;
    ensure(security.sysctls.iter().flatten().all(|sysctl| SYSCTLS.contains(&sysctl.name.as_str())), "sysctls")?;
    for volume in pod.volumes.iter().flatten() {
        let allowed = volume.config_map.is_some() || volume.secret.is_some() || volume.empty_dir.is_some();
        ensure(allowed || volume.projected.is_some() || volume.downward_api.is_some(), &format!("volume {}", volume.name))?;
    }
    pod.containers.iter().chain(pod.init_containers.iter().flatten()).try_for_each(container)
}

fn container(container: &Container) -> Result<(), String> {
    let security = container.security_context.clone().ok_or("no securityContext")?;
    let ensure = |holds: bool, said: &str| if holds { Ok(()) } else { Err(format!("container {}: {said}", container.name)) };
    ensure(security.allow_privilege_escalation == Some(false), "allowPrivilegeEscalation")?;
    ensure(security.privileged != Some(true), "privileged")?;
    ensure(security.run_as_non_root == Some(true) && security.run_as_user != Some(0), "runs as root")?;
    ensure(security.read_only_root_filesystem == Some(true), "readOnlyRootFilesystem")?;
    let capabilities = security.capabilities.ok_or("no capabilities")?;
    ensure(capabilities.drop == Some(vec!["ALL".to_owned()]) && capabilities.add.is_none(), "capabilities")?;
    let host_port = |port: &k8s_openapi::api::core::v1::ContainerPort| port.host_port.is_some();
    ensure(!container.ports.iter().flatten().any(host_port), "hostPort")?;
    ensure(container.resources.as_ref().is_some_and(|resources| resources.requests.is_some()), "no resource requests")
}

#[test]
fn the_proxy_and_the_injector_run_as_1337() {
    for (name, rendered) in cases::accepted() {
        for object in rendered.of_kind("Deployment") {
            for container in pod(object).expect("a pod").containers {
                let security = container.security_context.expect("given");
                assert_eq!((security.run_as_user, security.run_as_group), (Some(1337), Some(1337)), "{name}: {}", object.label());
            }
        }
    }
}

#[test]
fn a_pod_that_is_not_restricted_is_found() {
    let deployment = cases::case("default").of_kind("Deployment").next().expect("one");
    let mut spec = pod(deployment).expect("a pod");
    restricted(&spec).expect("as rendered");
    spec.containers[0].security_context.as_mut().expect("given").capabilities = None;
    assert!(restricted(&spec).is_err());
}
