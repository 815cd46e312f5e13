//! HTTP routes: a VirtualService's rules, a service's default, and what happens to unknown hosts.
//!
//! Source: Istio semantics 1.4 and 1.5. Each match block becomes one route; the first route that matches everything
//! ends the list.

use std::sync::Arc;

use super::cluster::PASSTHROUGH;
use super::context::Context;
use super::delegate::HttpRule;
use super::destination::{self, Target};
use super::service::{Port, Service};
use super::virtual_service::{Candidate, Scope};
use super::{action, fault, header_ops, host, retry, route_match};
use crate::api::virtual_service::HttpRoute;
use crate::matcher::{PathMatch, RouteMatch};
use crate::model::{DirectResponse, Route, RouteAction, RouteHeaders, WeightedCluster};

/// The routes that a VirtualService gives at one place. `place` tells places apart in route keys: table and host.
pub(super) fn of_virtual_service(cx: &Context<'_>, candidate: &Candidate<'_>, scope: &Scope<'_>, place: &str) -> Vec<Route> {
    let mut routes: Vec<Route> = Vec::with_capacity(candidate.http.len());
    for rule in &candidate.http {
        for (entry, name, matches) in conditions(cx, rule, candidate, scope) {
            let key = format!("{}{entry} {place}", rule.key);
            let route = convert(cx, rule, scope, key, name, matches, candidate.object.name());
            let ends = route.matches.is_catch_all();
            routes.push(route);
            if ends {
                routes.shrink_to_fit();
                return routes;
            }
        }
    }
    routes.shrink_to_fit();
    routes
}

/// The match blocks of a rule that survive the static conditions: suffix of the key, route name, conditions.
fn conditions(cx: &Context<'_>, rule: &HttpRule<'_>, candidate: &Candidate<'_>, scope: &Scope<'_>) -> Vec<(String, String, RouteMatch)> {
    let http: &HttpRoute = &rule.rule;
    if http.matches.is_empty() {
        return vec![(String::new(), http.name.clone(), RouteMatch::any())];
    }
    let mut conditions = Vec::new();
    for (index, block) in http.matches.iter().enumerate() {
        if !scope.admits_http(block, candidate.object.namespace()) {
            continue;
        }
        let name = if block.name.is_empty() { http.name.clone() } else { format!("{}.{}", http.name, block.name) };
        match route_match::convert(block) {
            Ok(matches) => conditions.push((format!(".match[{index}]"), name, matches)),
            Err((field, message)) => {
                let message = format!("{message}; this match is left out");
                cx.report(&rule.object.object, format!("spec.{}.match[{index}].{field}", rule.field), message);
            }
        }
    }
    conditions
}

fn convert(
    cx: &Context<'_>,
    rule: &HttpRule<'_>,
    scope: &Scope<'_>,
    key: String,
    name: String,
    matches: RouteMatch,
    virtual_service: &str,
) -> Route {
    let http: &HttpRoute = &rule.rule;
    let mut complaints = Vec::new();
    let (action, only) = action_of(cx, rule, scope, &matches, &mut complaints);
    let rewrite = http.rewrite.as_ref().and_then(|rewrite| {
        let error =
            |(field, message): (String, String)| complaints.push((format!("rewrite.{field}"), format!("{message}; no rewrite is done")));
        action::rewrite(rewrite, &matches.path).map_err(error).ok()
    });
    let request_headers = header_ops::request(http.headers.as_ref(), &mut complaints);
    let response_headers = header_ops::response(http.headers.as_ref(), &mut complaints);
    for (field, message) in complaints {
        cx.report(&rule.object.object, format!("spec.{}.{field}", rule.field), message);
    }
    let forwards = matches!(action, RouteAction::Forward(_));
    let retry = match &http.retries {
        Some(own) => retry::outbound(Some(own), None).map(Arc::new),
        None => cx.default_retry.clone(),
    };
    Route {
        id: cx.route_id(),
        key,
        name,
        decorator: decorator(only.as_ref(), virtual_service, scope.port, &matches.path),
        matches,
        action,
        timeout: http.timeout.filter(|timeout| !timeout.is_zero()),
        retry: retry.filter(|_| forwards),
        fault: http.fault.as_ref().and_then(fault::convert).filter(|_| forwards).map(Box::new),
        rewrite: rewrite.filter(|_| forwards).map(Box::new),
        request_headers,
        response_headers,
    }
}

