//! Runs that are killed on the way, and what the next one makes of what they left.

use outrigger_iptables_init::{Args, Error, Outcome, run};

use crate::programs::{run_as, run_with};
use crate::support::{apply, everything, in_namespace, sh, sidecar};

/// What a run of the test program is given, like [`sidecar`].
const SIDECAR: &str = "-u 1337 -i * -b * -d 15090,15021,15020";

/// Carries out the first table of the batch that writes rules, and kills the run.
fn kills(flavour: &str) -> (String, String) {
    let program = format!("iptables-{flavour}-restore");
    let script = format!(
        r#"PATH=${{PATH#*:}}; batch=$(cat)
case "$batch" in *"-j ISTIO_INBOUND"*) echo "$batch" | sed /^COMMIT/q | {program} "$@"; kill -9 $PPID; exit 1;; esac
echo "$batch" | {program} "$@""#
    );
    (program, script)
}

#[track_caller]
fn is_killed(flavour: &str, line: &str) {
    let (program, script) = kills(flavour);
    assert_eq!(run_with(&[(&program, &script)], &format!("{SIDECAR} --force-iptables-binary {flavour} {line}")), None);
}

fn with_drop_invalid(flavour: &str) -> Args {
    Args { drop_invalid: Some("true".to_owned()), ..sidecar(flavour) }
}

fn temporary_rules() -> String {
    let saved = sh("for p in iptables ip6tables; do for f in legacy nft; do $p-$f-save 2>/dev/null; done; done");
    saved.lines().filter(|line| line.contains("GUARD") || line.contains("-j DROP")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_first_run_that_is_killed_between_two_tables_is_finished_by_the_next() {
    for flavour in ["legacy", "nft"] {
        in_namespace(|| {
            let mut args = sidecar(flavour);
            args.istio_inbound_interception_mode = Some("TPROXY".to_owned());
            is_killed(flavour, "-m TPROXY");
            assert!(everything().contains("ISTIO_TPROXY") && !everything().contains("ISTIO_OUTPUT"), "half of it stands");
            let error = run(sidecar(flavour)).unwrap_err();
            assert!(matches!(error, Error::Different { .. }), "the beginning of other rules: {error}");
            apply(args.clone());
            assert_eq!(run(args).unwrap(), Outcome::AlreadyInPlace);
            assert_eq!(temporary_rules(), "");
        });
    }
}

#[test]
fn a_replacement_that_is_killed_is_finished_by_the_next_run_and_its_temporary_rules_go() {
    for flavour in ["legacy", "nft"] {
        in_namespace(|| {
            apply(with_drop_invalid(flavour));
            let wanted = everything();
            apply(Args { envoy_port: Some("16001".to_owned()), reconcile: Some("true".to_owned()), ..with_drop_invalid(flavour) });
            is_killed(flavour, "--drop-invalid --reconcile");
            assert!(temporary_rules().contains("-A OUTPUT -j ISTIO_GUARD"), "nothing gets through meanwhile");
            apply(with_drop_invalid(flavour));
            assert_eq!(everything(), wanted);
            assert_eq!(run(with_drop_invalid(flavour)).unwrap(), Outcome::AlreadyInPlace);
        });
    }
}

#[test]
fn temporary_rules_of_a_killed_run_are_cleaned_up() {
    for flavour in ["legacy", "nft"] {
        in_namespace(|| {
            let before = everything();
            apply(Args { envoy_port: Some("16001".to_owned()), ..with_drop_invalid(flavour) });
            is_killed(flavour, "--drop-invalid --reconcile");
            let half = (everything(), temporary_rules());
            assert!(half.1.contains("GUARD"));
            let program = format!("iptables-{flavour}-restore");
            let fails =
                format!(r#"batch=$(cat); PATH=${{PATH#*:}}; case "$batch" in *16002*) exit 1;; esac; echo "$batch" | {program} "$@""#);
            let line = format!("{SIDECAR} -p 16002 --force-iptables-binary {flavour}");
            assert!(run_with(&[(&program, &fails)], &line).unwrap().starts_with("Err("));
            assert_eq!((everything(), temporary_rules()), half, "a failure leaves them: half of the rules must not act alone");
            let args = Args { cleanup_only: Some("true".to_owned()), ..Args::default() };
            assert_eq!(run(args).unwrap(), Outcome::CleanedUp);
            assert_eq!((everything(), temporary_rules()), (before, String::new()));
        });
    }
}

#[test]
fn temporary_rules_in_nftables_go_with_the_next_run_and_with_cleaning_up() {
    const GUARD: &str =
        "nft add table inet outrigger-guard; nft add chain inet outrigger-guard input '{ type filter hook input priority -1; }'";
    for path in ["/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "/nowhere"] {
        in_namespace(|| {
            let line = format!("{SIDECAR} --native-nftables");
            let outcome = |line: &str| run_as(&format!("env PATH={path}"), &[], line).unwrap();
            assert_eq!(outcome(&line), "Ok(Applied)");
            for (line, end) in [(line.as_str(), "Ok(Applied)"), ("--cleanup-only", "Ok(CleanedUp)")] {
                sh(GUARD);
                assert_eq!(outcome(line), end);
                assert_eq!(sh("nft list tables inet").contains("istio-proxy"), end == "Ok(Applied)");
                assert!(!sh("nft list tables inet").contains("guard"), "{line}");
            }
        });
    }
}
