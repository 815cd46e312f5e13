//! What travels on, what does not, and what is added, in each direction.

use http::{HeaderMap, HeaderValue};

use super::client::ipv4_text;
use super::request::UNTRUSTED;
use super::*;
use crate::listener::{Direction, Downstream, DownstreamTls};

fn downstream(direction: Direction, tls: Option<DownstreamTls>) -> Downstream {
    Downstream { peer: ([10, 0, 0, 9], 4000).into(), tls, ..crate::testing::downstream(direction) }
}

fn mesh_tls() -> DownstreamTls {
    DownstreamTls {
        peer_identity: Some("spiffe://td/ns/a/sa/client".to_owned()),
        local_identity: Some("spiffe://td/ns/b/sa/server".to_owned()),
        peer_dns_names: Vec::new(),
        peer_subject: String::new(),
        peer_certificate_hash: "ab12".to_owned(),
        version: "TLSv1.3",
        alpn: None,
    }
}

fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

fn sanitized(pairs: &[(&'static str, &'static str)], direction: Direction, tls: Option<DownstreamTls>) -> HeaderMap {
    let mut headers = map(pairs);
    let seen = scan(&headers);
    sanitize_request(&mut headers, seen, &downstream(direction, tls), false).unwrap();
    headers
}

#[test]
fn hop_by_hop_headers_and_those_that_connection_names_stay_here() {
    let pairs = [("connection", "keep-alive, X-Private"), ("x-private", "1"), ("keep-alive", "5"), ("te", "trailers"), ("x-kept", "1")];
    let headers = sanitized(&pairs, Direction::Outbound, None);
    assert!(headers.get("x-private").is_none() && headers.get("connection").is_none() && headers.get("keep-alive").is_none());
    assert_eq!((&headers["te"], &headers["x-kept"]), (&HeaderValue::from_static("trailers"), &HeaderValue::from_static("1")));
    assert!(sanitized(&[("te", "gzip")], Direction::Outbound, None).get("te").is_none());
    let headers = sanitized(&[("connection", "Close, HTTP2-Settings"), ("http2-settings", "x"), ("close", "1")], Direction::Outbound, None);
    assert!(headers.get("connection").is_none() && headers.get("http2-settings").is_none());
    assert!(headers.contains_key("close"), "an option of the connection, which is no header's name");
}

#[test]
fn addresses_are_written_as_the_standard_library_does() {
    for address in ["0.0.0.0", "9.10.99.100", "127.0.0.1", "255.200.249.1"] {
        let text = ipv4_text(address.parse().unwrap());
        assert_eq!(text, address);
    }
}

#[test]
fn naming_a_protected_header_in_connection_is_refused() {
    let mut headers = map(&[("connection", "x-forwarded-proto")]);
    let seen = scan(&headers);
    let refused = sanitize_request(&mut headers, seen, &downstream(Direction::Outbound, None), false);
    assert_eq!(refused, Err(ProtectedHeaderNamed));
}

#[test]
fn nobody_steers_the_proxy_by_headers() {
    for name in &UNTRUSTED {
        let mut headers = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static("1"))]);
        let seen = scan(&headers);
        sanitize_request(&mut headers, seen, &downstream(Direction::Outbound, None), false).unwrap();
        assert!(headers.get(name).is_none(), "{name}");
    }
}

#[test]
fn a_sidecar_keeps_forwarding_headers_and_a_gateway_rewrites_them() {
    let pairs = [("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", "https"), ("x-request-id", "mine")];
    let sidecar = sanitized(&pairs, Direction::Outbound, None);
    assert_eq!(sidecar["x-forwarded-for"], "1.2.3.4");
    assert_eq!(
        (&sidecar["x-forwarded-proto"], &sidecar["x-request-id"]),
        (&HeaderValue::from_static("https"), &HeaderValue::from_static("mine"))
    );
    let gateway = sanitized(&pairs, Direction::Gateway, None);
    assert_eq!(
        (&gateway["x-forwarded-for"], &gateway["x-forwarded-proto"]),
        (&HeaderValue::from_static("1.2.3.4,10.0.0.9"), &HeaderValue::from_static("http"))
    );
    assert_eq!(gateway["x-envoy-external-address"], "10.0.0.9");
    assert_ne!(gateway["x-request-id"], "mine");
    let lines = [("x-forwarded-for", "1.2.3.4"), ("x-forwarded-for", "5.6.7.8")];
    assert_eq!(sanitized(&lines, Direction::Gateway, None)["x-forwarded-for"], "1.2.3.4,5.6.7.8,10.0.0.9", "one list of all");
}

