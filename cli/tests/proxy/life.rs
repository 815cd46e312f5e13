//! Hot reload and the end.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::fixture::{Setup, gateway};

#[test]
fn a_gateway_port_opens_and_closes_with_its_manifest() {
    let setup = Setup::new();
    let port = setup.ports.gateway;
    let proxy = setup.start();
    assert!(proxy.try_get(port, "/").is_none());
    proxy.write("gateway.yaml", &gateway(port, 207));
    proxy.until("port open", |proxy| proxy.try_get(port, "/").is_some_and(|answer| answer.status == 207));
    std::fs::remove_file(proxy.folder.path().join("gateway.yaml")).expect("removed");
    proxy.until("port closed", |proxy| proxy.try_get(port, "/").is_none());
}

#[test]
fn changed_routes_answer_within_the_promised_time() {
    let setup = Setup::new();
    let port = setup.ports.gateway;
    let proxy = setup.file("gateway.yaml", &gateway(port, 207)).start();
    let mut times = Vec::new();
    for round in 0..20 {
        let status = [208, 207][round % 2];
        let start = Instant::now();
        proxy.write("gateway.yaml", &gateway(port, status));
        proxy.until("new answer", |proxy| proxy.get(port, "/").status == status);
        times.push(start.elapsed());
    }
    times.sort_unstable();
    assert!(times[18] < Duration::from_millis(100), "{times:?}");
}

#[test]
fn a_signal_fails_readiness_at_once_and_ends_the_process_when_it_has_drained() {
    let mut proxy = Setup::new().env("MINIMUM_DRAIN_DURATION", "400ms").start();
    let start = Instant::now();
    proxy.signal(Signal::SIGTERM);
    proxy.until("not ready", |proxy| proxy.get(proxy.ports.health, "/healthz/ready").body.contains("draining"));
    assert_eq!(proxy.wait().code(), Some(0));
    assert!(start.elapsed() >= Duration::from_millis(400));
}

#[test]
fn a_second_signal_ends_at_once_with_its_number() {
    let mut proxy = Setup::new().env("MINIMUM_DRAIN_DURATION", "60s").start();
    proxy.signal(Signal::SIGTERM);
    proxy.until("draining", |proxy| proxy.get(proxy.ports.admin, "/ready").status == 503);
    proxy.signal(Signal::SIGINT);
    assert_eq!(proxy.wait().code(), Some(130));
}

#[test]
fn quit_ends_without_draining() {
    let mut proxy = Setup::new().env("MINIMUM_DRAIN_DURATION", "60s").start();
    assert_eq!(proxy.post(proxy.ports.status, "/quitquitquit").status, 200);
    assert_eq!(proxy.wait().code(), Some(0));
}

#[test]
fn a_drain_by_request_goes_on_serving_and_the_signal_that_follows_ends_at_once() {
    let setup = Setup::new().env("MINIMUM_DRAIN_DURATION", "60s");
    let port = setup.ports.gateway;
    let mut proxy = setup.file("gateway.yaml", &gateway(port, 207)).start();
    proxy.post(proxy.ports.status, "/drain");
    proxy.until("draining", |proxy| proxy.get(proxy.ports.health, "/healthz/ready").status == 503);
    for _ in 0..20 {
        let answer = proxy.get(port, "/");
        assert_eq!(answer.status, 207);
        assert!(answer.head.contains("connection: close"), "{}", answer.head);
    }
    proxy.signal(Signal::SIGTERM);
    assert_eq!(proxy.wait().code(), Some(0));
}

#[test]
fn a_kept_connection_is_answered_once_more_while_draining() {
    use std::io::{Read, Write};
    let setup = Setup::new().env("MINIMUM_DRAIN_DURATION", "60s");
    let port = setup.ports.gateway;
    let proxy = setup.file("gateway.yaml", &gateway(port, 207)).start();
    let mut kept = std::net::TcpStream::connect(("127.0.0.1", port)).expect("connected");
    kept.set_read_timeout(Some(crate::fixture::PATIENCE)).expect("set");
    let mut ask = || {
        kept.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").expect("written");
        let mut answer = [0; 4096];
        let length = kept.read(&mut answer).expect("an answer");
        String::from_utf8_lossy(&answer[..length]).into_owned()
    };
    assert!(!ask().contains("connection: close"));
    proxy.signal(Signal::SIGTERM);
    proxy.until("draining", |proxy| proxy.get(proxy.ports.admin, "/ready").status == 503);
    let last = ask();
    assert!(last.starts_with("HTTP/1.1 207") && last.contains("connection: close"), "{last:?}");
}

