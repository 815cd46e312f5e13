//! The arguments of the Deployments are ones the program knows, and name what the chart makes.

use std::process::Command;

use serde_json::Value;

use crate::cases::{self, Rendered};

/// The arguments of the injector's container.
pub fn of_the_injector(rendered: &Rendered) -> Vec<String> {
    let deployment = rendered.of_kind("Deployment").find(|object| object.name().starts_with("outrigger-injector")).expect("one");
    let arguments = deployment.object["spec"]["template"]["spec"]["containers"][0]["args"].as_array().expect("given");
    arguments.iter().map(|argument| argument.as_str().expect("text").to_owned()).collect()
}

#[test]
fn the_injector_s_arguments_are_ones_it_knows() {
    for (name, rendered) in cases::accepted() {
        let known = |arguments: &[String]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
            command.args(arguments).arg("--help").output().expect("it runs")
        };
        let mut arguments = of_the_injector(rendered);
        let output = known(&arguments);
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        arguments.push("--no-such-flag".to_owned());
        assert!(!known(&arguments).status.success(), "{name}: anything is accepted");
    }
}

#[test]
fn the_injector_is_told_the_names_of_the_objects_the_chart_makes() {
    for (name, rendered) in cases::accepted() {
        let arguments = of_the_injector(rendered);
        for (flag, kind) in [
            ("--service=", "Service"),
            ("--config-map=", "ConfigMap"),
            ("--mesh-config-map=", "ConfigMap"),
            ("--ca-secret=", "Secret"),
            ("--lease=", "Lease"),
            ("--webhook-configurations=", "MutatingWebhookConfiguration"),
        ] {
            let mut named = arguments.iter().filter_map(|argument| argument.strip_prefix(flag));
            let own = ["cert-manager", "cert-manager with an issuer", "own certificate"].contains(&name);
            assert_eq!(
                named.clone().count(),
                usize::from(!(own && ["Secret", "Lease", "MutatingWebhookConfiguration"].contains(&kind))),
                "{name}: {flag}"
            );
            assert!(named.all(|named| rendered.of_kind(kind).any(|object| object.name() == named)), "{name}: {flag}");
        }
    }
}

#[test]
fn a_gateway_s_arguments_are_ones_the_proxy_knows() {
    let usage = Command::new(env!("CARGO_BIN_EXE_outrigger")).args(["proxy", "--help"]).output().expect("it runs").stdout;
    let usage = String::from_utf8(usage).expect("text");
    for (name, rendered) in cases::accepted() {
        for object in rendered.of_kind("Deployment").filter(|object| object.name().ends_with("gateway")) {
            let container = &object.object["spec"]["template"]["spec"]["containers"][0];
            let arguments: Vec<&str> = container["args"].as_array().expect("given").iter().filter_map(Value::as_str).collect();
            assert_eq!(arguments[..2], ["proxy", "router"], "{name}");
            for flag in arguments.iter().filter_map(|argument| argument.starts_with("--").then(|| argument.split('=').next())?) {
                assert!(usage.contains(&format!("{flag} ")) || flag == "--log_output_level", "{name}: {flag}");
            }
            let folder = arguments.iter().position(|argument| *argument == "--config").expect("given") + 1;
            let mounts = container["volumeMounts"].as_array().expect("given");
            assert!(mounts.iter().any(|mount| mount["mountPath"] == arguments[folder]), "{name}");
        }
    }
}