#[test]
fn a_request_id_is_a_version_4_uuid() {
    let headers = sanitized(&[], Direction::Outbound, None);
    let id = headers["x-request-id"].to_str().unwrap();
    assert_eq!((id.len(), &id[8..9], &id[14..15]), (36, "-", "4"));
    assert!(matches!(&id[19..20], "8" | "9" | "a" | "b"), "{id}");
}

#[test]
fn the_client_certificate_is_appended_inbound_and_never_believed_from_plaintext() {
    let element = "By=spiffe://td/ns/b/sa/server;Hash=ab12;Subject=\"\";URI=spiffe://td/ns/a/sa/client";
    let before = [("x-forwarded-client-cert", "By=x;Hash=y")];
    let appended = sanitized(&before, Direction::Inbound, Some(mesh_tls()));
    assert_eq!(appended["x-forwarded-client-cert"], format!("By=x;Hash=y,{element}"));
    assert!(sanitized(&before, Direction::Inbound, None).get("x-forwarded-client-cert").is_none());
    assert!(sanitized(&before, Direction::Gateway, None).get("x-forwarded-client-cert").is_none());
    assert_eq!(sanitized(&before, Direction::Gateway, Some(mesh_tls()))["x-forwarded-client-cert"], element);
    assert_eq!(sanitized(&before, Direction::Outbound, None)["x-forwarded-client-cert"], "By=x;Hash=y");
}

#[test]
fn the_decorator_is_consumed_where_the_request_arrives() {
    let pairs = [("x-envoy-decorator-operation", "a:80/*")];
    assert!(sanitized(&pairs, Direction::Inbound, None).get("x-envoy-decorator-operation").is_none());
    assert!(sanitized(&pairs, Direction::Gateway, None).get("x-envoy-decorator-operation").is_none());
}

#[test]
fn responses_lose_hop_by_hop_headers_and_get_our_name() {
    let mut headers =
        map(&[("connection", "close"), ("transfer-encoding", "chunked"), ("server", "nginx"), ("x-envoy-decorator-operation", "a")]);
    let seen = Answered::of(&headers);
    sanitize_response(&mut headers, seen, Direction::Outbound, false);
    assert_eq!(headers, map(&[("server", "envoy")]));
    let seen = Answered::of(&headers);
    sanitize_response(&mut headers, seen, Direction::Inbound, false);
    assert_eq!(headers["server"], "istio-envoy");
}

#[test]
fn cookie_crumbs_are_joined() {
    let mut headers = map(&[("cookie", "a=1"), ("cookie", "b=2")]);
    assert!(scan(&headers).several_cookies);
    join_cookies(&mut headers);
    assert!(!scan(&headers).several_cookies);
    assert_eq!(headers.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=2"]);
}

#[test]
fn numbers_read_right() {
    assert_eq!((number(0), number(255), number(256)), (HeaderValue::from(0), HeaderValue::from(255), HeaderValue::from(256)));
}

#[test]
fn values_that_no_two_requests_share_stay_out_of_header_compression() {
    let mut headers = map(&[("x-request-id", "1"), ("traceparent", "00-1"), ("user-agent", "curl"), ("te", "trailers")]);
    fit_for_http2(&mut headers);
    let kept_out = headers.iter().filter(|(_, value)| value.is_sensitive()).map(|(name, _)| name.as_str()).collect::<Vec<_>>();
    assert_eq!(kept_out, ["x-request-id", "traceparent"]);
}

#[test]
fn of_lengths_that_say_the_same_one_is_left_and_others_are_refused() {
    let settled = |lengths: &[&'static str]| {
        let mut headers = map(&lengths.iter().map(|length| ("content-length", *length)).collect::<Vec<_>>());
        settle_length(&mut headers).map(|()| headers.get_all("content-length").iter().cloned().collect::<Vec<_>>())
    };
    assert_eq!(settled(&[]), Ok(vec![]));
    assert_eq!(settled(&["5"]), Ok(vec![HeaderValue::from(5)]));
    assert_eq!(settled(&["300", "300", "0300"]), Ok(vec![HeaderValue::from(300)]));
    for odd in [&[""][..], &["+5"], &["5, 5"], &["5", ""], &["5", "6"], &["99999999999999999999"]] {
        assert_eq!(settled(odd), Err(NoLength), "{odd:?}");
    }
}

#[test]
fn fields_that_http2_does_not_know_are_removed() {
    let mut headers = map(&[("connection", "close"), ("keep-alive", "5"), ("te", "gzip"), ("accept", "*/*")]);
    fit_for_http2(&mut headers);
    assert_eq!(headers.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["accept"]);
    let mut trailers = map(&[("te", "trailers"), ("connection", "close")]);
    fit_for_http2(&mut trailers);
    assert_eq!(trailers.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["te"]);
}
