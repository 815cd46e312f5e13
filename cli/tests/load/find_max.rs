//! The search for the highest rate.

use crate::{load, outcome, server};

/// Short probes at low rates: a busy machine keeps up with those.
const SHORT: [&str; 6] = ["--probe", "1s", "-q", "10", "--max-rate", "20"];

#[test]
fn a_rate_that_holds_is_found_with_status_0() {
    let url = server::content();
    let found = load(&[&[&url, "--find-max", "errors<50%"], &SHORT[..]].concat());
    let (status, said) = outcome(&found);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("errors<50% holds at 20/s, the highest rate to be tried"), "{said}");
}

#[test]
fn when_no_rate_is_good_the_status_is_1_and_it_is_said() {
    let url = server::url(503, &["web-1"]);
    let found = load(&[&[&url, "--find-max", "errors<1%"], &SHORT[..]].concat());
    let (status, said) = outcome(&found);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("no rate tried meets errors<1%"), "{said}");
}
