//! Retry policies: Istio's default, a VirtualService's `retries`, and the inbound default.
//!
//! Source: Istio semantics 1.11.

use std::time::Duration;

use crate::api::virtual_service::HttpRetry;
use crate::model::{RetryOn, RetryPolicy};

/// `retryOn` when nobody says otherwise. The list of status codes is empty, so no plain HTTP status is retried.
const DEFAULT_RETRY_ON: &str = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";

/// Back-off base when nobody says otherwise.
const DEFAULT_BACKOFF: Duration = Duration::from_millis(25);

/// The policy of a route: its own `retries`, else the mesh's `defaultHttpRetryPolicy`, else Istio's default.
/// `attempts: 0` switches retries off.
pub(super) fn outbound(own: Option<&HttpRetry>, mesh: Option<&HttpRetry>) -> Option<RetryPolicy> {
    match own.or(mesh) {
        Some(retries) => convert(retries, DEFAULT_RETRY_ON),
        None => Some(default_policy(DEFAULT_RETRY_ON)),
    }
}

/// The policy towards the application of this pod: only what never reached it is sent again. gRPC ports have none.
pub(super) fn inbound(mesh: Option<&HttpRetry>, grpc: bool) -> Option<RetryPolicy> {
    match mesh {
        _ if grpc => None,
        Some(retries) => convert(retries, "reset-before-request"),
        None => Some(default_policy("reset-before-request")),
    }
}

fn default_policy(retry_on: &str) -> RetryPolicy {
    RetryPolicy {
        attempts: 2,
        per_try_timeout: None,
        retry_on: parse_retry_on(retry_on),
        explicit: false,
        ignore_previous_hosts: true,
        retry_remote_localities: false,
        backoff: DEFAULT_BACKOFF,
    }
}

fn convert(retries: &HttpRetry, default_retry_on: &str) -> Option<RetryPolicy> {
    let attempts = u32::try_from(retries.attempts).ok().filter(|attempts| *attempts > 0)?;
    let explicit = !retries.retry_on.trim().is_empty();
    let positive = |duration: Option<Duration>| duration.filter(|duration| !duration.is_zero());
    Some(RetryPolicy {
        attempts,
        per_try_timeout: positive(retries.per_try_timeout),
        retry_on: parse_retry_on(if explicit { &retries.retry_on } else { default_retry_on }),
        explicit,
        ignore_previous_hosts: retries.retry_ignore_previous_hosts.unwrap_or(true),
        retry_remote_localities: retries.retry_remote_localities.unwrap_or(false),
        backoff: positive(retries.backoff).unwrap_or(DEFAULT_BACKOFF),
    })
}

/// Reads a comma list of conditions. Words that are unknown, or not for us (`retriable-headers`,
/// `http3-post-connect-failure`), change nothing; the validator reports them.
pub(super) fn parse_retry_on(list: &str) -> RetryOn {
    let mut on = RetryOn::default();
    for token in list.split(',').map(str::trim) {
        match token {
            "5xx" => on.five_xx = true,
            "gateway-error" => on.gateway_error = true,
            "reset" => on.reset = true,
            "reset-before-request" => on.reset_before_request = true,
            "connect-failure" => on.connect_failure = true,
            "refused-stream" => on.refused_stream = true,
            "retriable-4xx" => on.retriable_4xx = true,
            "envoy-ratelimited" => on.envoy_ratelimited = true,
            other => parse_code(other, &mut on),
        }
    }
    on
}

fn parse_code(token: &str, on: &mut RetryOn) {
    let grpc = match token {
        "cancelled" => Some(1),
        "deadline-exceeded" => Some(4),
        "resource-exhausted" => Some(8),
        "internal" => Some(13),
        "unavailable" => Some(14),
        _ => None,
    };
    let status = token.parse().ok().filter(|code| (100..600).contains(code));
    on.grpc_status.extend(grpc.filter(|code| !on.grpc_status.contains(code)));
    on.status_codes.extend(status.filter(|code| !on.status_codes.contains(code)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retries(attempts: i32, retry_on: &str) -> HttpRetry {
        HttpRetry { attempts, retry_on: retry_on.to_owned(), ..HttpRetry::default() }
    }

    #[test]
    fn the_default_retries_twice_what_was_never_executed() {
        let policy = outbound(None, None).expect("a policy");
        assert_eq!((policy.attempts, policy.explicit, policy.backoff), (2, false, DEFAULT_BACKOFF));
        let on = &policy.retry_on;
        assert!(on.connect_failure && on.refused_stream && !on.five_xx && !on.reset);
        assert_eq!((on.grpc_status.as_slice(), on.status_codes.is_empty()), ([14, 1].as_slice(), true));
    }

    #[test]
    fn retries_without_attempts_switch_retrying_off() {
        assert_eq!(outbound(Some(&retries(0, "")), None), None);
        assert_eq!(outbound(Some(&retries(-1, "5xx")), None), None);
        assert_eq!(outbound(None, Some(&retries(0, ""))), None);
    }

    #[test]
    fn the_routes_word_beats_the_meshs_and_only_a_written_list_is_explicit() {
        let own = retries(3, "");
        let mesh = retries(5, "5xx");
        let policy = outbound(Some(&own), Some(&mesh)).expect("a policy");
        assert_eq!((policy.attempts, policy.explicit, policy.retry_on.five_xx), (3, false, false));
        let policy = outbound(None, Some(&mesh)).expect("a policy");
        assert_eq!((policy.attempts, policy.explicit, policy.retry_on.five_xx), (5, true, true));
    }

    #[test]
    fn numbers_in_the_list_are_status_codes_and_spaces_do_not_matter() {
        let on = parse_retry_on("503, 409 ,gateway-error,retriable-status-codes,nonsense,503,99999");
        assert_eq!(on, RetryOn { gateway_error: true, status_codes: vec![503, 409], ..RetryOn::default() });
    }

    #[test]
    fn inbound_resends_only_what_was_not_sent_and_never_grpc() {
        let policy = inbound(None, false).expect("a policy");
        assert_eq!(policy.retry_on, RetryOn { reset_before_request: true, ..RetryOn::default() });
        assert_eq!((policy.attempts, policy.explicit), (2, false));
        assert_eq!(inbound(None, true), None);
        assert_eq!(inbound(Some(&retries(0, "")), false), None);
    }
}