fn action_of(
    cx: &Context<'_>,
    rule: &HttpRule<'_>,
    scope: &Scope<'_>,
    matches: &RouteMatch,
    complaints: &mut Vec<(String, String)>,
) -> (RouteAction, Option<Target>) {
    if let Some(redirect) = &rule.rule.redirect {
        let action = action::redirect(redirect, &matches.path).map(|redirect| RouteAction::Redirect(Box::new(redirect)));
        return (action.unwrap_or_else(|| unusable(complaints)), None);
    }
    if let Some(response) = &rule.rule.direct_response {
        return (RouteAction::DirectResponse(action::direct_response(response)), None);
    }
    let (clusters, only) = destination::http(cx, &rule.rule.route, rule.object.namespace(), scope.port, complaints);
    (RouteAction::Forward(clusters), only)
}

fn unusable(complaints: &mut Vec<(String, String)>) -> RouteAction {
    let message = "expected 301, 302, 303, 307 or 308; requests are answered with 500";
    complaints.push(("redirect.redirectCode".to_owned(), message.to_owned()));
    RouteAction::DirectResponse(DirectResponse { status: 500, body: Vec::new() })
}

/// Istio's name of the operation: the only destination, else the VirtualService, with the path condition.
fn decorator(only: Option<&Target>, virtual_service: &str, port: u16, path: &PathMatch) -> String {
    let path = match path {
        PathMatch::Prefix { prefix, .. } => format!("{prefix}*"),
        PathMatch::Exact { path, .. } => path.clone(),
        PathMatch::Regex(regex) => regex.as_str().to_owned(),
    };
    match only {
        Some(target) => format!("{}:{}{path}", target.host, target.port),
        None => format!("{virtual_service}:{port}{path}"),
    }
}

/// The route of a service for which no VirtualService applies.
pub(super) fn of_service(cx: &Context<'_>, service: &Service<'_>, port: &Port<'_>, place: &str) -> Route {
    let cluster = host::outbound_cluster(port.number, "", service.host());
    let mut route = forward(cx, cluster, format!("default {place}"), "default");
    route.retry.clone_from(&cx.default_retry);
    route.decorator = format!("{}:{}/*", service.host(), port.number);
    route
}

/// The route of hosts that nobody knows, when anything is allowed: to where the connection was going.
pub(super) fn allow_any(cx: &Context<'_>, place: &str) -> Route {
    forward(cx, PASSTHROUGH.to_owned(), format!("allow_any {place}"), "allow_any")
}

/// The same when only known services are allowed.
pub(super) fn block_all(cx: &Context<'_>, place: &str) -> Route {
    let mut route = allow_any(cx, place);
    route.key = format!("block_all {place}");
    route.name = "block_all".to_owned();
    route.action = RouteAction::DirectResponse(DirectResponse { status: 502, body: Vec::new() });
    route
}

/// A plain route to one cluster, without timeout or retries.
pub(super) fn forward(cx: &Context<'_>, cluster: String, key: String, name: &str) -> Route {
    let destination = WeightedCluster {
        cluster: cx.cluster(&cluster),
        name: cluster,
        weight: 1,
        request_headers: RouteHeaders::default(),
        response_headers: RouteHeaders::default(),
    };
    Route {
        id: cx.route_id(),
        key,
        name: name.to_owned(),
        matches: RouteMatch::any(),
        action: RouteAction::Forward(vec![destination]),
        timeout: None,
        retry: None,
        fault: None,
        rewrite: None,
        request_headers: RouteHeaders::default(),
        response_headers: RouteHeaders::default(),
        decorator: String::new(),
    }
}
