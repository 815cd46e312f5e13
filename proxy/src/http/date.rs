//! The `date` of an answer that comes without one (RFC 9110, 6.6.1).
//!
//! It has seconds, so a thread writes it once for all the answers of a second.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use http::HeaderValue;
use http::header::DATE;
use time::OffsetDateTime;
use time::format_description::StaticFormatDescription;
use time::macros::format_description;

use crate::http1;

const FORMAT: StaticFormatDescription =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

thread_local! {
    static LAST: RefCell<(u64, HeaderValue)> = const { RefCell::new((0, HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))) };
}

/// The present.
pub fn now() -> HeaderValue {
    with_now(HeaderValue::clone)
}

/// Appends the present as a field of HTTP/1.
pub fn write_field(out: &mut Vec<u8>) {
    with_now(|now| http1::write_field(out, &DATE, now));
}

fn with_now<T>(use_it: impl FnOnce(&HeaderValue) -> T) -> T {
    let second = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    LAST.with_borrow_mut(|last| {
        if last.0 != second {
            *last = (second, text(second));
        }
        use_it(&last.1)
    })
}

fn text(second: u64) -> HeaderValue {
    let moment = i64::try_from(second).ok().and_then(|second| OffsetDateTime::from_unix_timestamp(second).ok());
    let text = moment.and_then(|moment| moment.format(FORMAT).ok()).and_then(|text| HeaderValue::try_from(text).ok());
    text.unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_http_wants_it() {
        assert_eq!(text(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT", "the example of RFC 9110");
        assert_eq!(text(0), "Thu, 01 Jan 1970 00:00:00 GMT");
    }

    #[test]
    fn the_present_is_written_anew_when_a_second_has_passed() {
        let first = now();
        LAST.with_borrow_mut(|last| last.0 -= 1);
        assert_eq!(now().len(), first.len());
        assert!(LAST.with_borrow(|last| last.0) > 784_111_777);
    }
}
