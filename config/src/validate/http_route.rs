//! Rules for the HTTP rules of a VirtualService.

use std::collections::BTreeMap;

use super::Checker;
use super::virtual_service::{destination, gateways, is_for_mesh, source_namespace, weights};
use crate::api::virtual_service::{
    CorsPolicy, Headers, HttpDirectResponse, HttpFaultInjection, HttpMatchRequest, HttpRedirect, HttpRetry, HttpRewrite, HttpRoute,
    StringMatch, VirtualService,
};
use crate::decode::Path;
use crate::matcher::Substitution;

pub(super) fn check(cx: &mut Checker<'_>, path: &Path<'_>, route: &HttpRoute, object: &VirtualService) {
    actions(cx, path, route);
    for (index, block) in route.matches.iter().enumerate() {
        let matches = path.field("match");
        match_request(cx, &matches.index(index), block, object);
    }
    let destinations = &path.field("route");
    for (index, entry) in route.route.iter().enumerate() {
        let at = destinations.index(index);
        destination(cx, &at.field("destination"), &entry.destination);
        headers(cx, &at.field("headers"), entry.headers.as_ref());
    }
    let numbers: Vec<i32> = route.route.iter().map(|entry| entry.weight).collect();
    weights(cx, destinations, &numbers);
    headers(cx, &path.field("headers"), route.headers.as_ref());
    cx.duration(&path.field("timeout"), route.timeout);
    authority_sources(cx, path, route);
    if let Some(redirect) = &route.redirect {
        check_redirect(cx, &path.field("redirect"), redirect, route);
    }
    if let Some(response) = &route.direct_response {
        direct_response(cx, &path.field("directResponse"), response);
    }
    if let Some(rewrite) = &route.rewrite {
        check_rewrite(cx, &path.field("rewrite"), rewrite);
    }
    if let Some(retries) = &route.retries {
        check_retries(cx, &path.field("retries"), retries);
    }
    if let Some(fault) = &route.fault {
        check_fault(cx, &path.field("fault"), fault);
    }
    mirrors(cx, path, route);
    if let Some(policy) = &route.cors_policy {
        cors(cx, &path.field("corsPolicy"), policy);
    }
}

/// One rule has one action, and not everything goes with every action.
fn actions(cx: &mut Checker<'_>, path: &Path<'_>, route: &HttpRoute) {
    let forwards = !route.route.is_empty();
    let redirect = route.redirect.is_some();
    let direct = route.direct_response.is_some();
    let delegate = route.delegate.is_some();
    cx.require(forwards || redirect || direct || delegate, path, "expected one of route, redirect, directResponse, delegate");
    let together = |cx: &mut Checker<'_>, one: &'static str, other: &'static str, both: bool| {
        if both {
            cx.error(&path.field(other), format!("{other} cannot be combined with {one}"));
        }
    };
    together(cx, "redirect", "route", redirect && forwards);
    together(cx, "redirect", "fault", redirect && route.fault.is_some());
    together(cx, "redirect", "rewrite", redirect && route.rewrite.is_some());
    together(cx, "redirect", "directResponse", redirect && direct);
    together(cx, "directResponse", "route", direct && forwards);
    together(cx, "directResponse", "fault", direct && route.fault.is_some());
    together(cx, "directResponse", "rewrite", direct && route.rewrite.is_some());
    together(cx, "delegate", "route", delegate && forwards);
    together(cx, "delegate", "redirect", delegate && redirect);
    together(cx, "mirror", "mirrors", route.mirror.is_some() && !route.mirrors.is_empty());
}

fn match_request(cx: &mut Checker<'_>, path: &Path<'_>, block: &HttpMatchRequest, object: &VirtualService) {
    for (field, condition) in [("uri", &block.uri), ("scheme", &block.scheme), ("method", &block.method), ("authority", &block.authority)] {
        if let Some(condition) = condition {
            string_match(cx, &path.field(field), condition, field == "uri");
        }
    }
    header_conditions(cx, &path.field("headers"), &block.headers, object, false);
    header_conditions(cx, &path.field("withoutHeaders"), &block.without_headers, object, true);
    for (name, condition) in &block.query_params {
        let params = path.field("queryParams");
        cx.require(!name.is_empty(), &params, "expected the name of a parameter");
        if let Some(condition) = condition {
            string_match(cx, &params.key(name), condition, false);
        }
    }
    cx.port_or_zero(&path.field("port"), block.port);
    cx.labels(&path.field("sourceLabels"), &block.source_labels);
    gateways(cx, &path.field("gateways"), &block.gateways);
    source_namespace(cx, path, &block.source_namespace);
}

