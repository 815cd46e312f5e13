//! What a server has against a TLS session is said in words of TLS, also when it comes after the handshake.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
};

use outrigger_loadtests::{
    Cause, Plan, Run,
    bench::certificates::{self, Certificates},
};
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};

use crate::fixture::{free_ports, nghttpd, plain, report, scripted};

/// A TLS server that wants a client certificate if `roots` says whose, and does `serve` with what it reads.
fn server(
    files: &Certificates,
    roots: Option<&Path>,
    serve: impl Fn(StreamOwned<ServerConnection, TcpStream>) + Send + Sync + 'static,
) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().expect("versions");
    let builder = match roots {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut store = RootCertStore::empty();
            store.add(CertificateDer::from_pem_file(path).expect("a certificate")).expect("a root");
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider).build().expect("a verifier");
            builder.with_client_cert_verifier(verifier)
        }
    };
    let chain = vec![CertificateDer::from_pem_file(&files.certificate).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_file(&files.key).expect("a key");
    let mut config = builder.with_single_cert(chain, key).expect("a certificate with its key");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let config = Arc::new(config);
    scripted(move |stream| serve(StreamOwned::new(ServerConnection::new(config.clone()).expect("a session"), stream)))
}

fn to(address: SocketAddr) -> Plan {
    let mut plan = Plan::new(format!("https://{address}/"), 3);
    plan.tls.insecure = true;
    plan
}

#[tokio::test]
async fn a_server_that_misses_a_client_certificate_is_told_apart_from_one_that_closes() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = certificates::write(folder.path()).expect("certificates");
    let demanding = server(&files, Some(&files.authority), |mut stream| {
        let _refused = stream.read(&mut [0; 1024]);
        // The alert has been written by then; without a reader of it the close would overtake it as a reset.
        let _until_closed = stream.sock.read(&mut [0; 1024]);
    });
    for http2 in [false, true] {
        let report = report(Plan { http2, ..to(demanding) }).await;
        assert_eq!(report.errors.get(&Cause::Tls), Some(&3), "{http2}: {:?}", report.error_examples);
        let example = &report.error_examples[0];
        assert!(example.contains("CertificateRequired") && example.contains("--cert, --key"), "{http2}: {example}");
        for new_connections in [false, true] {
            let plan = Plan { http2, new_connections, preconnect: true, ..to(demanding) };
            let before = Run::prepare(plan).expect("threads").finish(std::future::pending()).await;
            let told = before.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(told.contains("not reachable: tls"), "{http2} {new_connections}: {told:?}");
        }
    }
}

#[tokio::test]
async fn a_connection_that_ends_below_tls_is_told_without_an_address_on_the_web() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = certificates::write(folder.path()).expect("certificates");
    let dropping = server(&files, None, |mut stream| drop(stream.read(&mut [0; 1024])));
    let report = report(to(dropping)).await;
    assert_eq!(report.errors.get(&Cause::Closed), Some(&3), "{:?}", report.error_examples);
    let example = &report.error_examples[0];
    assert!(example.contains("close_notify") && !example.contains("http"), "{example}");
}

#[tokio::test]
async fn a_plain_request_to_a_port_of_tls_asks_whether_tls_is_spoken() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = certificates::write(folder.path()).expect("certificates");
    let alerting = server(&files, None, |mut stream| {
        let _refused = stream.read(&mut [0; 1024]);
        let _until_closed = stream.sock.read(&mut [0; 1024]);
    });
    let [port] = free_ports();
    let _nghttpd = nghttpd(folder.path(), port, Some((&files.key, &files.certificate)));
    let closing = SocketAddr::from(([127, 0, 0, 1], port));
    for address in [alerting, closing] {
        let report = report(Plan::new(format!("http://{address}/"), 1)).await;
        let example = report.error_examples.first().cloned().unwrap_or_default();
        assert!(example.contains("speak") && example.contains("https://"), "{example}");
    }
}

#[tokio::test]
async fn a_kept_connection_that_closes_is_not_asked_about_tls() {
    let twice = scripted(|mut stream| {
        if crate::fixture::read_head(&mut stream).is_some() {
            let _sent = stream.write_all(&plain("ok"));
            let _second = crate::fixture::read_head(&mut stream);
        }
    });
    let report = report(Plan::new(format!("http://{twice}/"), 2)).await;
    assert!(report.error_examples[0].ends_with("closed without an answer"), "{:?}", report.error_examples);
}
