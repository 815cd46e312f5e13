//! `headers.request` and `headers.response`: names and format strings parsed once.
//!
//! Source: Istio semantics 1.9.

use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING};

use super::format;
use crate::api::virtual_service::{HeaderOperations as ApiOperations, Headers};
use crate::model::{FormatPiece, HeaderFormat, HeaderOperations, RouteHeaders};

/// Request side: `host` and `:authority` rewrite the Host. What cannot be read is returned as a complaint with its
/// field path below `headers`, and left out.
pub(super) fn request(headers: Option<&Headers>, complaints: &mut Vec<(String, String)>) -> RouteHeaders {
    let operations = headers.and_then(|headers| headers.request.as_ref());
    operations.map(|operations| convert(operations, "request", complaints).into()).unwrap_or_default()
}

/// Response side.
pub(super) fn response(headers: Option<&Headers>, complaints: &mut Vec<(String, String)>) -> RouteHeaders {
    let operations = headers.and_then(|headers| headers.response.as_ref());
    operations.map(|operations| convert(operations, "response", complaints).into()).unwrap_or_default()
}

fn convert(api: &ApiOperations, side: &str, complaints: &mut Vec<(String, String)>) -> HeaderOperations {
    let mut operations = HeaderOperations::default();
    // `set` is read after `add`, so that its authority is the one that stays.
    for (verb, map) in [("add", &api.add), ("set", &api.set)] {
        for (name, value) in map {
            match entry(name, value, side == "request") {
                Ok(Entry::Authority(value)) => operations.authority = Some(value),
                Ok(Entry::Header(name, value)) if verb == "add" => operations.add.push((name, value)),
                Ok(Entry::Header(name, value)) => operations.set.push((name, value)),
                Err(message) => complaints.push((format!("headers.{side}.{verb}[{name:?}]"), message)),
            }
        }
    }
    for (index, name) in api.remove.iter().enumerate() {
        match header_name(name) {
            Some(name) => operations.remove.push(name),
            None => complaints.push((format!("headers.{side}.remove[{index}]"), not_a_name(name))),
        }
    }
    operations
}

enum Entry {
    Authority(HeaderFormat),
    Header(HeaderName, HeaderFormat),
}

fn entry(name: &str, value: &str, request: bool) -> Result<Entry, String> {
    let value = header_format(value)?;
    if name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case(":authority") {
        let refused = "the Host of a response cannot be changed; the operation is ignored";
        return if request { Ok(Entry::Authority(value)) } else { Err(refused.to_owned()) };
    }
    match header_name(name) {
        // Written beside a message of another length, it would make the next one on the connection begin somewhere else.
        Some(CONTENT_LENGTH | TRANSFER_ENCODING) => {
            Err(format!("`{name}` says where a message ends, which only the proxy can tell; the operation is ignored"))
        }
        Some(name) => Ok(Entry::Header(name, value)),
        None => Err(not_a_name(name)),
    }
}

fn header_name(name: &str) -> Option<HeaderName> {
    HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes()).ok().filter(|name| name != http::header::HOST)
}

fn not_a_name(name: &str) -> String {
    format!("`{name}` is not a header that can be changed here; the operation is ignored")
}

/// A value with its format commands; plain text becomes a literal.
fn header_format(value: &str) -> Result<HeaderFormat, String> {
    let pieces = format::parse(value).map_err(|error| format!("{error}; the operation is ignored"))?;
    let text = match pieces.as_slice() {
        [] => Some(""),
        [FormatPiece::Text(text)] => Some(text.as_str()),
        _ => None,
    };
    match text.map(HeaderValue::from_str) {
        None => Ok(HeaderFormat::Template(pieces)),
        Some(Ok(value)) => Ok(HeaderFormat::Literal(value)),
        Some(Err(_)) => Err("control characters cannot stand in a header value; the operation is ignored".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::string_map::StringMap;

    fn map(pairs: &[(&str, &str)]) -> StringMap {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn names_are_parsed_and_host_becomes_the_authority() {
        let api = ApiOperations {
            set: map(&[("X-A", "1"), (":authority", "a.com")]),
            add: map(&[("x-b", "%REQ(x)%"), ("Host", "b.com")]),
            remove: vec!["X-C".to_owned()],
        };
        let headers = Headers { request: Some(api), response: None };
        let mut complaints = Vec::new();
        let operations = request(Some(&headers), &mut complaints);
        assert_eq!(complaints, vec![]);
        assert_eq!(operations.authority.as_ref().map(|value| value.to_string()), Some("a.com".to_owned()), "set beats add");
        assert_eq!(operations.set, [(HeaderName::from_static("x-a"), HeaderFormat::Literal(HeaderValue::from_static("1")))]);
        assert!(matches!(operations.add.as_slice(), [(name, HeaderFormat::Template(_))] if name == "x-b"));
        assert_eq!(operations.remove, [HeaderName::from_static("x-c")]);
        assert!(response(Some(&headers), &mut complaints).is_empty());
    }

    #[test]
    fn where_a_message_ends_is_not_for_a_route_to_say() {
        let api = ApiOperations {
            set: map(&[("Content-Length", "5")]),
            add: map(&[("transfer-encoding", "chunked")]),
            remove: vec!["content-length".to_owned()],
        };
        let headers = Headers { request: Some(api.clone()), response: Some(api) };
        let mut complaints = Vec::new();
        for operations in [request(Some(&headers), &mut complaints), response(Some(&headers), &mut complaints)] {
            assert_eq!((operations.set.len(), operations.add.len(), operations.remove.len()), (0, 0, 1));
        }
        assert_eq!(complaints.len(), 4, "{complaints:?}");
        assert!(complaints.iter().all(|(_, message)| message.contains("where a message ends")), "{complaints:?}");
    }

    #[test]
    fn what_cannot_be_done_is_left_out_and_told() {
        let api = ApiOperations {
            set: map(&[("host", "a.com"), ("x", "50%"), ("y", "a\nb")]),
            add: map(&[(":path", "/")]),
            remove: vec!["host".to_owned()],
        };
        let headers = Headers { request: None, response: Some(api) };
        let mut complaints = Vec::new();
        assert!(response(Some(&headers), &mut complaints).is_empty());
        let mut fields: Vec<&str> = complaints.iter().map(|(field, _)| field.as_str()).collect();
        fields.sort_unstable();
        let expected = [r#"add[":path"]"#, "remove[0]", r#"set["host"]"#, r#"set["x"]"#, r#"set["y"]"#]
            .map(|field| format!("headers.response.{field}"));
        assert_eq!(fields, expected);
    }
}
