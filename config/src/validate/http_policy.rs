//! Rules for what an HTTP rule of a VirtualService does beside routing: retries, faults, mirroring, CORS.

use super::Checker;
use super::http_route::{is_header_name, string_match};
use super::virtual_service::destination;
use crate::api::virtual_service::{CorsPolicy, HttpFaultInjection, HttpRetry, HttpRoute, StringMatch};
use crate::decode::{Path, closest};
use crate::grpc_status;

/// Conditions of `retryOn`; a number is a status code.
const RETRY_ON: &[&str] = &[
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "refused-stream",
    "retriable-4xx",
    "retriable-status-codes",
    "retriable-headers",
    "envoy-ratelimited",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
];

pub(super) fn retries(cx: &mut Checker<'_>, path: &Path<'_>, retries: &HttpRetry) {
    cx.not_negative(&path.field("attempts"), retries.attempts);
    let more = retries.per_try_timeout.is_some() || !retries.retry_on.is_empty() || retries.retry_remote_localities.is_some();
    let reason = "0 switches retries off, so perTryTimeout, retryOn and retryRemoteLocalities cannot be given; expected 1 or more";
    cx.require(retries.attempts != 0 || !more, &path.field("attempts"), reason);
    cx.duration(&path.field("perTryTimeout"), retries.per_try_timeout);
    cx.duration(&path.field("backoff"), retries.backoff);
    if retries.retry_on.is_empty() {
        return;
    }
    for token in retries.retry_on.split(',') {
        let status = token.parse::<u16>().is_ok_and(|status| (100..=599).contains(&status));
        if !status && !RETRY_ON.contains(&token) {
            let hint = closest(token, RETRY_ON.iter().copied());
            let hint = hint.map(|name| format!(", did you mean {name:?}?")).unwrap_or_default();
            cx.error(
                &path.field("retryOn"),
                format!("unknown condition {token:?}{hint} (conditions are separated by \",\" without spaces)"),
            );
        }
    }
}

pub(super) fn fault(cx: &mut Checker<'_>, path: &Path<'_>, fault: &HttpFaultInjection) {
    cx.require(fault.delay.is_some() || fault.abort.is_some(), path, "expected delay or abort");
    if let Some(delay) = &fault.delay {
        let at = &path.field("delay");
        cx.require(
            delay.exponential_delay.is_none(),
            &at.field("exponentialDelay"),
            "exponentialDelay does not exist in Istio; use fixedDelay",
        );
        cx.duration(&at.field("fixedDelay"), delay.fixed_delay);
        if let Some(percentage) = &delay.percentage {
            cx.percent(&at.field("percentage").field("value"), percentage.value);
        } else {
            cx.require((0..=100).contains(&delay.percent), &at.field("percent"), "expected a percentage from 0 to 100");
            cx.warn_if(delay.percent == 0, at, "without percentage this delay never happens");
            cx.warn_if(delay.percent != 0, &at.field("percent"), "percent is deprecated; use percentage.value");
        }
        cx.warn_if(delay.fixed_delay.is_none(), at, "without fixedDelay there is no delay");
    }
    if let Some(abort) = &fault.abort {
        let at = &path.field("abort");
        cx.require(
            abort.http2_error.is_none(),
            &at.field("http2Error"),
            "http2Error does not exist in Istio; use httpStatus or grpcStatus",
        );
        if let Some(status) = abort.http_status {
            cx.require((200..=600).contains(&status), &at.field("httpStatus"), "expected a status from 200 to 600");
        }
        if let Some(status) = abort.grpc_status.as_deref().filter(|status| grpc_status::code(status).is_none()) {
            cx.error(&at.field("grpcStatus"), format!("expected the name of a gRPC status such as \"UNAVAILABLE\", found {status:?}"));
        }
        match &abort.percentage {
            Some(percentage) => cx.percent(&at.field("percentage").field("value"), percentage.value),
            None => cx.warning(at, "without percentage this abort never happens"),
        }
        let nothing = abort.http_status.is_none() && abort.grpc_status.is_none() && abort.http2_error.is_none();
        cx.warn_if(nothing, at, "without httpStatus or grpcStatus nothing is aborted");
    }
}

pub(super) fn mirrors(cx: &mut Checker<'_>, path: &Path<'_>, route: &HttpRoute) {
    if let Some(mirror) = &route.mirror {
        destination(cx, &path.field("mirror"), mirror);
    }
    if let Some(percent) = route.mirror_percent {
        let at = &path.field("mirrorPercent");
        cx.require(percent <= 100, at, "expected a percentage from 0 to 100");
        cx.warning(at, "mirrorPercent is deprecated; use mirrorPercentage.value");
    }
    if let Some(percentage) = &route.mirror_percentage {
        cx.percent(&path.field("mirrorPercentage").field("value"), percentage.value);
    }
    for (index, mirror) in route.mirrors.iter().enumerate() {
        let mirrors = path.field("mirrors");
        let at = mirrors.index(index);
        match &mirror.destination {
            Some(target) => destination(cx, &at.field("destination"), target),
            None => cx.error(&at.field("destination"), "expected a destination"),
        }
        if let Some(percentage) = &mirror.percentage {
            cx.percent(&at.field("percentage").field("value"), percentage.value);
        }
    }
}

pub(super) fn cors(cx: &mut Checker<'_>, path: &Path<'_>, policy: &CorsPolicy) {
    for (index, origin) in policy.allow_origins.iter().enumerate() {
        let origins = path.field("allowOrigins");
        let at = origins.index(index);
        let empty = matches!(origin, StringMatch::Present) || matches!(origin, StringMatch::Exact(text) if text.is_empty());
        cx.require(!empty, &at, "expected exact, prefix or regex with text");
        string_match(cx, &at, origin, false);
    }
    const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*"];
    for (index, method) in policy.allow_methods.iter().enumerate().filter(|(_, method)| !METHODS.contains(&method.as_str())) {
        cx.error(&path.field("allowMethods").index(index), format!("expected a method, found {method:?}"));
    }
    for (field, names) in [("allowHeaders", &policy.allow_headers), ("exposeHeaders", &policy.expose_headers)] {
        for (index, name) in names.iter().enumerate().filter(|(_, name)| *name != "*" && !is_header_name(name)) {
            cx.error(&path.field(field).index(index), format!("expected the name of a header or \"*\", found {name:?}"));
        }
    }
    let whole = policy.max_age.is_none_or(|age| age.subsec_nanos() == 0);
    cx.require(whole, &path.field("maxAge"), "expected whole seconds");
}
