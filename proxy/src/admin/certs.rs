//! `/certs`: the certificates in use, in Envoy's shape. Public parts only.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::runtime::Process;

/// `GET /certs`.
pub async fn certs(State(process): State<Arc<Process>>) -> Json<Value> {
    let status = process.identity.status();
    let Some(spiffe_id) = &status.spiffe_id else { return Json(json!({ "certificates": [], "problem": status.problem })) };
    let path = process.identity.folder().map(|folder| folder.join("cert-chain.pem"));
    let chain = json!({
        "path": path,
        "serial_number": status.serial,
        "subject_alt_names": [{ "uri": spiffe_id }],
        "days_until_expiration": days_left(status.expires_at).to_string(),
        "valid_from": rfc3339(status.not_before),
        "expiration_time": rfc3339(status.expires_at),
    });
    Json(json!({ "certificates": [{ "ca_cert": [], "cert_chain": [chain] }], "problem": status.problem }))
}

/// Whole days until a time, 0 when it has passed or is unknown.
pub fn days_left(until: Option<SystemTime>) -> u64 {
    seconds_left(until) / 86_400
}

/// Seconds until a time, 0 when it has passed or is unknown.
pub fn seconds_left(until: Option<SystemTime>) -> u64 {
    until.and_then(|until| until.duration_since(SystemTime::now()).ok()).map_or(0, |left| left.as_secs())
}

fn rfc3339(time: Option<SystemTime>) -> Option<String> {
    OffsetDateTime::from(time?).format(&Rfc3339).ok()
}
