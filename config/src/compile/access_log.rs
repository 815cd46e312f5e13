//! Access log settings of MeshConfig: Istio's default text and JSON formats, or the user's own.
//!
//! Source: Istio semantics 7.3, sidecar contract 7.5.

use serde_json::Value;

use super::format;
use crate::model::{AccessLogFormat, AccessLogSettings};

/// Istio's default text format.
const DEFAULT_TEXT: &str = concat!(
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% ",
    "%RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% ",
    "%BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" ",
    "\"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% ",
    "%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n",
);

/// Istio's default JSON format.
const DEFAULT_JSON: [(&str, &str); 24] = [
    ("start_time", "%START_TIME%"),
    ("route_name", "%ROUTE_NAME%"),
    ("method", "%REQ(:METHOD)%"),
    ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
    ("protocol", "%PROTOCOL%"),
    ("response_code", "%RESPONSE_CODE%"),
    ("response_flags", "%RESPONSE_FLAGS%"),
    ("response_code_details", "%RESPONSE_CODE_DETAILS%"),
    ("connection_termination_details", "%CONNECTION_TERMINATION_DETAILS%"),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    ("duration", "%DURATION%"),
    ("upstream_service_time", "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%"),
    ("x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"),
    ("user_agent", "%REQ(USER-AGENT)%"),
    ("request_id", "%REQ(X-REQUEST-ID)%"),
    ("authority", "%REQ(:AUTHORITY)%"),
    ("upstream_host", "%UPSTREAM_HOST%"),
    ("upstream_cluster", "%UPSTREAM_CLUSTER_RAW%"),
    ("upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"),
    ("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"),
    ("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    ("requested_server_name", "%REQUESTED_SERVER_NAME%"),
    ("upstream_transport_failure_reason", "%UPSTREAM_TRANSPORT_FAILURE_REASON%"),
];

/// Reads `accessLogFile`, `accessLogEncoding` (JSON or not) and `accessLogFormat`. An empty file name switches the log
/// off. With a format that cannot be read the default is used, and the reason returned beside the settings.
pub fn settings(file: &str, json: bool, custom: &str) -> (Option<AccessLogSettings>, Option<String>) {
    if file.is_empty() {
        return (None, None);
    }
    let parsed = match (custom.is_empty(), json) {
        (true, _) => Ok(default_format(json)),
        (false, true) => custom_json(custom),
        (false, false) => custom_text(custom),
    };
    let (format, error) = match parsed {
        Ok(format) => (format, None),
        Err(error) => (default_format(json), Some(error)),
    };
    (Some(AccessLogSettings { path: file.to_owned(), format }), error)
}

fn default_format(json: bool) -> AccessLogFormat {
    // The constants are parsed like a user's text; a test holds that they parse.
    let parse = |text: &str| format::parse(text).unwrap_or_default();
    if json {
        AccessLogFormat::Json(DEFAULT_JSON.iter().map(|(key, text)| ((*key).to_owned(), parse(text))).collect())
    } else {
        AccessLogFormat::Text(parse(DEFAULT_TEXT))
    }
}

fn custom_text(text: &str) -> Result<AccessLogFormat, String> {
    let newline = if text.ends_with('\n') { "" } else { "\n" };
    format::parse(&format!("{text}{newline}")).map(AccessLogFormat::Text)
}

fn custom_json(text: &str) -> Result<AccessLogFormat, String> {
    let object: serde_json::Map<String, Value> =
        serde_json::from_str(text).map_err(|error| format!("expected a JSON object of format strings: {error}"))?;
    let entry = |(key, value): (String, Value)| match value {
        Value::String(text) => Ok((key, format::parse(&text)?)),
        other => Err(format!("key `{key}`: expected a format string, found {other}")),
    };
    object.into_iter().map(entry).collect::<Result<_, String>>().map(AccessLogFormat::Json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FormatPiece;

    #[test]
    fn no_file_means_no_log() {
        assert_eq!(settings("", false, "%PROTOCOL%"), (None, None));
    }

    #[test]
    fn the_defaults_are_istios() {
        let (text, error) = settings("/dev/stdout", false, "");
        let Some(AccessLogSettings { format: AccessLogFormat::Text(pieces), .. }) = text else { panic!("text") };
        assert_eq!(error, None);
        assert_eq!(pieces.first(), Some(&FormatPiece::Text("[".to_owned())));
        assert_eq!(pieces.last(), Some(&FormatPiece::Text("\n".to_owned())));
        assert_eq!(pieces.iter().filter(|piece| matches!(piece, FormatPiece::Command { .. })).count(), 24);
        let (json, _) = settings("/dev/stdout", true, "");
        let Some(AccessLogSettings { format: AccessLogFormat::Json(keys), .. }) = json else { panic!("json") };
        assert_eq!(keys.len(), 24);
        assert!(keys.iter().all(|(_, pieces)| matches!(pieces.as_slice(), [FormatPiece::Command { .. }])));
    }

    #[test]
    fn a_users_format_replaces_the_default_and_a_broken_one_does_not() {
        let (own, error) = settings("f", false, "%PROTOCOL%");
        assert_eq!(error, None);
        let Some(AccessLogSettings { format: AccessLogFormat::Text(pieces), .. }) = own else { panic!("text") };
        assert_eq!(pieces.last(), Some(&FormatPiece::Text("\n".to_owned())), "a missing newline is added");
        let (own, _) = settings("f", true, r#"{"p": "%PROTOCOL%"}"#);
        assert!(matches!(own, Some(AccessLogSettings { format: AccessLogFormat::Json(keys), .. }) if keys.len() == 1));
        for (json, custom) in [(false, "50%"), (true, "[1]"), (true, r#"{"a": 1}"#)] {
            let (kept, error) = settings("f", json, custom);
            assert_eq!(kept, settings("f", json, "").0, "{custom}");
            assert!(error.is_some(), "{custom}");
        }
    }
}