fn header_conditions(
    cx: &mut Checker<'_>,
    path: &Path<'_>,
    conditions: &BTreeMap<String, Option<StringMatch>>,
    object: &VirtualService,
    negated: bool,
) {
    for (name, condition) in conditions {
        let at = path.key(name);
        if name.starts_with("@request.auth.claims") {
            let reason = "conditions on JWT claims work at gateways only; name gateways, without \"mesh\"";
            cx.require(!is_for_mesh(object), &at, reason);
            cx.warning(&at, "conditions on JWT claims have no effect yet: this block never matches");
            continue;
        }
        let pseudo = matches!(name.as_str(), ":method" | ":scheme" | ":authority" | ":path" | ":status");
        cx.require(pseudo || is_header_name(name), &at, "this is not the name of a header");
        match condition {
            // Istio lets `regex: "*"` through here, where it means "present".
            Some(StringMatch::Regex(pattern)) if negated && pattern == "*" => {}
            Some(condition) => string_match(cx, &at, condition, false),
            None => cx.require(negated, &at, "expected a condition, found null; write {} to demand that the header is present"),
        }
    }
}

/// A name that may stand in a header section.
fn is_header_name(name: &str) -> bool {
    http::HeaderName::try_from(name).is_ok()
}

fn string_match(cx: &mut Checker<'_>, path: &Path<'_>, condition: &StringMatch, is_uri: bool) {
    match condition {
        StringMatch::Regex(pattern) => {
            cx.regex(&path.field("regex"), pattern);
        }
        StringMatch::Prefix(prefix) => {
            cx.require(is_uri || !prefix.is_empty(), &path.field("prefix"), "expected text; an empty prefix is allowed for uri only");
        }
        StringMatch::Exact(_) | StringMatch::Present => {}
    }
}

fn check_redirect(cx: &mut Checker<'_>, path: &Path<'_>, redirect: &HttpRedirect, route: &HttpRoute) {
    let nothing = redirect.uri.is_empty()
        && redirect.prefix_rewrite.is_empty()
        && redirect.authority.is_empty()
        && redirect.port.is_none()
        && redirect.derive_port.is_none()
        && redirect.scheme.is_empty();
    cx.require(!nothing, path, "expected at least one of uri, prefixRewrite, authority, port, scheme");
    if !redirect.prefix_rewrite.is_empty() {
        let at = &path.field("prefixRewrite");
        cx.require(redirect.uri.is_empty(), at, "prefixRewrite cannot be combined with uri");
        let prefix = |block: &HttpMatchRequest| matches!(block.uri, None | Some(StringMatch::Prefix(_)));
        cx.require(route.matches.iter().all(prefix), at, "prefixRewrite needs a prefix in every uri match of the rule");
    }
    if !matches!(redirect.scheme.as_str(), "" | "http" | "https") {
        cx.error(&path.field("scheme"), format!("expected \"http\" or \"https\", found {:?}", redirect.scheme));
    }
    if let Some(port) = redirect.port {
        cx.port(&path.field("port"), port);
    }
    let code = &path.field("redirectCode");
    match redirect.redirect_code {
        0 | 301 | 302 | 303 | 307 | 308 => {}
        300..=399 => cx.warning(code, "only 301, 302, 303, 307 and 308 redirect; with this code the request fails"),
        other => cx.error(code, format!("expected a status from 300 to 399, found {other}")),
    }
}

/// Largest body of a direct response that Istio takes, and the size from which it warns.
const MAX_BODY: usize = 1 << 20;
const LARGE_BODY: usize = 100 << 10;

fn direct_response(cx: &mut Checker<'_>, path: &Path<'_>, response: &HttpDirectResponse) {
    if !(200..=599).contains(&response.status) {
        cx.error(&path.field("status"), format!("expected a status from 200 to 599, found {}", response.status));
    }
    let Some(body) = &response.body else { return };
    let size = match (&body.string, &body.bytes) {
        (Some(text), _) => text.len(),
        (None, Some(bytes)) => bytes.0.len(),
        (None, None) => 0,
    };
    let at = &path.field("body");
    cx.require(size <= MAX_BODY, at, "a body has at most 1 MiB");
    cx.warn_if(size > LARGE_BODY && size <= MAX_BODY, at, "a body above 100 KiB costs every proxy that much memory");
}

