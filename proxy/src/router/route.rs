//! What a route says about a request: which answer, which path, where a redirect leads. Pure functions.

use std::borrow::Cow;
use std::net::SocketAddr;

use http::uri::PathAndQuery;
use http::{HeaderValue, StatusCode};
use outrigger_config::model::{DirectResponse, PathRewrite, Redirect, RedirectPort};

use crate::http::local_reply::LocalReply;

/// The path of a request, as routes see it.
#[derive(Clone, Copy, Debug)]
pub struct RequestTarget<'a> {
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Host as received.
    pub authority: &'a str,
    /// Normalised path.
    pub path: &'a str,
    /// Query without `?`.
    pub query: Option<&'a str>,
}

/// The new path of a rewrite, with the query; `None` when it stays.
pub fn rewrite(rewrite: &PathRewrite, path: &str, query: Option<&str>) -> Option<PathAndQuery> {
    let path = match rewrite {
        PathRewrite::Keep => return None,
        other => rewritten(other, path),
    };
    let text = match query {
        Some(query) => format!("{path}?{query}"),
        None => path.into_owned(),
    };
    PathAndQuery::try_from(text).ok()
}

/// A path that lost its first slash gets it back: a request line has no other paths (RFC 9112, 3.2.1), and a location no other end of
/// the host.
fn rewritten<'a>(rewrite: &'a PathRewrite, path: &'a str) -> Cow<'a, str> {
    let path: Cow<'a, str> = match rewrite {
        PathRewrite::Keep => Cow::Borrowed(path),
        PathRewrite::Full(full) => Cow::Borrowed(full.as_str()),
        PathRewrite::Prefix { matched, with } => Cow::Owned(format!("{with}{}", path.get(*matched..).unwrap_or_default())),
        PathRewrite::Regex(substitution) => Cow::Owned(substitution.apply(path)),
    };
    if path.starts_with('/') { path } else { Cow::Owned(format!("/{path}")) }
}

/// The answer of a redirect.
pub fn redirect(redirect: &Redirect, target: RequestTarget<'_>, listener: SocketAddr) -> LocalReply {
    let status = StatusCode::from_u16(redirect.code).unwrap_or(StatusCode::MOVED_PERMANENTLY);
    let mut reply = LocalReply::new(status, "", "direct_response");
    if let Ok(location) = HeaderValue::try_from(location(redirect, target, listener)) {
        reply.headers.insert(http::header::LOCATION, location);
    }
    reply
}

/// The answer of a virtual host that wants https (Gateway `httpsRedirect`).
pub fn to_https(target: RequestTarget<'_>, listener: SocketAddr) -> LocalReply {
    let redirect_to_https =
        Redirect { code: 301, scheme: Some("https".to_owned()), authority: None, port: RedirectPort::Keep, path: PathRewrite::Keep };
    redirect(&redirect_to_https, target, listener)
}

fn location(redirect: &Redirect, target: RequestTarget<'_>, listener: SocketAddr) -> String {
    let scheme = redirect.scheme.as_deref().unwrap_or(target.scheme);
    let authority = redirect.authority.as_deref().unwrap_or(target.authority);
    let (host, port) = split_port(authority);
    let port = match redirect.port {
        RedirectPort::Number(port) => Some(port),
        RedirectPort::Request => Some(listener.port()),
        RedirectPort::ProtocolDefault => None,
        // A default port of the old scheme would point to the wrong service under the new one.
        RedirectPort::Keep => port.filter(|port| scheme == target.scheme || Some(*port) != default_port(target.scheme)),
    };
    let explicit = matches!(redirect.port, RedirectPort::Number(_) | RedirectPort::Request);
    let port = port.filter(|port| !(explicit && Some(*port) == default_port(scheme)));
    let path = rewritten(&redirect.path, target.path);
    let mut location = format!("{scheme}://{host}");
    if let Some(port) = port {
        location.push_str(&format!(":{port}"));
    }
    location.push_str(&path);
    if let Some(query) = target.query.filter(|_| !path.contains('?')) {
        location.push('?');
        location.push_str(query);
    }
    location
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

/// A Host value and its port; the brackets of an IPv6 literal stay with the host.
fn split_port(authority: &str) -> (&str, Option<u16>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (authority, None),
        },
        _ => (authority, None),
    }
}

