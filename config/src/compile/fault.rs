//! `fault` of an HTTPRoute: shares, delays and aborts.
//!
//! Source: Istio semantics 1.12. A share that is absent is zero: the fault never fires.

use crate::api::virtual_service::{FaultAbort as ApiAbort, FaultDelay as ApiDelay, HttpFaultInjection, Percent};
use crate::grpc_status;
use crate::model::{AbortStatus, Fault, FaultAbort, FaultDelay};

/// The faults that can fire; `None` when none can.
pub(super) fn convert(fault: &HttpFaultInjection) -> Option<Fault> {
    let delay = fault.delay.as_ref().and_then(convert_delay);
    let abort = fault.abort.as_ref().and_then(convert_abort);
    (delay.is_some() || abort.is_some()).then_some(Fault { delay, abort })
}

fn convert_delay(delay: &ApiDelay) -> Option<FaultDelay> {
    let deprecated = || u32::try_from(delay.percent.clamp(0, 100)).unwrap_or_default() * 10_000;
    let per_million = delay.percentage.as_ref().map_or_else(deprecated, per_million);
    let duration = delay.fixed_delay.filter(|duration| !duration.is_zero())?;
    (per_million > 0).then_some(FaultDelay { per_million, duration })
}

fn convert_abort(abort: &ApiAbort) -> Option<FaultAbort> {
    let http = abort.http_status.and_then(|status| u16::try_from(status).ok()).map(AbortStatus::Http);
    let grpc = abort.grpc_status.as_deref().and_then(grpc_status::code).map(AbortStatus::Grpc);
    let per_million = abort.percentage.as_ref().map_or(0, per_million);
    let status = http.or(grpc)?;
    (per_million > 0).then_some(FaultAbort { per_million, status })
}

/// Millionths, rounded down. The small allowance undoes the binary rounding of decimal percentages (0.29 x 10000).
fn per_million(percent: &Percent) -> u32 {
    (percent.value.clamp(0.0, 100.0) * 10_000.0 + 1e-6).floor() as u32
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn abort(percentage: Option<f64>, http_status: Option<i32>, grpc_status: Option<&str>) -> HttpFaultInjection {
        let percentage = percentage.map(|value| Percent { value });
        let abort = ApiAbort { http_status, grpc_status: grpc_status.map(str::to_owned), percentage, ..ApiAbort::default() };
        HttpFaultInjection { abort: Some(abort), delay: None }
    }

    #[test]
    fn an_absent_share_never_fires() {
        assert_eq!(convert(&abort(None, Some(503), None)), None);
        assert_eq!(convert(&abort(Some(0.0), Some(503), None)), None);
        assert_eq!(convert(&abort(Some(50.0), None, None)), None, "no kind of error, no abort");
    }

    #[test]
    fn shares_are_exact_millionths() {
        for (percent, expected) in [(0.0001, 1), (0.29, 2900), (20.0, 200_000), (33.3333, 333_333), (100.0, 1_000_000)] {
            let fault = convert(&abort(Some(percent), Some(503), None)).expect("fires");
            assert_eq!(fault.abort, Some(FaultAbort { per_million: expected, status: AbortStatus::Http(503) }), "{percent}");
        }
    }

    #[test]
    fn grpc_names_become_codes() {
        let fault = convert(&abort(Some(1.0), None, Some("UNAVAILABLE"))).expect("fires");
        assert_eq!(fault.abort.map(|abort| abort.status), Some(AbortStatus::Grpc(14)));
        assert_eq!(convert(&abort(Some(1.0), None, Some("14"))), None);
    }

    #[test]
    fn the_deprecated_percent_serves_delays_only() {
        let delay = ApiDelay { percent: 30, fixed_delay: Some(Duration::from_millis(50)), ..ApiDelay::default() };
        let fault = convert(&HttpFaultInjection { delay: Some(delay), abort: None }).expect("fires");
        assert_eq!(fault.delay, Some(FaultDelay { per_million: 300_000, duration: Duration::from_millis(50) }));
        let without_duration = ApiDelay { percent: 30, ..ApiDelay::default() };
        assert_eq!(convert(&HttpFaultInjection { delay: Some(without_duration), abort: None }), None);
    }
}
