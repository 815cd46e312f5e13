//! A run of the shopfront as a recorder sees it, made of arithmetic alone: 2,000 requests in 20 s, one server that stalls
//! for a moment, a few errors and refusals.

use std::{sync::Arc, time::Duration};

use outrigger_loadtests::{Cause, Connection, Facts, Layout, Outcome, Recorder, Report, Sample, demands::Demands, recorder::Key};

pub const PROPERTY: &str = "body::(v[0-9])";
const MS: u64 = 1_000_000;

/// The report, judged by what a user might demand. `slower` scales the service times.
pub fn report(slower: f64) -> Report {
    let layout = Layout {
        targets: vec!["http://10.0.0.9/".to_owned()],
        properties: vec![PROPERTY.to_owned()],
        turns: true,
        keep_order: true,
        ..Layout::default()
    };
    let mut recorder = Recorder::new(Arc::new(layout));
    for order in 0..2000 {
        one(&mut recorder, order, slower);
    }
    let facts = Facts {
        started: 1_700_000_000.0,
        protocol: "HTTP/1.1".to_owned(),
        asked_rate: Some(100.0),
        concurrency: 8,
        threads: 1,
        warm_up_seconds: 1.0,
        cpu_seconds: 0.05,
        ..Facts::default()
    };
    let mut report = recorder.into_report(facts, Duration::from_secs(20));
    let demands = Demands { slo: "p99<50ms,errors<1%".parse().ok(), expect: "v1=50,v2=30,v3=15,v4=5".parse().ok(), ..Demands::default() };
    demands.judge(&mut report);
    report
}

fn one(recorder: &mut Recorder, order: u64, slower: f64) {
    let (pod, version) = match order % 20 {
        0..=9 => ("shopfront-v1-6c4", "v1"),
        10..=12 => ("shopfront-v2-a1x", "v2"),
        13..=15 => ("shopfront-v2-b2y", "v2"),
        16..=18 => ("shopfront-v3-c3z", "v3"),
        _ => ("shopfront-v4-d4w", "v4"),
    };
    let intended_ns = order * 10 * MS;
    // From 12.0 to 12.4 s nothing is answered: what was due then is sent when it ends.
    let stall = 12_000 * MS..12_400 * MS;
    let sent_ns = if stall.contains(&intended_ns) { stall.end + (intended_ns - stall.start) / 100 } else { intended_ns + 20_000 };
    let wave = 1.0 + (order as f64 / 7.0).sin().abs() * 2.0 + if order.is_multiple_of(97) { 6.0 } else { 0.0 };
    let done_ns = sent_ns + (wave * slower * MS as f64) as u64;
    let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
    let outcome = match order % 400 {
        399 => Outcome::Error(Cause::Refused, &refused),
        200 => Outcome::Status(503),
        _ => Outcome::Status(200),
    };
    let who = recorder.who(pod.as_bytes(), version.as_bytes());
    let keys: [Option<Key>; 1] = [recorder.key(0, version.as_bytes())];
    let connection = if order < 8 { Connection::New { connect_ns: 200_000 + order * 10_000 } } else { Connection::Reused };
    recorder.record(&Sample {
        order,
        target: 0,
        intended_ns,
        able_ns: sent_ns - 20_000,
        sent_ns,
        done_ns,
        outcome,
        who,
        keys: &keys,
        bytes_in: 24,
        bytes_out: 80,
        connection,
    });
}
