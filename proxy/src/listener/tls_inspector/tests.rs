//! ClientHellos whole, cut, fragmented, damaged, and what is none.

use std::sync::Arc;

use proptest::prelude::*;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use rustls_pki_types::ServerName;

use super::*;

/// What rustls sends first.
fn client_hello(name: &'static str, alpn: &[&[u8]]) -> Vec<u8> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let mut connection = ClientConnection::new(Arc::new(config), ServerName::try_from(name).expect("name")).expect("client");
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).expect("hello");
    bytes
}

/// The same handshake message in records of at most `size` bytes.
fn in_records_of(size: usize, hello: &[u8]) -> Vec<u8> {
    let record = |chunk: &[u8]| [&[HANDSHAKE, 3, 1], (chunk.len() as u16).to_be_bytes().as_slice(), chunk].concat();
    hello[5..].chunks(size).flat_map(record).collect()
}

fn mesh_hello() -> (Vec<u8>, ClientHello) {
    let name = "outbound_.8080_.v1_.reviews.prod.svc.cluster.local";
    let alpn: [&[u8]; 3] = [b"istio-http/1.1", b"istio", b"http/1.1"];
    let expected = ClientHello { sni: Some(name.to_owned()), alpn: alpn.iter().map(|protocol| protocol.to_vec()).collect() };
    (client_hello(name, &alpn), expected)
}

#[test]
fn server_name_and_alpn_are_read() {
    let (bytes, expected) = mesh_hello();
    assert_eq!(inspect(&bytes), TlsInspection::Hello(expected));
}

#[test]
fn a_client_hello_cut_anywhere_is_incomplete_until_its_last_byte() {
    let (bytes, expected) = mesh_hello();
    for cut in 0..bytes.len() {
        assert_eq!(inspect(&bytes[..cut]), TlsInspection::Incomplete, "cut at {cut}");
    }
    assert_eq!(inspect(&[bytes.as_slice(), b"more"].concat()), TlsInspection::Hello(expected), "bytes that follow do not count");
}

#[test]
fn a_client_hello_spread_over_records_is_joined() {
    let (bytes, expected) = mesh_hello();
    for size in [1, 2, 3, 4, 5, 50, 200] {
        let split = in_records_of(size, &bytes);
        assert_eq!(inspect(&split), TlsInspection::Hello(expected.clone()), "records of {size}");
        assert_eq!(inspect(&split[..split.len() - 1]), TlsInspection::Incomplete, "records of {size}, last byte missing");
    }
}

#[test]
fn an_address_gives_no_server_name_and_names_are_lower_case() {
    assert_eq!(inspect(&client_hello("10.0.0.1", &[])), TlsInspection::Hello(ClientHello::default()));
    let TlsInspection::Hello(hello) = inspect(&client_hello("Shop.EXAMPLE.com", &[])) else { panic!("a ClientHello") };
    assert_eq!(hello.sni.as_deref(), Some("shop.example.com"));
}

#[test]
fn a_server_name_cannot_write_lines_of_its_own_into_logs() {
    let mut bytes = client_hello("shop.example.com", &[]);
    let name = bytes.windows(4).position(|window| window == b"shop").expect("the name");
    bytes[name + 1] = b'\n';
    assert_eq!(inspect(&bytes), TlsInspection::NotTls);
}

#[test]
fn other_protocols_are_not_tls() {
    let cases: [&[u8]; 8] = [
        b"GET / HTTP/1.1\r\n",
        b"\x15\x03\x01\x00\x02\x01\x00",
        b"\x16\x02",
        b"\x16\x03\x07",
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\xff\xff",
        b"\x16\x03\x03\x00\x04\x02\x00\x00\x00",
        b"\x16\x03\x03\x00\x04\x01\xff\xff\xff",
    ];
    for bytes in cases {
        assert_eq!(inspect(bytes), TlsInspection::NotTls, "{bytes:x?}");
    }
}

#[test]
fn lengths_that_lie_are_not_tls() {
    let (mut bytes, _) = mesh_hello();
    let extensions = bytes.len() - 3;
    bytes[extensions] ^= 0xff;
    let length_of_session_id = 5 + 4 + 2 + 32;
    let mut cut = bytes.clone();
    cut[length_of_session_id] = 0xff;
    assert_eq!(inspect(&cut), TlsInspection::NotTls);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = inspect(&bytes);
    }

    #[test]
    fn a_damaged_client_hello_never_panics(at in 0usize..200, value in any::<u8>(), cut in 0usize..400) {
        let (mut bytes, _) = mesh_hello();
        let at = at % bytes.len();
        bytes[at] = value;
        bytes.truncate(cut.max(1));
        let _ = inspect(&bytes);
    }
}
