//! HTTPMatchRequest to compiled conditions.
//!
//! Source: Istio semantics 1.5. Static conditions are decided elsewhere ([`super::virtual_service::Scope`]).

use crate::api::virtual_service::{HttpMatchRequest, StringMatch as ApiMatch};
use crate::matcher::{FullRegex, HeaderKey, HeaderMatch, PathMatch, QueryMatch, RouteMatch, StringMatch};
use crate::string_map::StringMap;

/// Compiles one match block.
///
/// # Errors
/// The field path below the block, and what is wrong with it.
pub(super) fn convert(api: &HttpMatchRequest) -> Result<RouteMatch, (String, String)> {
    let optional = |field: &str, condition: &Option<ApiMatch>| match condition {
        None | Some(ApiMatch::Present) => Ok(None),
        Some(condition) => string(condition, false).map(|condition| Some(Box::new(condition))).map_err(|error| (field.to_owned(), error)),
    };
    let mut headers = header_conditions(&api.headers, "headers", false)?;
    headers.extend(header_conditions(&api.without_headers, "withoutHeaders", true)?);
    Ok(RouteMatch {
        path: path(api.uri.as_ref(), api.ignore_uri_case).map_err(|error| ("uri".to_owned(), error))?,
        scheme: optional("scheme", &api.scheme)?,
        method: optional("method", &api.method)?,
        authority: optional("authority", &api.authority)?,
        headers,
        query: query_conditions(&api.query_params)?,
    })
}

fn path(uri: Option<&ApiMatch>, ignore_case: bool) -> Result<PathMatch, String> {
    Ok(match uri {
        None | Some(ApiMatch::Present) => PathMatch::any(),
        Some(ApiMatch::Exact(path)) => PathMatch::Exact { path: path.clone(), ignore_case },
        Some(ApiMatch::Prefix(prefix)) => PathMatch::Prefix { prefix: prefix.clone(), ignore_case },
        Some(ApiMatch::Regex(source)) => PathMatch::Regex(FullRegex::new(source)?),
    })
}

fn header_conditions(conditions: &StringMap<Option<ApiMatch>>, field: &str, invert: bool) -> Result<Vec<HeaderMatch>, (String, String)> {
    let convert = |(name, condition): (&String, &Option<ApiMatch>)| {
        let at = |message: String| (format!("{field}[{name:?}]"), message);
        let key = HeaderKey::parse(name).ok_or_else(|| at(format!("`{name}` is not a request header")))?;
        let value = condition.as_ref().map_or(Ok(StringMatch::Present), |condition| string(condition, true)).map_err(at)?;
        Ok(HeaderMatch { name: key, value, invert })
    };
    conditions.iter().map(convert).collect()
}

fn query_conditions(conditions: &StringMap<Option<ApiMatch>>) -> Result<Vec<QueryMatch>, (String, String)> {
    let convert = |(name, condition): (&String, &Option<ApiMatch>)| {
        let value = condition.as_ref().map_or(Ok(StringMatch::Present), |condition| string(condition, true));
        let value = value.map_err(|error| (format!("queryParams[{name:?}]"), error))?;
        Ok(QueryMatch { name: name.clone(), value })
    };
    conditions.iter().map(convert).collect()
}

/// `star_is_presence`: for headers and query parameters the expression `*` means any value.
fn string(api: &ApiMatch, star_is_presence: bool) -> Result<StringMatch, String> {
    Ok(match api {
        ApiMatch::Present => StringMatch::Present,
        ApiMatch::Exact(text) => StringMatch::Exact(text.clone()),
        ApiMatch::Prefix(text) => StringMatch::Prefix(text.clone()),
        ApiMatch::Regex(source) if star_is_presence && source == "*" => StringMatch::Present,
        ApiMatch::Regex(source) => StringMatch::Regex(FullRegex::new(source)?),
    })
}
