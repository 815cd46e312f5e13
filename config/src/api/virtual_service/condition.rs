//! Which requests and connections a rule is for.

use crate::decode::{Decode, Decoder, Path, api_struct};
use crate::string_map::StringMap;
use crate::yaml::Node;

api_struct! {
    /// Conditions for an HTTP request; all must hold.
    pub struct HttpMatchRequest {
        /// Suffix of the route name.
        pub name: String,
        /// Path without query.
        pub uri: Option<StringMatch>,
        /// `http` or `https`.
        pub scheme: Option<StringMatch>,
        /// Method, case-sensitive.
        pub method: Option<StringMatch>,
        /// `:authority` or Host as received.
        pub authority: Option<StringMatch>,
        /// Header conditions; a null value is an error here.
        pub headers: StringMap<Option<StringMatch>>,
        /// Port of the service or gateway server, compared statically; 0 means any.
        pub port: u32,
        /// Labels the client pod must carry.
        pub source_labels: StringMap,
        /// Replaces the gateways of the VirtualService for this block.
        pub gateways: Vec<String>,
        /// Query parameter conditions.
        pub query_params: StringMap<Option<StringMatch>>,
        /// Compare exact and prefix paths without regard to case.
        pub ignore_uri_case: bool,
        /// Negated header conditions; a null value demands absence.
        pub without_headers: StringMap<Option<StringMatch>>,
        /// Namespace of the client pod; empty means any.
        pub source_namespace: String,
        /// Prefix for per-route statistics.
        pub stat_prefix: String,
    }
}

/// A condition on a string.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum StringMatch {
    /// `{}`: the value is present. Only meaningful for headers and query parameters.
    #[default]
    Present,
    /// Equal.
    Exact(String),
    /// Starts with.
    Prefix(String),
    /// The whole value matches this RE2 expression.
    Regex(String),
}

impl Decode for StringMatch {
    fn decode(node: &Node, path: &Path<'_>, cx: &mut Decoder) -> Self {
        let Some(fields) = cx.fields(node, path, &["exact", "prefix", "regex"], &[]) else {
            return StringMatch::Present;
        };
        cx.exclusive(node, path, &["exact", "prefix", "regex"]);
        if let Some(text) = fields.get::<Option<String>>("exact", path, cx) {
            StringMatch::Exact(text)
        } else if let Some(text) = fields.get::<Option<String>>("prefix", path, cx) {
            StringMatch::Prefix(text)
        } else if let Some(text) = fields.get::<Option<String>>("regex", path, cx) {
            StringMatch::Regex(text)
        } else {
            StringMatch::Present
        }
    }
}

api_struct! {
    /// Conditions for a TLS connection; all must hold.
    pub struct TlsMatchAttributes {
        /// Server names; required.
        pub sni_hosts: Vec<String>,
        /// Original destination addresses.
        pub destination_subnets: Vec<String>,
        /// Port; 0 means any.
        pub port: u32,
        /// Labels of the client pod.
        pub source_labels: StringMap,
        /// Gateways.
        pub gateways: Vec<String>,
        /// Namespace of the client pod.
        pub source_namespace: String,
    }
}

api_struct! {
    /// Conditions for a TCP connection; all must hold.
    pub struct L4MatchAttributes {
        /// Original destination addresses.
        pub destination_subnets: Vec<String>,
        /// Port; 0 means any.
        pub port: u32,
        /// Ignored by Istio's sidecars.
        pub source_subnet: String,
        /// Labels of the client pod.
        pub source_labels: StringMap,
        /// Gateways.
        pub gateways: Vec<String>,
        /// Namespace of the client pod.
        pub source_namespace: String,
    }
}