fn check_rewrite(cx: &mut Checker<'_>, path: &Path<'_>, rewrite: &HttpRewrite) {
    let nothing = rewrite.uri.is_empty() && rewrite.authority.is_empty() && rewrite.uri_regex_rewrite.is_none();
    cx.require(!nothing, path, "expected at least one of uri, uriRegexRewrite, authority");
    let Some(regex) = &rewrite.uri_regex_rewrite else { return };
    let at = &path.field("uriRegexRewrite");
    cx.require(rewrite.uri.is_empty(), at, "uriRegexRewrite cannot be combined with uri");
    cx.require(!regex.rewrite.is_empty(), &at.field("rewrite"), "expected the replacement");
    if cx.regex(&at.field("match"), &regex.pattern)
        && let Err(reason) = Substitution::new(&regex.pattern, &regex.rewrite)
    {
        cx.error(&at.field("rewrite"), format!("this replacement does not fit the expression: {reason}"));
    }
}

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

fn check_retries(cx: &mut Checker<'_>, path: &Path<'_>, retries: &HttpRetry) {
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
            let hint = crate::decode::closest(token, RETRY_ON.iter().copied());
            let hint = hint.map(|name| format!(", did you mean {name:?}?")).unwrap_or_default();
            cx.error(
                &path.field("retryOn"),
                format!("unknown condition {token:?}{hint} (conditions are separated by \",\" without spaces)"),
            );
        }
    }
}

/// Canonical names of the gRPC statuses.
const GRPC_STATUS: &[&str] = &[
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

fn check_fault(cx: &mut Checker<'_>, path: &Path<'_>, fault: &HttpFaultInjection) {
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
        if let Some(status) = abort.grpc_status.as_deref().filter(|status| !GRPC_STATUS.contains(status)) {
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

fn headers(cx: &mut Checker<'_>, path: &Path<'_>, headers: Option<&Headers>) {
    let Some(headers) = headers else { return };
    for (direction, operations) in [("request", &headers.request), ("response", &headers.response)] {
        let Some(operations) = operations else { continue };
        let at = path.field(direction);
        for (field, values) in [("set", &operations.set), ("add", &operations.add)] {
            for (name, value) in values {
                let operation = at.field(field);
                let here = operation.key(name);
                let host = direction == "request" && is_host(name);
                cx.require(host || changeable(name), &here, "this header cannot be changed here");
                if let Err(reason) = format_string(value) {
                    cx.error(&here, format!("{value:?} is not a header value: {reason}"));
                }
            }
        }
        for (index, name) in operations.remove.iter().enumerate() {
            cx.require(changeable(name), &at.field("remove").index(index), "this header cannot be removed");
        }
    }
}

fn is_host(name: &str) -> bool {
    name.eq_ignore_ascii_case("host") || name == ":authority"
}

/// Whether header operations may name it: a header, and not one that says where the request goes.
fn changeable(name: &str) -> bool {
    is_header_name(name) && !is_host(name)
}

/// The Host of a request can be set at one place of a rule only.
fn authority_sources(cx: &mut Checker<'_>, path: &Path<'_>, route: &HttpRoute) {
    let names = |headers: Option<&Headers>| {
        let operations = headers.and_then(|headers| headers.request.as_ref());
        operations.map_or(0, |operations| operations.set.keys().chain(operations.add.keys()).filter(|name| is_host(name)).count())
    };
    let rewrites = route.rewrite.as_ref().is_some_and(|rewrite| !rewrite.authority.is_empty());
    let sources = usize::from(rewrites) + names(route.headers.as_ref());
    cx.require(sources <= 1, path, "the Host is given more than once, by rewrite.authority and by header operations; expected one");
}

/// Values may hold `%NAME%` and `%NAME(ARGUMENTS)%`; a percent sign by itself is `%%`.
fn format_string(value: &str) -> Result<(), String> {
    if value.chars().any(|c| c.is_control() && c != '\t') {
        return Err("it has control characters".into());
    }
    let mut rest = value;
    while let Some((_, after)) = rest.split_once('%') {
        if let Some(next) = after.strip_prefix('%') {
            rest = next;
            continue;
        }
        let name = after.find(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')).unwrap_or(after.len());
        if name == 0 {
            return Err("write a percent sign as \"%%\"".into());
        }
        let tail = match after[name..].strip_prefix('(') {
            Some(arguments) => arguments.split_once(')').map(|(_, tail)| tail).ok_or("a \"(\" is not closed")?,
            None => &after[name..],
        };
        let tail = tail.strip_prefix(':').map_or(tail, |limit| limit.trim_start_matches(|c: char| c.is_ascii_digit()));
        rest = tail.strip_prefix('%').ok_or("a \"%\" is not closed; write a percent sign as \"%%\"")?;
    }
    Ok(())
}

fn mirrors(cx: &mut Checker<'_>, path: &Path<'_>, route: &HttpRoute) {
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

fn cors(cx: &mut Checker<'_>, path: &Path<'_>, policy: &CorsPolicy) {
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