#[test]
fn access_log_lines_of_a_json_format_reach_standard_output() {
    let setup = Setup::new().arg("--access-log").arg("--access-log-encoding").arg("JSON");
    let port = setup.ports.gateway;
    let proxy = setup.file("gateway.yaml", &gateway(port, 207)).start();
    proxy.get(port, "/some/path?q=1");
    proxy.until("a line", |proxy| proxy.stdout().contains('\n'));
    let line: serde_json::Value = serde_json::from_str(proxy.stdout().lines().next().expect("a line")).expect("JSON");
    assert_eq!((line["path"].as_str(), line["response_code"].as_u64()), (Some("/some/path?q=1"), Some(207)));
    assert_eq!(line["response_code_details"], "direct_response");
}

#[test]
fn an_end_at_once_waits_for_who_reads_the_access_log() {
    use std::io::Read;
    use std::os::unix::fs::OpenOptionsExt;
    let folder = tempfile::tempdir().expect("temporary folder");
    for drained_before in [false, true] {
        // Lines wait until somebody opens the other end.
        let pipe = folder.path().join(format!("log-{drained_before}"));
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        let setup = Setup::new().arg(&format!("--access-log={}", pipe.display())).env("MINIMUM_DRAIN_DURATION", "60s");
        let port = setup.ports.gateway;
        let mut proxy = setup.file("gateway.yaml", &gateway(port, 207)).start();
        if drained_before {
            proxy.post(proxy.ports.status, "/drain");
            proxy.until("draining", |proxy| proxy.get(proxy.ports.health, "/healthz/ready").status == 503);
        }
        proxy.get(port, "/last");
        if drained_before {
            proxy.signal(Signal::SIGTERM);
        } else {
            proxy.post(proxy.ports.status, "/quitquitquit");
        }
        std::thread::sleep(Duration::from_millis(200));
        let mut reader = std::fs::OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(&pipe).expect("opened");
        assert_eq!(proxy.wait().code(), Some(0));
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("read");
        assert!(text.contains("/last"), "{text:?}");
    }
}

/// Runs a subcommand of the built binary.
fn outrigger(args: &[&str]) -> std::process::Output {
    std::process::Command::new(env!("CARGO_BIN_EXE_outrigger")).args(args).output().expect("started")
}

#[test]
fn wait_ends_when_the_proxy_is_ready_and_fails_when_it_never_is() {
    let proxy = Setup::new().start();
    let url = format!("http://localhost:{}/healthz/ready", proxy.ports.health);
    assert!(outrigger(&["wait", "--url", &url]).status.success());
    proxy.post(proxy.ports.admin, "/healthcheck/fail");
    let failed = outrigger(&["wait", "--url", &url, "--timeoutSeconds", "0"]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&failed.stderr).contains("healthcheck/fail"), "{failed:?}");
}

#[test]
fn a_wrong_command_line_ends_with_2_and_says_what_is_wrong() {
    for (arguments, complaint) in [
        (&["proxy"][..], "outrigger: say which role to take: outrigger proxy sidecar, or outrigger proxy router\n"),
        (&["proxy", "foo"], "outrigger: unknown role \"foo\": expected sidecar or router\n"),
        (&["wait", "--url", "http://elsewhere/"], "outrigger: --url http://elsewhere/: expected http://localhost:PORT/PATH\n"),
        (&["up", "--name", "No Name", "-f", "/"], "error: invalid value 'No Name' for '--name <NAME>': "),
        (&["istio-iptables", "-p"], "error: a value is required for '--envoy-port <PORT>' but none was supplied"),
    ] {
        let done = outrigger(arguments);
        let said = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.starts_with(complaint), "{arguments:?}: {said}");
    }
}

#[test]
fn request_refuses_ports_that_are_not_the_proxys() {
    let refused = outrigger(&["request", "--debug-port", "22", "GET", "server_info"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("port 22 is not the proxy's: expected one of [15000, 15004, 15020, 15021]"),
        "{refused:?}"
    );
}
