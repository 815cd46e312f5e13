//! Reading and comparing what `nft` prints.

use super::{Listing, text};
use crate::merge::merge;
use crate::rule::Family;
use crate::state::State;
use crate::{Args, settings};

fn merged() -> Vec<crate::merge::Merged> {
    let some = |value: &str| Some(value.to_owned());
    let args = Args {
        proxy_uid: some("1337"),
        istio_service_cidr: some("*"),
        istio_inbound_ports: some("*"),
        drop_invalid: some("1"),
        ..Args::default()
    };
    merge(&settings::read(&args).unwrap().0, &Family::ALL)
}

#[test]
fn what_was_rendered_is_read_back_as_the_same() {
    let merged = merged();
    let listing = Listing::parse(&text::render(&merged));
    assert_eq!(listing, Listing::wanted(&merged));
    assert_eq!(listing.compare(&Listing::wanted(&merged)), State::Same);
    assert_eq!(Listing::parse("").compare(&listing), State::Absent);
}

#[test]
fn a_missing_a_foreign_and_a_moved_rule_and_a_missing_chain_are_different() {
    let merged = merged();
    let good = text::render(&merged);
    let lines: Vec<&str> = good.lines().collect();
    let at = lines.iter().position(|line| line.contains("meta skuid 1337 return")).unwrap();
    let mut missing = lines.clone();
    missing.remove(at);
    let mut moved = lines.clone();
    moved.swap(at, at + 1);
    let mut foreign = lines.clone();
    foreign.insert(at, "\t\ttcp dport 80 accept");
    let chain = lines.iter().position(|line| line.contains("chain istio-drop")).unwrap();
    let chainless = [&lines[..chain], &lines[chain + 3..]].concat();
    for changed in [missing, moved, foreign, chainless] {
        let state = Listing::parse(&changed.join("\n")).compare(&Listing::wanted(&merged));
        assert!(matches!(state, State::Different(_)), "{state:?}");
    }
}

#[test]
fn a_comment_fits_what_nftables_takes_and_tells_rules_apart() {
    for rule in merged() {
        let comment = text::comment(&rule);
        assert!(comment.len() <= 127 && comment.is_ascii() && !comment.contains('"'), "{comment}");
    }
}
