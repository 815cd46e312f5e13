//! Where probes go and what they carry.

use super::*;

#[test]
fn only_the_contracts_paths_are_probes() {
    for (path, is) in [
        ("/app-health/web/livez", true),
        ("/app-lifecycle/web/prestopz", true),
        ("/app-health/web/otherz", false),
        ("/app-health//livez", false),
        ("/app-health/a/b/livez", false),
        ("/elsewhere/web/livez", false),
    ] {
        assert_eq!(is_probe_path(path), is, "{path}");
    }
}

fn headers(of_probe: &[(&str, &str)], of_kubelet: &[(&'static str, &'static str)]) -> HeaderMap {
    let http_headers = of_probe.iter().map(|(name, value)| Header { name: name.to_string(), value: value.to_string() }).collect();
    let probe = HttpGet { path: "/live".into(), port: 8080, scheme: String::new(), http_headers };
    let mut headers = HeaderMap::new();
    for (name, value) in of_kubelet {
        headers.append(*name, HeaderValue::from_static(value));
    }
    let context = Context { headers: &headers, status_port: 15020, http2: true };
    let request = probe.request("10.0.0.7:8080".parse().expect("address"), "/live", &context).expect("valid");
    request.headers().clone()
}

#[test]
fn host_names_the_applications_port_unless_the_probe_says_otherwise() {
    for (asked, of_probe, host) in [
        ("10.0.0.7:15020", &[][..], "10.0.0.7:8080"),
        ("[fd00::7]:15020", &[], "[fd00::7]:8080"),
        ("elsewhere", &[], "10.0.0.7:8080"),
        ("10.0.0.7:15020", &[("Host", "web.example")], "web.example"),
        ("10.0.0.7:15020", &[(":authority", "web.example")], "web.example"),
    ] {
        let of_kubelet = [("host", asked), ("user-agent", "kube-probe/1.30")];
        let sent = headers(of_probe, &of_kubelet);
        assert_eq!(
            (&sent[header::HOST], &sent[header::USER_AGENT]),
            (&HeaderValue::from_static(host), &HeaderValue::from_static("kube-probe/1.30"))
        );
    }
}

#[test]
fn a_probes_headers_replace_the_kubelets_and_may_repeat() {
    let sent = headers(&[("Accept", "a/a"), ("accept", "b/b")], &[("accept", "*/*"), ("x-other", "1")]);
    assert_eq!(sent.get_all(header::ACCEPT).iter().collect::<Vec<_>>(), ["a/a", "b/b"]);
    assert_eq!(sent["x-other"], "1");
}

#[test]
fn redirects_are_followed_only_within_the_application() {
    let from = Place { https: false, port: 8080, path: "/health/live?x".into() };
    let place = |https, port, path: &str| Some(Place { https, port, path: path.into() });
    for (location, next) in [
        ("/next?a=1", place(false, 8080, "/next?a=1")),
        ("ready", place(false, 8080, "/health/ready")),
        ("http://10.0.0.7:8080/x", place(false, 8080, "/x")),
        ("https://10.0.0.7:8443/x", place(true, 8443, "/x")),
        ("http://10.0.0.7", place(false, 80, "/")),
        ("http://elsewhere.example/x", None),
        ("//elsewhere.example/x", None),
    ] {
        let response = http::Response::builder().header(header::LOCATION, location).body(()).expect("valid");
        let answer = Answer { head: response.into_parts().0, body: Bytes::new() };
        assert_eq!(redirected(&answer, "10.0.0.7".parse().expect("address"), &from), next, "{location}");
    }
}

/// An application that answers over TLS in HTTP/2 and nothing else, with the `:authority` it was asked for.
async fn http2_application() -> SocketAddr {
    let certified = rcgen::generate_simple_self_signed(["app".to_owned()]).expect("a certificate");
    let key = rustls_pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let mut config = config.with_no_client_auth().with_single_cert(vec![certified.cert.der().clone()], key).expect("a chain");
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let answer = |request: Request<hyper::body::Incoming>| async move {
                let authority = request.uri().authority().map(ToString::to_string).unwrap_or_default();
                Ok::<_, std::convert::Infallible>(http::Response::new(http_body_util::Full::new(Bytes::from(authority))))
            };
            let executor = hyper_util::rt::TokioExecutor::new();
            let http = hyper::server::conn::http2::Builder::new(executor);
            let connection = http.serve_connection(hyper_util::rt::TokioIo::new(stream), hyper::service::service_fn(answer));
            tokio::spawn(async move { drop(connection.await) });
        }
    });
    address
}

#[tokio::test]
async fn a_probe_over_https_uses_http2_where_the_application_speaks_nothing_else() {
    let application = http2_application().await;
    let probe = HttpGet { path: "live".into(), port: application.port(), scheme: "HTTPS".into(), http_headers: Vec::new() };
    let identity = Identity::new(None, &[]);
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, HeaderValue::from_static("10.0.0.7:15020"));
    let context = |http2| Context { headers: &headers, status_port: 15020, http2 };
    let answer = probe.run(application.ip(), &identity, &context(true)).await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK);
    let body = axum::body::to_bytes(answer.into_body(), BODY).await.expect("a body");
    assert_eq!(body, format!("10.0.0.7:{}", application.port()));
    assert!(probe.run(application.ip(), &identity, &context(false)).await.is_err(), "switched off, HTTP/1.1 alone is offered");
}
