//! What a connection says about its client: the address in `x-forwarded-for`, the certificate in `x-forwarded-client-cert`.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::OnceLock;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};

use super::{EXTERNAL_ADDRESS, FORWARDED_CLIENT_CERT, FORWARDED_FOR, Seen};
use crate::listener::{Direction, Downstream};

/// What a connection says about its client in every request, as text made with the first.
#[derive(Debug, Default)]
pub struct ClientText {
    address: OnceLock<HeaderValue>,
    certificate: OnceLock<Option<HeaderValue>>,
}

impl ClientText {
    fn address(&self, peer: IpAddr) -> &HeaderValue {
        self.address.get_or_init(|| match peer.to_canonical() {
            IpAddr::V4(address) => ipv4_text(address),
            IpAddr::V6(address) => HeaderValue::try_from(address.to_string()).unwrap_or(HeaderValue::from_static("-")),
        })
    }

    fn certificate(&self, downstream: &Downstream) -> Option<&HeaderValue> {
        let text = || client_cert_element(downstream).and_then(|element| HeaderValue::try_from(element).ok());
        self.certificate.get_or_init(text).as_ref()
    }
}

/// Dotted decimal in the one allocation that also counts its owners.
struct Ipv4Text {
    text: [u8; 15],
    length: usize,
}

impl AsRef<[u8]> for Ipv4Text {
    fn as_ref(&self) -> &[u8] {
        self.text.get(..self.length).unwrap_or_default()
    }
}

/// Dotted decimal, at a tenth of what the standard library's padding formatter takes; due once per connection.
pub(super) fn ipv4_text(address: Ipv4Addr) -> HeaderValue {
    let mut text = Ipv4Text { text: [0; 15], length: 0 };
    let mut push = |byte| {
        text.text[text.length] = byte;
        text.length += 1;
    };
    for (position, octet) in address.octets().into_iter().enumerate() {
        if position > 0 {
            push(b'.');
        }
        if octet >= 100 {
            push(b'0' + octet / 100);
        }
        if octet >= 10 {
            push(b'0' + octet / 10 % 10);
        }
        push(b'0' + octet % 10);
    }
    HeaderValue::from_maybe_shared(Bytes::from_owner(text)).unwrap_or(HeaderValue::from_static("-"))
}

pub(super) fn add_client_address(headers: &mut HeaderMap, seen: Seen, downstream: &Downstream) {
    let address = downstream.client_text.address(downstream.peer.ip());
    let list = if seen.forwarded_for { appended(headers, address) } else { Some(address.clone()) };
    if let Some(list) = list {
        headers.insert(FORWARDED_FOR, list);
    }
    headers.insert(EXTERNAL_ADDRESS, address.clone());
}

/// The addresses that `x-forwarded-for` names so far, and one more.
fn appended(headers: &HeaderMap, address: &HeaderValue) -> Option<HeaderValue> {
    let mut list = Vec::new();
    for known in headers.get_all(&FORWARDED_FOR).iter().filter(|value| !value.is_empty()) {
        list.extend_from_slice(known.as_bytes());
        list.push(b',');
    }
    list.extend_from_slice(address.as_bytes());
    HeaderValue::from_maybe_shared(Bytes::from(list)).ok()
}

/// Sidecars append an element for a mesh mTLS client and remove the header of a plaintext one; gateways never believe it.
pub(super) fn forward_client_cert(headers: &mut HeaderMap, seen: Seen, downstream: &Downstream) {
    if downstream.direction == Direction::Outbound {
        return;
    }
    let Some(element) = downstream.client_text.certificate(downstream) else {
        if seen.client_cert {
            headers.remove(FORWARDED_CLIENT_CERT);
        }
        return;
    };
    if !seen.client_cert || downstream.direction != Direction::Inbound {
        headers.insert(FORWARDED_CLIENT_CERT, element.clone());
        return;
    }
    let mut value = String::new();
    for known in headers.get_all(&FORWARDED_CLIENT_CERT) {
        value.push_str(&String::from_utf8_lossy(known.as_bytes()));
        value.push(',');
    }
    value.push_str(&String::from_utf8_lossy(element.as_bytes()));
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(FORWARDED_CLIENT_CERT, value);
    }
}

fn client_cert_element(downstream: &Downstream) -> Option<String> {
    let tls = downstream.tls.as_ref().filter(|tls| !tls.peer_certificate_hash.is_empty())?;
    let mut element = String::with_capacity(256);
    if let Some(own) = &tls.local_identity {
        let _ = write!(element, "By={own};");
    }
    let _ = write!(element, "Hash={};Subject=\"{}\"", tls.peer_certificate_hash, tls.peer_subject.replace('"', "\\\""));
    let _ = write!(element, ";URI={}", tls.peer_identity.as_deref().unwrap_or_default());
    for name in &tls.peer_dns_names {
        let _ = write!(element, ";DNS={name}");
    }
    Some(element)
}
