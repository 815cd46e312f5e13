//! Unknown arguments, and that no command line whatever makes the parser, the settings or the rules panic.

use proptest::prelude::*;

use super::parse;
use crate::rule::Family;
use crate::{explain, merge, native, plan, render, settings};

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn unknown_flags_and_their_values_are_left_out_and_told() {
    let (args, ignored) = parse(words("-p 15001 --brand-new=1 -i * --newer value -Z -b *")).unwrap();
    assert_eq!(args.envoy_port.as_deref(), Some("15001"));
    assert_eq!(args.istio_service_cidr.as_deref(), Some("*"));
    assert_eq!(args.istio_inbound_ports.as_deref(), Some("*"));
    assert_eq!(ignored, ["--brand-new=1", "--newer", "value", "-Z"]);
}

#[test]
fn the_value_of_an_unknown_flag_takes_nothing_from_the_known_ones() {
    for (line, left_out) in [
        ("-b * -d 15020 --brandNew 15 --dry-run", vec!["--brandNew", "15"]),
        ("-b * -d 15020 --brandNew 15020 --dry-run", vec!["--brandNew", "15020"]),
        ("--brandNew * -b * -Z 1 -d=15020 -n stray", vec!["--brandNew", "*", "-Z", "1", "stray"]),
        ("-nb* --brand=1 -d15020 -- -b 80", vec!["--brand=1", "-b", "80"]),
    ] {
        let (args, ignored) = parse(words(line)).unwrap();
        assert_eq!(args.istio_inbound_ports.as_deref(), Some("*"), "{line}");
        assert_eq!(args.istio_local_exclude_ports.as_deref(), Some("15020"), "{line}");
        assert_eq!(args.dry_run.as_deref(), Some("true"), "{line}");
        assert_eq!(ignored, left_out, "{line}");
    }
    assert_eq!(parse(words("-p 15001 --brandNew 1")).unwrap().0.envoy_port.as_deref(), Some("15001"));
    assert_eq!(parse(vec!["-x".to_owned(), String::new(), "--new".to_owned()]).unwrap().0.istio_service_exclude_cidr.as_deref(), Some(""));
}

#[test]
fn a_known_flag_without_its_value_is_still_an_error() {
    assert!(parse(words("-p")).is_err());
}

/// Flags by their names, and values from good to absurd.
fn argument() -> impl Strategy<Value = String> {
    let flags = "-p -z -e -u -g -m -b -d -c -i -x -q -o -k -t -r -n --redirect-dns --capture-all-dns --drop-invalid --dual-stack \
                 --probe-timeout --run-validation --like-istio --native-nftables --force-iptables-binary --cni-mode --explain --explain=json \
                 --proxy-uid= --istio-service-cidr= --istio-inbound-ports=* --reconcile=maybe";
    let values = "* 0 1 80 65535 65536 -1 15001,15006 10.0.0.0/8 ::/0 0.0.0.0/0,::/0 fd00::1/129 127.0.0.1/8 TPROXY REDIRECT eth+ + lo all \
                  4294967295 1.5s 99999h , ,,, = \u{b5}s true root guards,unordered";
    let known: Vec<String> = flags.split_whitespace().chain(values.split_whitespace()).map(str::to_owned).collect();
    prop_oneof![6 => proptest::sample::select(known), 1 => any::<String>(), 1 => "[-=,.:/*+!'\"\\\\ \n0-9a-z]{0,20}"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn no_command_line_panics_and_no_rule_it_makes_breaks_a_line(arguments in proptest::collection::vec(argument(), 0..12)) {
        let Ok((args, _)) = parse(arguments) else { return Ok(()) };
        let args = args.with_environment(|_| None);
        let Ok((settings, options)) = settings::read(&args) else { return Ok(()) };
        for family in Family::ALL {
            let rules = plan(&settings, family);
            let text = render::render(&rules);
            let fixed = text.lines().filter(|line| line.starts_with(['*', '-']) || *line == "COMMIT").count();
            prop_assert_eq!(text.lines().count(), fixed);
            prop_assert_eq!(rules.len(), text.lines().filter(|line| line.starts_with("-A ") || line.starts_with("-I ")).count());
        }
        let merged = merge::merge(&settings, &Family::ALL);
        let lines = native::text::render(&merged).lines().filter(|line| line.contains(" comment \"")).count();
        prop_assert_eq!(merged.len(), lines);
        let explained = explain::explain(&settings, &options, &Family::ALL, settings::Format::Text);
        prop_assert!(explained.lines().count() > merged.len());
    }

    #[test]
    fn no_value_of_any_flag_panics(value in any::<String>(), list in "[0-9a-f.:/,*+ -]{0,24}") {
        for value in [value, list] {
            let mut args = crate::Args::default().with_environment(|_| Some(value.clone()));
            args.explain = Some(value.clone());
            args.resolv_conf = Some("/dev/null".to_owned());
            let _ = settings::read(&args);
            for set in SETTERS {
                let mut args = crate::Args { redirect_dns: Some("true".to_owned()), capture_all_dns: Some("true".to_owned()), ..Default::default() };
                set(&mut args, value.clone());
                let _ = settings::read(&args).map(|(settings, _)| Family::ALL.map(|family| render::render(&plan(&settings, family))));
            }
        }
    }
}

/// Each value alone, so that an error in one does not hide the others.
const SETTERS: [fn(&mut crate::Args, String); 14] = [
    |args, value| args.envoy_port = Some(value),
    |args, value| args.proxy_uid = Some(value),
    |args, value| args.proxy_gid = Some(value),
    |args, value| args.istio_inbound_ports = Some(value),
    |args, value| args.istio_exclude_interfaces = Some(value),
    |args, value| args.istio_service_cidr = Some(value),
    |args, value| args.istio_service_exclude_cidr = Some(value),
    |args, value| args.kube_virt_interfaces = Some(value),
    |args, value| args.istio_inbound_tproxy_mark = Some(value),
    |args, value| args.probe_timeout = Some(value),
    |args, value| args.outbound_owner_groups = Some(value),
    |args, value| args.outbound_ipv4_loopback_cidr = Some(value),
    |args, value| args.like_istio = Some(value),
    |args, value| args.envoy_user = Some(value),
];
