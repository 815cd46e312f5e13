//! Compiled matchers: decided when configuration arrives, allocation-free per request.
//!
//! Assumptions: hosts are compared in lower case and without port; paths are already normalised; header names are
//! case-insensitive, everything else is case-sensitive unless said otherwise (Istio semantics 1.5).

mod host_map;
mod request;
mod route_match;
mod rule_index;
mod string;
mod substitution;

pub use host_map::HostMap;
pub use request::RequestHead;
pub use route_match::{HeaderKey, HeaderMatch, PathMatch, QueryMatch, RouteMatch};
pub use rule_index::RuleIndex;
use string::full_regex_set;
pub use string::{FullRegex, StringMatch};
pub use substitution::Substitution;
