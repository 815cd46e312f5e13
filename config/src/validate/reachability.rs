//! Rules of a VirtualService that can never be reached because earlier ones take everything (IST0130, IST0131).

use super::Checker;
use crate::api::virtual_service::{HttpMatchRequest, HttpRoute, StringMatch};
use crate::decode::Path;
use crate::diagnostic::Severity;

pub(super) fn check(cx: &mut Checker<'_>, http: &Path<'_>, routes: &[HttpRoute]) {
    let mut earlier: Vec<&HttpMatchRequest> = Vec::new();
    let mut match_all: Option<usize> = None;
    for (index, route) in routes.iter().enumerate() {
        let at = http.index(index);
        if let Some(taker) = match_all {
            let message = format!("this rule is never reached: http[{taker}] matches everything before it");
            cx.push(Severity::Warning, "IST0130", &at, message);
            continue;
        }
        if route.matches.is_empty() {
            match_all = Some(index);
        }
        matches(cx, &at.field("match"), &at, route, &earlier);
        earlier.extend(&route.matches);
    }
}

fn matches(cx: &mut Checker<'_>, path: &Path<'_>, rule: &Path<'_>, route: &HttpRoute, earlier: &[&HttpMatchRequest]) {
    let repeats: Vec<bool> = route.matches.iter().map(|block| earlier.iter().any(|other| same(other, block))).collect();
    if !repeats.is_empty() && repeats.iter().all(|repeat| *repeat) {
        return cx.push(Severity::Warning, "IST0130", rule, "this rule is never reached: earlier rules have all its matches".into());
    }
    for (index, block) in route.matches.iter().enumerate() {
        let at = path.index(index);
        if repeats.get(index) == Some(&true) {
            cx.push(Severity::Info, "IST0131", &at, "an earlier rule has the same match, so this one has no effect".into());
        } else if let Some(prefix) = earlier.iter().find_map(|other| shadow(other, block)) {
            let message = format!("the prefix {prefix:?} of an earlier rule takes these requests, so this match has no effect");
            cx.push(Severity::Info, "IST0131", &at, message);
        }
    }
}

/// The same conditions; the name and the statistics prefix are none.
fn same(a: &HttpMatchRequest, b: &HttpMatchRequest) -> bool {
    let plain = |block: &HttpMatchRequest| HttpMatchRequest { name: String::new(), stat_prefix: String::new(), ..block.clone() };
    plain(a) == plain(b)
}

/// The path prefix with which `earlier` takes every request of `later`: all else equal, and the later path begins with it.
fn shadow<'e>(earlier: &'e HttpMatchRequest, later: &HttpMatchRequest) -> Option<&'e str> {
    let Some(StringMatch::Prefix(prefix)) = &earlier.uri else { return None };
    let (Some(StringMatch::Exact(path)) | Some(StringMatch::Prefix(path))) = &later.uri else { return None };
    let without_uri = HttpMatchRequest { uri: earlier.uri.clone(), ..later.clone() };
    (path.starts_with(prefix.as_str()) && same(earlier, &without_uri)).then_some(prefix)
}
