//! The executable under the names that pod specs and lifecycle hooks know, and its answers there.

use std::os::unix::fs::symlink;
use std::process::{Command, Output};

use crate::net::PROGRAM;

fn call(name: &str, arguments: &[&str], env: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let link = folder.path().join(name);
    symlink(PROGRAM, &link).expect("linked");
    Command::new(link).args(arguments).env_clear().envs(env.iter().copied()).output().expect("started")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn pilot_agent_says_its_version_in_each_format() {
    let number = env!("CARGO_PKG_VERSION");
    for (arguments, expected) in [
        (&["version", "--short"][..], format!("{number}\n")),
        (&["version", "--brandNew"], format!("outrigger {number}")),
        (&["version", "-o", "json"], format!("\"version\":\"{number}\"")),
        (&["version", "-o", "yaml"], format!("version: {number}\n")),
    ] {
        let output = call("pilot-agent", arguments, &[]);
        assert!(output.status.success() && text(&output.stdout).contains(&expected), "{arguments:?}: {output:?}");
    }
}

#[test]
fn pilot_agent_skips_flags_of_newer_templates_where_the_program_itself_refuses_them() {
    let arguments = ["wait", "--brandNew", "value", "--timeoutSeconds", "0", "--url", "http://localhost:1/"];
    let agent = call("pilot-agent", &arguments, &[]);
    assert_eq!(agent.status.code(), Some(1), "nothing listens there: {agent:?}");
    assert!(text(&agent.stderr).contains("--brandNew is not known to this version and ignored"), "{agent:?}");
    assert!(text(&agent.stderr).contains("not ready after 0 s"), "{agent:?}");
    let own = call("outrigger", &arguments, &[]);
    assert_eq!(own.status.code(), Some(2), "{own:?}");
    assert!(text(&own.stderr).contains("unexpected argument '--brandNew'"), "{own:?}");
}

#[test]
fn istio_iptables_is_an_executable_and_a_subcommand_of_pilot_agent() {
    let flags = [
        "-p",
        "15001",
        "-z",
        "15006",
        "-u",
        "1337",
        "-m",
        "REDIRECT",
        "-i",
        "*",
        "-x",
        "",
        "-b",
        "*",
        "-d",
        "15090,15021,15020",
        "--dry-run",
        "--brandNew",
    ];
    let direct = call("istio-iptables", &flags, &[]);
    let through = call("pilot-agent", &[&["istio-iptables"][..], &flags].concat(), &[]);
    for output in [&direct, &through] {
        assert!(output.status.success(), "{output:?}");
        assert!(text(&output.stdout).contains("-A ISTIO_OUTPUT -j ISTIO_REDIRECT"), "{output:?}");
        assert!(text(&output.stderr).contains("--brandNew"), "{output:?}");
    }
    assert_eq!(direct.stdout, through.stdout);
}

#[test]
fn requests_go_to_the_proxys_ports_alone_also_where_the_pod_has_chosen_them() {
    let refused = call("pilot-agent", &["request", "--debug-port=16020", "POST", "drain"], &[]);
    assert!(text(&refused.stderr).contains("port 16020 is not the proxy's"), "{refused:?}");
    let chosen = [("PROXY_CONFIG", r#"{"statusPort":16020}"#)];
    let asked = call("pilot-agent", &["request", "--debug-port=16020", "POST", "drain"], &chosen);
    assert!(text(&asked.stderr).contains("cannot connect to localhost:16020"), "{asked:?}");
}

#[test]
fn an_unknown_subcommand_is_an_error_under_every_name() {
    for name in ["pilot-agent", "outrigger"] {
        let output = call(name, &["nonsense"], &[]);
        assert_eq!(output.status.code(), Some(2), "{name}: {output:?}");
    }
}
