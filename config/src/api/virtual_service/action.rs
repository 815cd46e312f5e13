//! What is answered without a service, and what is changed on the way to one.

use crate::decode::{Bytes, api_enum, api_struct};

api_struct! {
    /// A redirect.
    pub struct HttpRedirect {
        /// New path; empty keeps it.
        pub uri: String,
        /// Replacement for the matched prefix.
        pub prefix_rewrite: String,
        /// New host; empty keeps it.
        pub authority: String,
        /// New port.
        pub port: Option<u32>,
        /// How to derive the port when none is given.
        pub derive_port: Option<RedirectPortSelection>,
        /// `http` or `https`; empty keeps it.
        pub scheme: String,
        /// Status; 0 means 301.
        pub redirect_code: u32,
    }
    oneof ["port", "derive_port"]
}

api_enum! {
    /// Where the port of a redirect comes from.
    pub enum RedirectPortSelection {
        /// The default port of the scheme.
        #[default]
        FromProtocolDefault = "FROM_PROTOCOL_DEFAULT",
        /// The port on which the request arrived.
        FromRequestPort = "FROM_REQUEST_PORT",
    }
}

api_struct! {
    /// A response without a backend.
    pub struct HttpDirectResponse {
        /// Status.
        pub status: u32,
        /// Body; absent means empty.
        pub body: Option<HttpBody>,
    }
}

api_struct! {
    /// The body of a direct response.
    pub struct HttpBody {
        /// As text.
        pub string: Option<String>,
        /// As bytes.
        pub bytes: Option<Bytes>,
    }
    oneof ["string", "bytes"]
}

api_struct! {
    /// Change of path and host.
    pub struct HttpRewrite {
        /// Replacement for the matched path or prefix.
        pub uri: String,
        /// New host.
        pub authority: String,
        /// Substitution in the path.
        pub uri_regex_rewrite: Option<RegexRewrite>,
    }
}

api_struct! {
    /// A substitution.
    pub struct RegexRewrite {
        /// RE2 expression.
        pub pattern: String = "match",
        /// Replacement with groups as `\1`.
        pub rewrite: String,
    }
}
