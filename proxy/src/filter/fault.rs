//! Fault injection: a delay, then an abort, drawn independently (Istio semantics 1.12).
//!
//! The draws are schedules and not coins: 20 % means twenty in any hundred, and each destination of a route has schedules
//! of its own, so that no version gets more than its share however few requests it sees. Schedules that start at random
//! points with random orders meet each other by chance, so both faults together hit the product of their shares.

use http::StatusCode;
use outrigger_config::model::{AbortStatus, Fault};

use crate::http::local_reply::LocalReply;
use crate::router::RouteState;
use crate::router::stream::Stream;
use crate::telemetry::ResponseFlags;

/// Delays the request and decides about an abort. `destination` is the position of the destination drawn for it.
pub async fn inject(fault: &Fault, state: &RouteState, destination: usize, stream: &mut Stream) -> Option<LocalReply> {
    if let Some(delay) = fault.delay
        && state.delay.draw(destination)
    {
        stream.note(|record| record.flags.insert(ResponseFlags::DI));
        tokio::time::sleep(delay.duration).await;
    }
    let abort = fault.abort?;
    state.abort.draw(destination).then(|| reply(abort.status))
}

/// What an aborted request gets.
fn reply(status: AbortStatus) -> LocalReply {
    let (status, grpc_status) = match status {
        AbortStatus::Http(code) => (StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), None),
        AbortStatus::Grpc(code) => (StatusCode::OK, Some(code)),
    };
    let reply = LocalReply::new(status, "fault filter abort", "fault_filter_abort").flag(ResponseFlags::FI);
    LocalReply { grpc_status, ..reply }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::Direction;

    #[test]
    fn an_abort_answers_as_configured_and_translates_for_grpc() {
        let http = reply(AbortStatus::Http(503));
        assert_eq!((http.status.as_u16(), http.body.as_ref(), http.flags), (503, &b"fault filter abort"[..], ResponseFlags::FI));
        let (status, headers, _) = http.into_parts(true, false, Direction::Outbound);
        assert_eq!((status.as_u16(), headers["grpc-status"].to_str().ok()), (200, Some("14")));
        let (status, headers, _) = reply(AbortStatus::Grpc(5)).into_parts(true, false, Direction::Outbound);
        assert_eq!((status.as_u16(), headers["grpc-status"].to_str().ok()), (200, Some("5")));
    }
}
