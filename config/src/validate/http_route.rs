//! Rules for the HTTP rules of a VirtualService.

use super::http_headers::{authority_sources, headers};
use super::virtual_service::{destination, gateways, is_for_mesh, source_namespace, weights};
use super::{Checker, http_policy};
use crate::api::virtual_service::{
    HttpDirectResponse, HttpMatchRequest, HttpRedirect, HttpRewrite, HttpRoute, StringMatch, VirtualService,
};
use crate::decode::Path;
use crate::matcher::Substitution;
use crate::string_map::StringMap;

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
        http_policy::retries(cx, &path.field("retries"), retries);
    }
    if let Some(fault) = &route.fault {
        http_policy::fault(cx, &path.field("fault"), fault);
    }
    http_policy::mirrors(cx, path, route);
    if let Some(policy) = &route.cors_policy {
        http_policy::cors(cx, &path.field("corsPolicy"), policy);
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
    conditions: &StringMap<Option<StringMatch>>,
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
pub(super) fn is_header_name(name: &str) -> bool {
    http::HeaderName::try_from(name).is_ok()
}

pub(super) fn string_match(cx: &mut Checker<'_>, path: &Path<'_>, condition: &StringMatch, is_uri: bool) {
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
