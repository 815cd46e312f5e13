//! Every condition against every way to fail.

use http::{HeaderName, HeaderValue};

use super::*;

fn on(token: &str) -> RetryOn {
    let mut on = RetryOn::default();
    match token {
        "5xx" => on.five_xx = true,
        "gateway-error" => on.gateway_error = true,
        "reset" => on.reset = true,
        "reset-before-request" => on.reset_before_request = true,
        "connect-failure" => on.connect_failure = true,
        "refused-stream" => on.refused_stream = true,
        "retriable-4xx" => on.retriable_4xx = true,
        "envoy-ratelimited" => on.envoy_ratelimited = true,
        "retriable-status-codes" => on.status_codes = vec![418],
        "unavailable" => on.grpc_status = vec![14],
        other => panic!("no such token: {other}"),
    }
    on
}

const TOKENS: [&str; 10] = [
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "refused-stream",
    "retriable-4xx",
    "envoy-ratelimited",
    "retriable-status-codes",
    "unavailable",
];

fn policy(retry_on: RetryOn, explicit: bool) -> RetryPolicy {
    RetryPolicy {
        attempts: 2,
        per_try_timeout: None,
        retry_on,
        explicit,
        ignore_previous_hosts: true,
        retry_remote_localities: false,
        backoff: Duration::from_millis(25),
    }
}

fn history(method: &Method) -> History<'_> {
    History { method, replayable: true, retries: 0, refreshed: false }
}

fn failed(failure: Failure, sent: Sent) -> Error {
    Error { failure, sent, reused: false, transport: None }
}

/// The tokens that repeat a request after `error`, with an explicit policy.
fn retried_by(error: &Error, method: &Method, explicit: bool) -> Vec<&'static str> {
    let again = |token: &&str| verdict(Some(&policy(on(token), explicit)), Outcome::Failed(error), history(method)) == Verdict::Again(1);
    TOKENS.iter().copied().filter(|token| again(token)).collect()
}

#[test]
fn each_failure_is_retried_by_the_conditions_that_name_it() {
    let resets = ["5xx", "gateway-error", "reset"];
    let with = |more: &[&'static str]| [&resets[..], more].concat();
    let table: &[(Failure, Sent, Vec<&str>)] = &[
        (Failure::ConnectFailure, Sent::Nothing, with(&["reset-before-request", "connect-failure"])),
        (Failure::ConnectTimeout, Sent::Nothing, with(&["reset-before-request", "connect-failure"])),
        (Failure::RefusedStream, Sent::Nothing, with(&["reset-before-request", "refused-stream"])),
        (Failure::Terminated, Sent::Nothing, with(&["reset-before-request"])),
        (Failure::Terminated, Sent::Unanswered, with(&[])),
        (Failure::Reset, Sent::Unanswered, with(&[])),
        (Failure::Protocol, Sent::Unanswered, with(&[])),
        (Failure::PerTryTimeout, Sent::Unanswered, with(&[])),
        (Failure::Terminated, Sent::Answered, vec![]),
        (Failure::Overflow, Sent::Nothing, vec![]),
        (Failure::NoHealthyUpstream, Sent::Nothing, vec![]),
        (Failure::RouteTimeout, Sent::Unanswered, vec![]),
        (Failure::Downstream, Sent::Unanswered, vec![]),
    ];
    for (failure, sent, tokens) in table {
        assert_eq!(&retried_by(&failed(*failure, *sent), &Method::POST, true), tokens, "{failure:?}, {sent:?}");
    }
}

#[test]
fn an_unanswered_request_is_repeated_only_if_idempotent_or_by_the_users_own_policy() {
    let unanswered = failed(Failure::Terminated, Sent::Unanswered);
    for (method, explicit, repeated) in [
        (Method::GET, false, true),
        (Method::PUT, false, true),
        (Method::DELETE, false, true),
        (Method::POST, false, false),
        (Method::PATCH, false, false),
        (Method::POST, true, true),
    ] {
        assert_eq!(!retried_by(&unanswered, &method, explicit).is_empty(), repeated, "{method}, explicit {explicit}");
    }
}

#[test]
fn each_answer_is_retried_by_the_conditions_that_name_it() {
    let header =
        |name: &'static str, value: &'static str| HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]);
    let none = HeaderMap::new();
    let table: &[(u16, HeaderMap, &[&str])] = &[
        (200, none.clone(), &[]),
        (500, none.clone(), &["5xx"]),
        (503, none.clone(), &["5xx", "gateway-error"]),
        (409, none.clone(), &["retriable-4xx"]),
        (418, none, &["retriable-status-codes"]),
        (200, header("grpc-status", "14"), &["unavailable"]),
        (200, header("grpc-status", "5"), &[]),
        (503, header("x-envoy-overloaded", "true"), &[]),
        (503, header("x-envoy-ratelimited", "true"), &["envoy-ratelimited"]),
    ];
    for (status, headers, tokens) in table {
        let outcome = Outcome::Answered(StatusCode::from_u16(*status).unwrap(), headers);
        let again = |token: &&str| verdict(Some(&policy(on(token), false)), outcome, history(&Method::POST)) == Verdict::Again(1);
        let got: Vec<&str> = TOKENS.iter().copied().filter(again).collect();
        assert_eq!(&got, tokens, "{status} {headers:?}");
    }
}

#[test]
fn attempts_are_counted_and_their_end_is_flagged() {
    let policy = policy(on("5xx"), true);
    let empty = HeaderMap::new();
    let outcome = Outcome::Answered(StatusCode::SERVICE_UNAVAILABLE, &empty);
    let after = |retries| verdict(Some(&policy), outcome, History { retries, ..history(&Method::GET) });
    assert_eq!(after(0), Verdict::Again(1));
    assert_eq!(after(1), Verdict::Again(2));
    assert_eq!(after(2), Verdict::Stands { exhausted: true });
}

#[test]
fn a_request_that_lost_the_keep_alive_race_gets_one_fresh_connection_without_any_policy() {
    let lost = |sent| Error { reused: true, ..failed(Failure::Terminated, sent) };
    let judge = |error: &Error, history| verdict(None, Outcome::Failed(error), history);
    assert_eq!(judge(&lost(Sent::Nothing), history(&Method::POST)), Verdict::Refresh);
    assert_eq!(judge(&lost(Sent::Unanswered), history(&Method::GET)), Verdict::Refresh);
    assert_eq!(judge(&lost(Sent::Unanswered), history(&Method::POST)), STANDS);
    assert_eq!(judge(&lost(Sent::Answered), history(&Method::GET)), STANDS);
    assert_eq!(judge(&failed(Failure::Terminated, Sent::Nothing), history(&Method::GET)), STANDS, "a fresh connection");
    let again = History { refreshed: true, ..history(&Method::GET) };
    assert_eq!(judge(&lost(Sent::Nothing), again), STANDS);
    let spent = History { replayable: false, ..history(&Method::GET) };
    assert_eq!(judge(&lost(Sent::Nothing), spent), STANDS);
}

#[test]
fn backoff_grows_and_is_bounded() {
    let base = Duration::from_millis(25);
    assert_eq!(backoff(base, 1, 0), Duration::ZERO);
    assert!(backoff(base, 1, u64::MAX) <= Duration::from_millis(25));
    assert!(backoff(base, 2, u64::MAX) > Duration::from_millis(70));
    assert!(backoff(base, 30, u64::MAX) <= Duration::from_millis(250));
}
