//! Delegation: rules of a root VirtualService that another one continues.
//!
//! Source: Istio semantics 1.14. A delegate has no hosts and is never active by itself; one level only. A delegate that
//! is missing, or not exported to the root's namespace, makes that one rule vanish.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::api::virtual_service::{HttpMatchRequest, HttpRoute, StringMatch, VirtualService};
use crate::registry::Resource;
use crate::string_map::StringMap;
use crate::visibility::Visibility;

/// An HTTP rule in force, with the place where it is written.
pub(super) struct HttpRule<'r> {
    /// The object that holds the rule; names in it resolve in that object's namespace.
    pub(super) object: &'r Resource<VirtualService>,
    /// `http[0]`, below `spec` of that object.
    pub(super) field: String,
    /// Beginning of route keys: object and field, of the root too when delegated.
    pub(super) key: String,
    /// The rule, merged when delegated.
    pub(super) rule: Cow<'r, HttpRoute>,
}

/// Delegate VirtualServices by namespace and name.
pub(super) struct Delegates<'r> {
    by_name: HashMap<(&'r str, &'r str), &'r Resource<VirtualService>>,
    default_export_to: &'r [String],
}

impl<'r> Delegates<'r> {
    /// Collects the VirtualServices without hosts.
    pub(super) fn new(all: impl Iterator<Item = &'r Resource<VirtualService>>, default_export_to: &'r [String]) -> Self {
        let delegates = all.filter(|object| object.hosts.is_empty());
        Delegates { by_name: delegates.map(|object| ((&**object.namespace(), &**object.name()), object)).collect(), default_export_to }
    }

    /// The rules of a root in order, each delegating one replaced by the delegate's.
    pub(super) fn rules(&self, root: &'r Resource<VirtualService>) -> Vec<HttpRule<'r>> {
        let mut rules = Vec::new();
        for (index, rule) in root.spec.http.iter().enumerate() {
            let key = format!("{} http[{index}]", root.object.id);
            match &rule.delegate {
                None => rules.push(HttpRule { object: root, field: format!("http[{index}]"), key, rule: Cow::Borrowed(rule) }),
                Some(reference) => {
                    let namespace = if reference.namespace.is_empty() { &**root.namespace() } else { reference.namespace.as_str() };
                    rules.extend(self.find(root, namespace, &reference.name).into_iter().flat_map(|found| continued(rule, found, &key)));
                }
            }
        }
        rules
    }

    fn find(&self, root: &'r Resource<VirtualService>, namespace: &str, name: &str) -> Option<&'r Resource<VirtualService>> {
        let found = *self.by_name.get(&(namespace, name))?;
        let visibility = Visibility::of(&found.export_to, self.default_export_to, found.namespace());
        visibility.admits(found.namespace(), root.namespace()).then_some(found)
    }
}

fn continued<'r>(root: &HttpRoute, delegate: &'r Resource<VirtualService>, key: &str) -> Vec<HttpRule<'r>> {
    let merge = |(index, rule): (usize, &HttpRoute)| {
        Some(HttpRule {
            object: delegate,
            field: format!("http[{index}]"),
            key: format!("{key} {} http[{index}]", delegate.object.id),
            rule: Cow::Owned(merge(root, rule)?),
        })
    };
    delegate.spec.http.iter().enumerate().filter_map(merge).collect()
}

/// One rule of a delegate under its root; `None` when their conditions exclude each other.
fn merge(root: &HttpRoute, delegate: &HttpRoute) -> Option<HttpRoute> {
    let matches = match (root.matches.as_slice(), delegate.matches.as_slice()) {
        ([], own) => own.to_vec(),
        (above, []) => above.to_vec(),
        (above, own) => {
            let pairs = own.iter().flat_map(|own| above.iter().map(move |above| (above, own)));
            let merged: Vec<_> = pairs.filter(|(above, own)| !conflict(above, own)).map(|(above, own)| merge_match(above, own)).collect();
            if merged.is_empty() {
                return None;
            }
            merged
        }
    };
    let mut rule = delegate.clone();
    rule.name = joined(&root.name, &delegate.name);
    rule.matches = matches;
    inherit(&mut rule, root);
    Some(rule)
}

fn inherit(rule: &mut HttpRoute, root: &HttpRoute) {
    macro_rules! inherit {
        ($($field:ident)*) => { $( if rule.$field.is_none() { rule.$field = root.$field.clone(); } )* };
    }
    inherit!(rewrite direct_response timeout retries fault mirror mirror_percent mirror_percentage cors_policy headers);
    if rule.mirrors.is_empty() {
        rule.mirrors.clone_from(&root.mirrors);
    }
}

fn joined(root: &str, delegate: &str) -> String {
    match (root, delegate) {
        ("", name) | (name, "") => name.to_owned(),
        (root, delegate) => format!("{root}-{delegate}"),
    }
}

