//! Which ports the stand-in application opens in a container, and what it speaks on each. Pure.
//!
//! What a port speaks follows the rules by which the mesh selects protocols: `appProtocol` of a Service port, else
//! the first part of its name, else that of the container port's name.

use std::collections::BTreeMap;

use outrigger_config::api::kubernetes::{Container, ServicePort};
use outrigger_config::decode::IntOrString;

/// Arguments of `--port`, in order of port numbers.
///
/// `services` are the ports of all Services that select the pod. Those that no container declares belong to the
/// `first` container.
pub fn ports(container: &Container, first: bool, all: &[Container], services: &[ServicePort]) -> Vec<String> {
    let mut ports: BTreeMap<u16, &'static str> = BTreeMap::new();
    for port in container.ports.iter().filter(|port| port.protocol != "UDP") {
        let service = services.iter().find(|service| match target(service) {
            IntOrString::Int(number) => i32::from(port.container_port) == number,
            IntOrString::String(name) => name == port.name,
        });
        let spoken = service.and_then(service_protocol).or_else(|| protocol(&port.name)).unwrap_or("http");
        ports.insert(port.container_port, spoken);
    }
    let declared = |number: u16| all.iter().flat_map(|container| &container.ports).any(|port| port.container_port == number);
    for service in services.iter().filter(|service| first && service.protocol != "UDP") {
        if let IntOrString::Int(number) = target(service)
            && let Ok(number) = u16::try_from(number)
            && !declared(number)
        {
            ports.entry(number).or_insert(service_protocol(service).unwrap_or("http"));
        }
    }
    ports.into_iter().filter(|(number, _)| *number > 0).map(|(number, spoken)| format!("{number}/{spoken}")).collect()
}

fn target(service: &ServicePort) -> IntOrString {
    service.target_port.clone().unwrap_or(IntOrString::Int(i32::from(service.port)))
}

fn service_protocol(service: &ServicePort) -> Option<&'static str> {
    service.app_protocol.as_deref().and_then(protocol).or_else(|| protocol(&service.name))
}

/// What a protocol name means to the stand-in; `https` and `tls` ports end TLS themselves.
fn protocol(name: &str) -> Option<&'static str> {
    let name = name.strip_prefix("kubernetes.io/").unwrap_or(name);
    match name.split('-').next()? {
        "http" | "http2" | "h2c" | "ws" => Some("http"),
        "grpc" => Some("grpc"),
        "https" | "tls" | "wss" => Some("tls"),
        "tcp" | "mongo" | "redis" => Some("tcp"),
        "mysql" => Some("tcp-server-first"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use outrigger_config::api::kubernetes::ContainerPort;

    use super::*;

    fn container(ports: &[(&str, u16)]) -> Container {
        let port =
            |(name, number): &(&str, u16)| ContainerPort { name: name.to_string(), container_port: *number, ..ContainerPort::default() };
        Container { ports: ports.iter().map(port).collect(), ..Container::default() }
    }

    fn service(name: &str, port: u16, target: Option<IntOrString>) -> ServicePort {
        ServicePort { name: name.into(), port, target_port: target, ..ServicePort::default() }
    }

    #[test]
    fn a_service_port_tells_what_its_target_speaks() {
        let container = container(&[("web", 8080), ("", 3306)]);
        let all = [container.clone()];
        let services = [service("grpc", 80, Some(IntOrString::String("web".into()))), service("mysql", 3306, None)];
        assert_eq!(ports(&container, true, &all, &services), ["3306/tcp-server-first", "8080/grpc"]);
    }

    #[test]
    fn a_target_port_that_no_container_declares_is_opened_by_the_first() {
        let all = [container(&[]), container(&[("", 9000)])];
        let services = [service("http", 80, Some(IntOrString::Int(8080))), service("tcp", 9000, None)];
        assert_eq!(ports(&all[0], true, &all, &services), ["8080/http"]);
        assert_eq!(ports(&all[1], false, &all, &services), ["9000/tcp"]);
    }

    #[test]
    fn a_pod_without_ports_and_services_opens_none() {
        let all = [container(&[])];
        assert!(ports(&all[0], true, &all, &[]).is_empty());
    }
}
