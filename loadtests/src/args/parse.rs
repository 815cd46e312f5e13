//! Values of options, from text.

use std::{net::SocketAddr, time::Duration};

use http::{HeaderName, HeaderValue, uri::Authority};

use crate::{schedule::Stage, slo::Slo};

/// `NAME: VALUE` as curl takes it.
pub(super) fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or_else(|| format!("{text:?}: expected NAME: VALUE"))?;
    let name = name.trim().parse().map_err(|error| format!("{name:?}: {error}"))?;
    let value = HeaderValue::from_str(value.trim()).map_err(|error| format!("{value:?}: {error}"))?;
    Ok((name, value))
}

/// A number with `ms`, `s`, `m` or `h` behind it.
pub fn duration(text: &str) -> Result<Duration, String> {
    let expected = || format!("{text:?}: expected a time such as 500ms, 10s or 2m");
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(expected)?;
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| expected())?;
    let seconds = match unit {
        "ms" => number / 1000.0,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(expected()),
    };
    Duration::try_from_secs_f64(seconds).map_err(|_| expected())
}

/// A time above zero.
pub(super) fn some_duration(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|time| if time.is_zero() { Err(format!("{text:?}: expected more than no time")) } else { Ok(time) })
}

/// How many requests, at least one; a `k` counts thousands, an `M` millions.
pub(super) fn requests(text: &str) -> Result<u64, String> {
    let scaled = [('k', 1_000), ('M', 1_000_000)].into_iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)));
    let (number, factor) = scaled.unwrap_or((text, 1));
    let requests = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).filter(|requests| *requests > 0);
    requests.ok_or_else(|| format!("{text:?}: expected a number of requests of at least 1, such as 500 or 20k"))
}

/// How fast requests are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// Each as soon as the one before is answered.
    Max,
    /// So many per second, on a schedule.
    PerSecond(f64),
}

/// `max` or a number per second.
pub(super) fn rate(text: &str) -> Result<Rate, String> {
    if text.eq_ignore_ascii_case("max") {
        return Ok(Rate::Max);
    }
    per_second(text)
        .filter(|rate| *rate > 0.0)
        .map(Rate::PerSecond)
        .ok_or_else(|| format!("{text:?}: expected requests per second, such as 500, 0.5 or 20k, at most 1000M, or max"))
}

/// Objectives that a lower rate meets more easily.
pub(super) fn limits(text: &str) -> Result<Slo, String> {
    let slo: Slo = text.parse()?;
    let met = slo.is_met_below_a_limit();
    met.then_some(slo)
        .ok_or_else(|| format!("{text:?}: expected objectives that a lower rate meets more easily, such as p99<5ms,errors<0.1%"))
}

/// What a host header holds.
pub(super) fn host(text: &str) -> Result<String, String> {
    let plain = text.parse::<Authority>().is_ok() && !text.contains('@');
    plain.then(|| text.to_owned()).ok_or_else(|| format!("{text:?}: expected HOST[:PORT]"))
}

/// Where to connect.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("{text:?}: expected an IP address with a port, such as 10.0.0.7:80 or [::1]:80"))
}

/// More requests in a second than this cannot be told apart in nanoseconds.
const MOST_PER_SECOND: f64 = 1e9;

/// Requests per second; a `k` counts thousands, an `M` millions.
fn per_second(text: &str) -> Option<f64> {
    let scaled = [('k', 1e3), ('M', 1e6)].into_iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)));
    let (number, factor) = scaled.unwrap_or((text, 1.0));
    number.parse().ok().map(|number: f64| number * factor).filter(|rate| (0.0..=MOST_PER_SECOND).contains(rate))
}

/// Stages of one option. A type of its own, because clap takes a bare `Vec` for an option that may be repeated.
#[derive(Clone, Debug, PartialEq)]
pub struct Stages(pub Vec<Stage>);

/// `100..1000:30s`, several joined by commas.
pub(super) fn ramp(text: &str) -> Result<Stages, String> {
    let stage = |part: &str| {
        let (rates, length) = part.split_once(':')?;
        let (from, to) = rates.split_once("..")?;
        let stage = Stage { from: per_second(from)?, to: per_second(to)?, length: some_duration(length).ok() };
        (stage.length.is_some() && stage.from + stage.to > 0.0).then_some(stage)
    };
    let stages = text.split(',').map(stage).collect::<Option<_>>().map(Stages);
    stages.ok_or_else(|| format!("{text:?}: expected FROM..TO:TIME,... such as 100..1000:30s"))
}

/// `100,200,400:10s`.
pub(super) fn steps(text: &str) -> Result<Stages, String> {
    let parsed = || {
        let (rates, length) = text.split_once(':')?;
        let length = some_duration(length).ok()?;
        let step = |rate: &str| Some(Stage::constant(per_second(rate).filter(|rate| *rate > 0.0)?, Some(length)));
        rates.split(',').map(step).collect::<Option<_>>().map(Stages)
    };
    parsed().ok_or_else(|| format!("{text:?}: expected RATE,...:TIME such as 100,200,400:10s, TIME for each"))
}

/// A share such as `5%`.
pub(super) fn percent(text: &str) -> Result<f64, String> {
    let parsed = text.strip_suffix('%').and_then(|number| number.parse::<f64>().ok()).map(|number| number / 100.0);
    parsed.filter(|share| *share > 0.0 && *share < 1.0).ok_or_else(|| format!("{text:?}: expected a percentage such as 5%"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        for text in ["", "10", "s", "1d", "1..2s"] {
            assert!(duration(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn headers_are_written_as_for_curl() {
        let parsed = header("End-User:  jason ");
        assert_eq!(parsed, Ok((HeaderName::from_static("end-user"), HeaderValue::from_static("jason"))));
        assert!(header("no colon").is_err());
    }

    #[test]
    fn a_rate_is_a_number_or_max() {
        assert_eq!((rate("max"), rate("2.5k"), rate("0.5")), (Ok(Rate::Max), Ok(Rate::PerSecond(2500.0)), Ok(Rate::PerSecond(0.5))));
        assert_eq!(rate("1M"), Ok(Rate::PerSecond(1e6)));
        for text in ["", "0", "-1", "fast", "inf", "nan"] {
            assert!(rate(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn requests_are_counted_in_ones_thousands_or_millions() {
        assert_eq!((requests("7"), requests("20k"), requests("2M")), (Ok(7), Ok(20_000), Ok(2_000_000)));
        for text in ["", "0", "0k", "-1", "1.5k", "k", "99999999999999999M"] {
            assert!(requests(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn ramps_and_steps_say_how_long() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let there_and_back =
            vec![Stage { from: 0.0, to: 1000.0, length: seconds(30) }, Stage { from: 1000.0, to: 10.0, length: seconds(60) }];
        assert_eq!(ramp("0..1k:30s,1000..10:1m"), Ok(Stages(there_and_back)));
        assert_eq!(steps("100,200:10s"), Ok(Stages(vec![Stage::constant(100.0, seconds(10)), Stage::constant(200.0, seconds(10))])));
        for text in ["", "100", "100..200", "100..x:1s", "0..0:1s", "1..2:0s"] {
            assert!(ramp(text).is_err(), "{text:?}");
        }
        for text in ["", "100", "100,:1s", "0,100:1s", "100:x"] {
            assert!(steps(text).is_err(), "{text:?}");
        }
    }
}