fn merge_match(root: &HttpMatchRequest, delegate: &HttpMatchRequest) -> HttpMatchRequest {
    fn united<V: Clone>(root: &StringMap<V>, delegate: &StringMap<V>) -> StringMap<V> {
        let mut all = root.clone();
        all.extend(delegate.clone());
        all
    }
    HttpMatchRequest {
        name: joined(&root.name, &delegate.name),
        uri: delegate.uri.clone().or_else(|| root.uri.clone()),
        scheme: delegate.scheme.clone().or_else(|| root.scheme.clone()),
        method: delegate.method.clone().or_else(|| root.method.clone()),
        authority: delegate.authority.clone().or_else(|| root.authority.clone()),
        headers: united(&root.headers, &delegate.headers),
        without_headers: united(&root.without_headers, &delegate.without_headers),
        query_params: united(&root.query_params, &delegate.query_params),
        source_labels: united(&root.source_labels, &delegate.source_labels),
        port: if delegate.port == 0 { root.port } else { delegate.port },
        gateways: if delegate.gateways.is_empty() { root.gateways.clone() } else { delegate.gateways.clone() },
        ignore_uri_case: root.ignore_uri_case || delegate.ignore_uri_case,
        source_namespace: if delegate.source_namespace.is_empty() {
            root.source_namespace.clone()
        } else {
            delegate.source_namespace.clone()
        },
        stat_prefix: if delegate.stat_prefix.is_empty() { root.stat_prefix.clone() } else { delegate.stat_prefix.clone() },
    }
}

/// Whether two match blocks cannot be combined.
fn conflict(root: &HttpMatchRequest, delegate: &HttpMatchRequest) -> bool {
    let text = |root: &Option<StringMatch>, delegate: &Option<StringMatch>| match (root, delegate) {
        (Some(root), Some(delegate)) => strings_conflict(root, delegate),
        _ => false,
    };
    let map = |root: &StringMap<Option<StringMatch>>, delegate: &StringMap<Option<StringMatch>>| {
        root.iter().any(|(key, value)| delegate.get(key).is_some_and(|other| text(value, other)))
    };
    let labels = root.source_labels.iter().any(|(key, value)| delegate.source_labels.get(key).is_some_and(|other| other != value));
    let gateways = !root.gateways.is_empty() && delegate.gateways.iter().any(|name| !root.gateways.contains(name));
    text(&root.uri, &delegate.uri)
        || text(&root.scheme, &delegate.scheme)
        || text(&root.method, &delegate.method)
        || text(&root.authority, &delegate.authority)
        || map(&root.headers, &delegate.headers)
        || map(&root.without_headers, &delegate.without_headers)
        || map(&root.query_params, &delegate.query_params)
        || root.ignore_uri_case != delegate.ignore_uri_case
        || (root.port != 0 && delegate.port != 0 && root.port != delegate.port)
        || (!root.source_namespace.is_empty() && root.source_namespace != delegate.source_namespace)
        || labels
        || gateways
}

fn strings_conflict(root: &StringMatch, delegate: &StringMatch) -> bool {
    match (root, delegate) {
        (StringMatch::Exact(root), StringMatch::Exact(delegate)) => root != delegate,
        (StringMatch::Prefix(root), StringMatch::Exact(delegate) | StringMatch::Prefix(delegate)) => !delegate.starts_with(root.as_str()),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(text: &str) -> StringMatch {
        StringMatch::Exact(text.to_owned())
    }

    fn prefix(text: &str) -> StringMatch {
        StringMatch::Prefix(text.to_owned())
    }

    #[test]
    fn strings_combine_only_where_the_delegate_narrows_the_root() {
        let regex = StringMatch::Regex("/a".to_owned());
        for (root, delegate, conflicts) in [
            (exact("/a"), exact("/a"), false),
            (exact("/a"), exact("/b"), true),
            (exact("/a"), prefix("/a"), true),
            (prefix("/a"), exact("/a/b"), false),
            (prefix("/a"), prefix("/a/b"), false),
            (prefix("/a/b"), prefix("/a"), true),
            (prefix("/a"), regex.clone(), true),
            (regex, exact("/a"), true),
            (StringMatch::Present, exact("/a"), true),
        ] {
            assert_eq!(strings_conflict(&root, &delegate), conflicts, "{root:?} {delegate:?}");
        }
    }

    #[test]
    fn every_part_of_a_block_can_conflict() {
        let block = HttpMatchRequest::default;
        let labels = |value: &str| StringMap::from([("app".to_owned(), value.to_owned())]);
        let headers = |value: &str| StringMap::from([("x".to_owned(), Some(exact(value)))]);
        for (root, delegate) in [
            (HttpMatchRequest { port: 80, ..block() }, HttpMatchRequest { port: 81, ..block() }),
            (HttpMatchRequest { source_labels: labels("a"), ..block() }, HttpMatchRequest { source_labels: labels("b"), ..block() }),
            (HttpMatchRequest { headers: headers("a"), ..block() }, HttpMatchRequest { headers: headers("b"), ..block() }),
            (HttpMatchRequest { ignore_uri_case: true, ..block() }, block()),
            (HttpMatchRequest { source_namespace: "a".to_owned(), ..block() }, block()),
            (
                HttpMatchRequest { gateways: vec!["a".to_owned()], ..block() },
                HttpMatchRequest { gateways: vec!["b".to_owned()], ..block() },
            ),
        ] {
            assert!(conflict(&root, &delegate), "{root:?} {delegate:?}");
            assert!(!conflict(&root, &root) && !conflict(&delegate, &delegate));
        }
        let merged = merge_match(
            &HttpMatchRequest { name: "r".to_owned(), headers: headers("a"), port: 80, ..block() },
            &HttpMatchRequest { name: "d".to_owned(), uri: Some(exact("/d")), ..block() },
        );
        assert_eq!((merged.name.as_str(), merged.port, merged.uri, merged.headers), ("r-d", 80, Some(exact("/d")), headers("a")));
    }
}
