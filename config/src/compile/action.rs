//! What a rule does: redirect, direct response, rewrite.
//!
//! Source: Istio semantics 1.6 to 1.8.

use crate::api::virtual_service::{HttpDirectResponse, HttpRedirect, HttpRewrite, RedirectPortSelection};
use crate::matcher::{PathMatch, Substitution};
use crate::model::{DirectResponse, PathRewrite, Redirect, RedirectPort, Rewrite};

/// A redirect; `matched` is the rule's path condition. `None` for a code that no redirect can carry.
pub(super) fn redirect(api: &HttpRedirect, matched: &PathMatch) -> Option<Redirect> {
    let code = match api.redirect_code {
        0 => 301,
        code @ (301 | 302 | 303 | 307 | 308) => u16::try_from(code).ok()?,
        _ => return None,
    };
    let path = if api.uri.is_empty() && !api.prefix_rewrite.is_empty() {
        PathRewrite::Prefix { matched: matched_length(matched), with: api.prefix_rewrite.clone() }
    } else {
        text(&api.uri).map_or(PathRewrite::Keep, PathRewrite::Full)
    };
    let port = match (api.port, api.derive_port) {
        (Some(port), _) => u16::try_from(port).map_or(RedirectPort::Keep, RedirectPort::Number),
        (None, Some(RedirectPortSelection::FromProtocolDefault)) => RedirectPort::ProtocolDefault,
        (None, Some(RedirectPortSelection::FromRequestPort)) => RedirectPort::Request,
        (None, None) => RedirectPort::Keep,
    };
    Some(Redirect { code, scheme: text(&api.scheme), authority: text(&api.authority), port, path })
}

/// A fixed answer.
pub(super) fn direct_response(api: &HttpDirectResponse) -> DirectResponse {
    let body = api.body.as_ref().map(|body| match (&body.string, &body.bytes) {
        (Some(text), _) => text.clone().into_bytes(),
        (None, Some(bytes)) => bytes.0.clone(),
        (None, None) => Vec::new(),
    });
    let status = u16::try_from(api.status).ok().filter(|status| (200..600).contains(status)).unwrap_or(500);
    DirectResponse { status, body: body.unwrap_or_default() }
}

/// A rewrite; `matched` is the rule's path condition: only a matched prefix is replaced alone, else the whole path.
///
/// # Errors
/// The field path below `rewrite`, and what is wrong with it.
pub(super) fn rewrite(api: &HttpRewrite, matched: &PathMatch) -> Result<Rewrite, (String, String)> {
    let path = match (&api.uri_regex_rewrite, matched) {
        (Some(regex), _) => {
            let substitution = Substitution::new(&regex.pattern, &regex.rewrite);
            PathRewrite::Regex(substitution.map_err(|error| ("uriRegexRewrite.match".to_owned(), error))?)
        }
        (None, _) if api.uri.is_empty() => PathRewrite::Keep,
        (None, PathMatch::Prefix { .. }) => PathRewrite::Prefix { matched: matched_length(matched), with: api.uri.clone() },
        (None, _) => PathRewrite::Full(api.uri.clone()),
    };
    Ok(Rewrite { path, authority: text(&api.authority) })
}

fn matched_length(matched: &PathMatch) -> usize {
    match matched {
        PathMatch::Prefix { prefix, .. } => prefix.len(),
        PathMatch::Exact { path, .. } => path.len(),
        PathMatch::Regex(_) => 0,
    }
}

fn text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::virtual_service::{HttpBody, RegexRewrite};

    fn prefix(text: &str) -> PathMatch {
        PathMatch::Prefix { prefix: text.to_owned(), ignore_case: false }
    }

    #[test]
    fn a_rewrite_replaces_what_was_matched() {
        let uri = |uri: &str| HttpRewrite { uri: uri.to_owned(), ..HttpRewrite::default() };
        let exact = PathMatch::Exact { path: "/a".to_owned(), ignore_case: false };
        let replaced = |matched, with: &str| PathRewrite::Prefix { matched, with: with.to_owned() };
        assert_eq!(rewrite(&uri("/b"), &prefix("/aa")).map(|r| r.path), Ok(replaced(3, "/b")));
        assert_eq!(rewrite(&uri("/b"), &PathMatch::any()).map(|r| r.path), Ok(replaced(1, "/b")));
        assert_eq!(rewrite(&uri("/b"), &exact).map(|r| r.path), Ok(PathRewrite::Full("/b".to_owned())));
        assert_eq!(rewrite(&uri(""), &exact).map(|r| r.path), Ok(PathRewrite::Keep));
        let broken = RegexRewrite { pattern: "(".to_owned(), rewrite: String::new() };
        let broken = HttpRewrite { uri_regex_rewrite: Some(broken), ..HttpRewrite::default() };
        assert_eq!(rewrite(&broken, &exact).map_err(|(field, _)| field), Err("uriRegexRewrite.match".to_owned()));
    }

    #[test]
    fn a_redirect_has_istios_defaults() {
        let api = HttpRedirect { uri: "/x".to_owned(), ..HttpRedirect::default() };
        let expected =
            Redirect { code: 301, scheme: None, authority: None, port: RedirectPort::Keep, path: PathRewrite::Full("/x".to_owned()) };
        assert_eq!(redirect(&api, &prefix("/")), Some(expected));
        assert_eq!(redirect(&HttpRedirect { redirect_code: 304, ..api.clone() }, &prefix("/")), None);
        let derived = HttpRedirect { derive_port: Some(RedirectPortSelection::FromRequestPort), ..api };
        assert_eq!(redirect(&derived, &prefix("/")).map(|r| r.port), Some(RedirectPort::Request));
        let prefixed = HttpRedirect { prefix_rewrite: "/n".to_owned(), ..HttpRedirect::default() };
        let path = redirect(&prefixed, &prefix("/old")).map(|r| r.path);
        assert_eq!(path, Some(PathRewrite::Prefix { matched: 4, with: "/n".to_owned() }));
    }

    #[test]
    fn a_direct_response_takes_text_or_bytes() {
        let body = |body| HttpDirectResponse { status: 418, body };
        assert_eq!(direct_response(&body(None)), DirectResponse { status: 418, body: vec![] });
        let text = HttpBody { string: Some("no".to_owned()), bytes: None };
        assert_eq!(direct_response(&body(Some(text))), DirectResponse { status: 418, body: b"no".to_vec() });
        assert_eq!(direct_response(&HttpDirectResponse { status: 600, body: None }).status, 500);
    }
}
