//! What start-up refuses, and how it says so.

use std::net::TcpListener;

use crate::fixture::{Setup, gateway};

#[test]
fn a_port_that_is_taken_is_named() {
    let setup = Setup::new();
    let _holder = TcpListener::bind(("127.0.0.1", setup.ports.admin)).expect("bound");
    let port = setup.ports.admin;
    let (status, log) = setup.refuse();
    assert_eq!(status.code(), Some(1));
    assert!(log.contains(&format!("admin port: cannot listen on 127.0.0.1:{port}: the port is taken")), "{log}");
}

#[test]
fn a_gateway_port_that_is_taken_at_start_is_named() {
    let setup = Setup::new();
    let _holder = TcpListener::bind(("0.0.0.0", setup.ports.gateway)).expect("bound");
    let port = setup.ports.gateway;
    let (status, log) = setup.file("gateway.yaml", &gateway(port, 200)).refuse();
    assert_eq!(status.code(), Some(1));
    assert!(log.contains(&format!("cannot listen on 0.0.0.0:{port}")), "{log}");
}

#[test]
fn an_empty_folder_is_served_and_said() {
    let proxy = Setup::new().start();
    assert!(proxy.log().contains("no .yaml, .yml or .json file yet"), "{}", proxy.log());
}

#[test]
fn a_syntax_error_names_file_and_line_and_the_rest_works() {
    let setup = Setup::new();
    let port = setup.ports.gateway;
    let proxy = setup.file("gateway.yaml", &gateway(port, 207)).file("broken.yaml", "kind: Service\nmetadata: {name: x\n").start();
    assert!(proxy.log().contains("broken.yaml:"), "{}", proxy.log());
    assert_eq!(proxy.get(port, "/").status, 207);
}

#[test]
fn strict_refuses_what_is_not_enforced() {
    let policy = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: deny, namespace: shop}\nspec: {}\n";
    let (status, log) = Setup::new().file("policy.yaml", policy).arg("--strict").refuse();
    assert_eq!(status.code(), Some(1));
    assert!(log.contains("--strict refuses to start") && log.contains("AuthorizationPolicy shop/deny"), "{log}");
    let proxy = Setup::new().file("policy.yaml", policy).start();
    assert!(proxy.log().contains("AuthorizationPolicy shop/deny"), "{}", proxy.log());
}

#[test]
fn a_path_that_does_not_exist_is_looked_out_for_and_strict_refuses_it() {
    let missing = Setup::new().arg("--config").arg("/nonexistent/objects");
    let proxy = missing.start();
    assert!(proxy.log().contains("/nonexistent/objects") && proxy.log().contains("serving what there is"), "{}", proxy.log());
    let (status, log) = Setup::new().arg("--config").arg("/nonexistent/objects").arg("--strict").refuse();
    assert_eq!(status.code(), Some(1));
    assert!(log.contains("--strict refuses to start") && log.contains("/nonexistent/objects: No such file"), "{log}");
    assert!(!log.contains("serving what there is"), "{log}");
}

#[test]
fn unknown_flags_are_warnings_and_wrong_values_are_refused() {
    let proxy = Setup::new().arg("--brandNewFlag").arg("value").start();
    assert!(proxy.log().contains("--brandNewFlag is not known to this version and ignored"), "{}", proxy.log());
    let (status, log) = Setup::new().arg("--concurrency=some").refuse();
    assert_eq!(status.code(), Some(2));
    assert!(log.contains("--concurrency some: expected a whole number"), "{log}");
}

#[test]
fn missing_certificates_keep_a_proxy_from_being_ready_and_say_why() {
    let proxy = Setup::new().arg("--certs").arg("/nonexistent").start_unready();
    let answer = proxy.get(proxy.ports.health, "/healthz/ready");
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("certificate") && answer.body.contains("/nonexistent"), "{}", answer.body);
}
