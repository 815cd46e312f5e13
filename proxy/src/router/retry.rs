//! The retry verdict: again, or not.
//!
//! Two rules. First the connection's: a request that failed on a *reused* connection lost the race against the server's
//! keep-alive timer; it goes once to a fresh connection, whatever the policy says, if it was not sent or may be sent twice.
//! Then the policy's (Istio semantics 1.11). A request that was sent and got no answer may have been executed: a policy
//! repeats it only if it is idempotent or if the user wrote the policy. A condition on an *answer* counts as the user's
//! word, Istio's defaults included. An answer that has begun to go out is never taken back.

use std::time::Duration;

use http::{HeaderMap, HeaderName, Method, StatusCode};
use outrigger_config::model::{RetryOn, RetryPolicy};

use crate::error::{Error, Failure, Sent};
use crate::http::grpc;
use crate::http::headers::OVERLOADED;

const RATE_LIMITED: HeaderName = HeaderName::from_static("x-envoy-ratelimited");

/// How an attempt ended.
#[derive(Clone, Copy, Debug)]
pub enum Outcome<'a> {
    /// Without an answer.
    Failed(&'a Error),
    /// With the head of an answer.
    Answered(StatusCode, &'a HeaderMap),
}

/// What has happened so far.
#[derive(Clone, Copy, Debug)]
pub struct History<'a> {
    /// Method of the request.
    pub method: &'a Method,
    /// Whether the body, if any, can be sent again.
    pub replayable: bool,
    /// Retries that counted against the policy.
    pub retries: u32,
    /// Whether the fresh connection after a lost keep-alive race was used up.
    pub refreshed: bool,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// At once, on a connection of its own; does not count against the policy.
    Refresh,
    /// After a back-off; this is retry number `n`, counting from 1.
    Again(u32),
    /// The outcome stands. `exhausted`: the policy would have wanted another try, but had none left.
    Stands {
        /// Flag URX.
        exhausted: bool,
    },
}

const STANDS: Verdict = Verdict::Stands { exhausted: false };

/// Judges an attempt.
pub fn verdict(policy: Option<&RetryPolicy>, outcome: Outcome<'_>, history: History<'_>) -> Verdict {
    if !history.replayable {
        return STANDS;
    }
    if let Outcome::Failed(error) = outcome
        && lost_the_race(error, history)
    {
        return Verdict::Refresh;
    }
    let Some(policy) = policy else { return STANDS };
    if !wants(policy, outcome, history.method) {
        return STANDS;
    }
    if history.retries < policy.attempts { Verdict::Again(history.retries + 1) } else { Verdict::Stands { exhausted: true } }
}

/// Whether another attempt could follow at all: decides if the request head must be kept.
pub fn may_follow(policy: Option<&RetryPolicy>, reused: bool, history: History<'_>) -> bool {
    let by_policy = policy.is_some_and(|policy| history.retries <= policy.attempts);
    history.replayable && (by_policy || (reused && !history.refreshed))
}

fn lost_the_race(error: &Error, history: History<'_>) -> bool {
    let closed = matches!(error.failure, Failure::Terminated | Failure::RefusedStream);
    let harmless = match error.sent {
        Sent::Nothing => true,
        Sent::Unanswered => history.method.is_idempotent(),
        Sent::Answered => false,
    };
    error.reused && closed && harmless && !history.refreshed
}

fn wants(policy: &RetryPolicy, outcome: Outcome<'_>, method: &Method) -> bool {
    match outcome {
        Outcome::Answered(status, headers) => wants_answer(&policy.retry_on, status, headers),
        Outcome::Failed(error) => {
            let safe = match error.sent {
                Sent::Nothing => true,
                Sent::Unanswered => method.is_idempotent() || policy.explicit,
                Sent::Answered => false,
            };
            safe && wants_failure(&policy.retry_on, error)
        }
    }
}

fn wants_failure(on: &RetryOn, error: &Error) -> bool {
    let any_reset = on.five_xx || on.gateway_error || on.reset;
    let before_request = on.reset_before_request && error.sent == Sent::Nothing;
    match error.failure {
        Failure::ConnectFailure | Failure::LocalConnectFailure | Failure::ConnectTimeout => {
            any_reset || on.connect_failure || before_request
        }
        Failure::RefusedStream => any_reset || on.refused_stream || before_request,
        Failure::Terminated | Failure::Reset | Failure::Protocol => any_reset || before_request,
        Failure::PerTryTimeout => any_reset,
        Failure::Overflow | Failure::NoHealthyUpstream | Failure::RouteTimeout | Failure::Downstream => false,
    }
}

fn wants_answer(on: &RetryOn, status: StatusCode, headers: &HeaderMap) -> bool {
    // First what most answers settle: neither their status nor anything they carry is asked for.
    let code = status.as_u16();
    let wanted = (on.five_xx && status.is_server_error())
        || (on.gateway_error && matches!(code, 502..=504))
        || (on.retriable_4xx && code == 409)
        || on.status_codes.contains(&code)
        || (!on.grpc_status.is_empty() && grpc_status(headers).is_some_and(|status| on.grpc_status.contains(&status)));
    if (!wanted && !on.envoy_ratelimited) || headers.contains_key(OVERLOADED) {
        return false;
    }
    if headers.contains_key(RATE_LIMITED) { on.envoy_ratelimited } else { wanted }
}

/// `grpc-status` among headers, which makes the answer one without body and trailers.
fn grpc_status(headers: &HeaderMap) -> Option<u8> {
    headers.get(grpc::STATUS)?.to_str().ok()?.parse().ok()
}

/// Time before retry `n` (from 1): uniform in `[0, base * (2^n - 1))`, at most ten times the base. `random` is uniform over
/// all 64-bit numbers.
pub fn backoff(base: Duration, n: u32, random: u64) -> Duration {
    let most = base.saturating_mul(2u32.saturating_pow(n.min(16)) - 1).min(base.saturating_mul(10));
    most.mul_f64(random as f64 / (u64::MAX as f64 + 1.0))
}

#[cfg(test)]
mod tests;
