//! Which Gateway servers share a port, and which of them are dropped.
//!
//! Source: Istio semantics 3.3. Gateways are taken oldest first, their servers in order.

use std::collections::BTreeMap;
use std::net::{AddrParseError, IpAddr};

use super::context::Context;
use super::inbound;
use crate::api::gateway::{Gateway, Server, ServerTlsMode};
use crate::protocol::Protocol;
use crate::registry::{self, Resource};

/// A server that acts at this gateway.
pub(super) struct BoundServer<'r> {
    /// The Gateway.
    pub(super) gateway: &'r Resource<Gateway>,
    /// The server.
    pub(super) server: &'r Server,
    /// Its position in the Gateway.
    pub(super) index: usize,
    /// The Gateway's port number, which VirtualServices refer to.
    pub(super) number: u16,
    /// Its protocol.
    pub(super) protocol: Protocol,
    /// Hosts served: namespace from which VirtualServices may bind (`*` = any), name in lower case.
    pub(super) hosts: Vec<(String, String)>,
}

impl BoundServer<'_> {
    /// `namespace/name` of the Gateway.
    pub(super) fn gateway_name(&self) -> String {
        format!("{}/{}", self.gateway.namespace(), self.gateway.name())
    }

    /// The names served.
    pub(super) fn names(&self) -> Vec<String> {
        self.hosts.iter().map(|(_, name)| name.clone()).collect()
    }

    /// Which servers can stand side by side on one port.
    pub(super) fn family(&self) -> Family {
        match self.protocol {
            Protocol::Https | Protocol::Tls => Family::Tls,
            protocol if protocol.is_http() => Family::Http,
            _ => Family::Tcp,
        }
    }

    /// Whether bytes pass through encrypted.
    pub(super) fn passes_through(&self) -> bool {
        let mode = self.server.tls.as_ref().map(|tls| tls.mode).unwrap_or_default();
        matches!(mode, ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough)
    }
}

/// Protocol families; one port serves one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// Plaintext HTTP.
    Http,
    /// Anything in TLS.
    Tls,
    /// Plaintext TCP.
    Tcp,
}

/// The servers of all Gateways that select this workload, by bound port and address.
pub(super) fn servers<'r>(cx: &Context<'r>) -> BTreeMap<(u16, Option<IpAddr>), Vec<BoundServer<'r>>> {
    let services = inbound::own_services(cx);
    let mut ports: BTreeMap<(u16, Option<IpAddr>), Vec<BoundServer<'r>>> = BTreeMap::new();
    let selects = |gateway: &&Resource<Gateway>| gateway.selector.iter().all(|(key, value)| cx.node.labels.get(key) == Some(value));
    for gateway in cx.registry.gateways.iter().filter(selects) {
        for (index, server) in gateway.spec.servers.iter().enumerate() {
            let Some((bound, bind)) = bound(cx, gateway, server, index) else { continue };
            let port = listen_port(cx, &services, bound.number);
            let existing = ports.entry((port, bind)).or_default();
            if fits(existing, &bound) {
                existing.push(bound);
            }
        }
    }
    ports.retain(|_, servers| !servers.is_empty());
    ports
}

fn bound<'r>(
    cx: &Context<'_>,
    gateway: &'r Resource<Gateway>,
    server: &'r Server,
    index: usize,
) -> Option<(BoundServer<'r>, Option<IpAddr>)> {
    let port = server.port.as_ref()?;
    let Ok(bind) = address(&server.bind) else {
        let message = format!("`{}` cannot be bound here: expected an IP address; the server is left out", server.bind);
        cx.report(&gateway.object, format!("spec.servers[{index}].bind"), message);
        return None;
    };
    let hosts = server.hosts.iter().map(|host| split(host, gateway.namespace())).collect();
    let number = u16::try_from(port.number).ok().filter(|number| *number != 0)?;
    let protocol = Protocol::parse(&port.protocol)?;
    Some((BoundServer { gateway, server, index, number, protocol, hosts }, bind))
}

/// The address that `bind` names, `None` for all. However an address is written it is one, as is its socket.
fn address(bind: &str) -> Result<Option<IpAddr>, AddrParseError> {
    if bind.is_empty() {
        return Ok(None);
    }
    let address: IpAddr = bind.parse()?;
    Ok(Some(address.to_canonical()).filter(|address| !address.is_unspecified()))
}

/// `namespace/name`, `./name` or `name`.
fn split(host: &str, own_namespace: &str) -> (String, String) {
    let (namespace, name) = host.split_once('/').unwrap_or(("*", host));
    let namespace = if namespace == "." { own_namespace } else { namespace };
    (namespace.to_owned(), name.to_ascii_lowercase())
}

/// Where a Gateway's port is bound: at the target port of the gateway's Service, else at the number itself.
fn listen_port(cx: &Context<'_>, services: &[&registry::Service], number: u16) -> u16 {
    let port = services.iter().find_map(|service| service.port(number));
    port.and_then(|port| inbound::container_port(cx, port)).unwrap_or(number)
}

/// Whether a server may join those already on its port.
fn fits(existing: &[BoundServer<'_>], new: &BoundServer<'_>) -> bool {
    let Some(first) = existing.first() else { return true };
    match (first.family(), new.family()) {
        (Family::Http, Family::Http) => true,
        (Family::Tls, Family::Tls) => {
            let taken = |name: &String| existing.iter().any(|server| server.hosts.iter().any(|(_, known)| known == name));
            !new.hosts.iter().any(|(_, name)| taken(name))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_however_it_is_written() {
        for all in ["", "0.0.0.0", "::", "0:0::0", "::ffff:0.0.0.0"] {
            assert_eq!(address(all), Ok(None), "{all:?}");
        }
        for one in ["10.0.0.5", "::ffff:10.0.0.5"] {
            assert_eq!(address(one), Ok(Some(IpAddr::from([10, 0, 0, 5]))));
        }
        assert!(address("unix:///run/socket").is_err());
    }
}
