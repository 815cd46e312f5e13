//! Demands and the exit status.

use crate::{load, outcome, server};

#[test]
fn pods_that_take_turns_meet_round_robin_and_pods_that_do_not_miss_it() {
    let even = load(&[&server::url(200, &["web-1", "web-2"]), "-n", "40", "-c", "1", "--expect-round-robin"]);
    assert_eq!(even.status.code(), Some(0), "{}", outcome(&even).1);
    let uneven = load(&[&server::url(200, &["web-1", "web-1", "web-1", "web-2"]), "-n", "40", "-c", "1", "--expect-round-robin"]);
    let (status, said) = outcome(&uneven);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("--expect-round-robin") && said.contains("WRONG"), "{said}");
}

#[test]
fn an_objective_that_is_missed_is_said_beside_json_too() {
    let run = load(&[&server::url(503, &["web-1"]), "-n", "20", "--slo", "errors<1%", "-o", "json"]);
    assert_eq!(run.status.code(), Some(1), "{}", outcome(&run).1);
    assert!(serde_json::from_slice::<serde_json::Value>(&run.stdout).is_ok());
    assert!(String::from_utf8_lossy(&run.stderr).contains("errors"), "{run:?}");
}
