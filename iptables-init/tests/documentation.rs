//! `docs/capture.md` knows every flag and every variable, and the contract's rule that connects them holds.

use std::cell::RefCell;

use clap::{Args as _, Command};
use outrigger_iptables_init::Args;

fn page() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/capture.md")).unwrap()
}

fn flags() -> Vec<(String, Option<char>)> {
    let command = Args::augment_args(Command::new("istio-iptables"));
    command.get_arguments().map(|flag| (flag.get_long().unwrap().to_owned(), flag.get_short())).collect()
}

fn variables() -> Vec<String> {
    let asked = RefCell::new(Vec::new());
    let _ = Args::default().with_environment(|name| {
        asked.borrow_mut().push(name.to_owned());
        None
    });
    asked.into_inner()
}

#[test]
fn every_flag_is_on_the_page_with_its_short_form() {
    let page = page();
    for (long, short) in flags() {
        let name = short.map_or_else(|| format!("`--{long}`"), |short| format!("`-{short}`, `--{long}`"));
        assert!(page.contains(&name), "{name}");
    }
}

#[test]
fn every_flag_but_the_envoy_port_and_those_for_people_has_the_variable_of_its_name() {
    let variables = variables();
    let without = ["envoy-port", "explain", "log_output_level", "log_as_json"];
    for (long, _) in flags().into_iter().filter(|(long, _)| !without.contains(&long.as_str())) {
        let name = long.to_uppercase().replace('-', "_");
        assert!(variables.contains(&name), "{name}");
    }
}

#[test]
fn variables_of_other_names_are_on_the_page() {
    let (page, flags) = (page(), flags());
    for variable in variables() {
        let is_a_flags = flags.iter().any(|(long, _)| long.to_uppercase().replace('-', "_") == variable);
        assert!(is_a_flags || page.contains(&variable), "{variable}");
    }
}

#[test]
fn every_behaviour_of_istios_is_on_the_page() {
    let page = page();
    for behaviour in ["ipv6-detection", "dns-by-group", "unordered", "guards"] {
        assert!(page.contains(&format!("`--like-istio {behaviour}`")), "{behaviour}");
    }
}
