//! Rules for header operations in the HTTP rules of a VirtualService.

use super::Checker;
use super::http_route::is_header_name;
use crate::api::virtual_service::{Headers, HttpRoute};
use crate::decode::Path;

/// Header operations of a rule or of one destination.
pub(super) fn headers(cx: &mut Checker<'_>, path: &Path<'_>, headers: Option<&Headers>) {
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
pub(super) fn authority_sources(cx: &mut Checker<'_>, path: &Path<'_>, route: &HttpRoute) {
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