/// The answer of a direct response.
pub fn direct_response(response: &DirectResponse) -> LocalReply {
    let status = StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    LocalReply { body: response.body.clone().into(), ..LocalReply::new(status, "", "direct_response") }
}

#[cfg(test)]
mod tests {
    use outrigger_config::matcher::Substitution;

    use super::*;

    const TARGET: RequestTarget<'static> = RequestTarget { scheme: "http", authority: "shop.io:80", path: "/a/b", query: Some("q=1") };

    fn plain() -> Redirect {
        Redirect { code: 301, scheme: None, authority: None, port: RedirectPort::Keep, path: PathRewrite::Keep }
    }

    fn to(redirect: Redirect) -> String {
        location(&redirect, TARGET, ([10, 0, 0, 1], 8080).into())
    }

    #[test]
    fn redirects_lead_where_istio_sends_them() {
        let https = Redirect { scheme: Some("https".into()), ..plain() };
        assert_eq!(to(https.clone()), "https://shop.io/a/b?q=1", "the old default port is dropped");
        assert_eq!(to(Redirect { authority: Some("new.io:90".into()), ..plain() }), "http://new.io:90/a/b?q=1");
        assert_eq!(to(Redirect { port: RedirectPort::Number(8443), ..https.clone() }), "https://shop.io:8443/a/b?q=1");
        assert_eq!(to(Redirect { port: RedirectPort::Number(443), ..https }), "https://shop.io/a/b?q=1", "a default port is not written");
        assert_eq!(to(Redirect { port: RedirectPort::Request, ..plain() }), "http://shop.io:8080/a/b?q=1");
        assert_eq!(to(Redirect { port: RedirectPort::ProtocolDefault, ..plain() }), "http://shop.io/a/b?q=1");
    }

    #[test]
    fn a_redirect_keeps_the_query_unless_it_brings_its_own() {
        assert_eq!(to(Redirect { path: PathRewrite::Full("/new".into()), ..plain() }), "http://shop.io:80/new?q=1");
        assert_eq!(to(Redirect { path: PathRewrite::Full("/new?x".into()), ..plain() }), "http://shop.io:80/new?x");
        let prefix = PathRewrite::Prefix { matched: 2, with: "/z".into() };
        assert_eq!(to(Redirect { path: prefix, ..plain() }), "http://shop.io:80/z/b?q=1");
    }

    #[test]
    fn a_prefix_rewrite_keeps_the_rest_verbatim() {
        let prefix = |matched, with: &str| PathRewrite::Prefix { matched, with: with.to_owned() };
        let path = |how, path| rewrite(&how, path, Some("q")).map(|path| path.to_string());
        assert_eq!(path(prefix(3, "/"), "/a/b"), Some("/b?q".to_owned()));
        assert_eq!(path(prefix(2, "/"), "/a/b"), Some("//b?q".to_owned()), "as in Istio, the slash is the user's business");
        assert_eq!(path(PathRewrite::Keep, "/a"), None);
    }

    #[test]
    fn a_path_of_which_a_rewrite_leaves_no_first_slash_gets_one() {
        let regex = |pattern| PathRewrite::Regex(Substitution::new(pattern, "").expect("pattern"));
        let path = |how: &PathRewrite, query| rewrite(how, "/a/b", query).map(|path| path.to_string());
        assert_eq!(path(&regex("^/a/b$"), Some("q")), Some("/?q".to_owned()));
        assert_eq!(path(&regex("^/a/b$"), None), Some("/".to_owned()));
        assert_eq!(path(&regex("^/a/"), None), Some("/b".to_owned()));
        assert_eq!(path(&PathRewrite::Prefix { matched: 4, with: String::new() }, Some("q")), Some("/?q".to_owned()));
        assert_eq!(to(Redirect { path: regex("^/a/"), ..plain() }), "http://shop.io:80/b?q=1");
    }
}
