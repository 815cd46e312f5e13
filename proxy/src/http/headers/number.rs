//! Numbers in headers, read and written.

use std::sync::LazyLock;

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderValue};

/// A number as a header value, without allocating below 256.
pub fn number(value: u64) -> HeaderValue {
    static SMALL: LazyLock<Vec<HeaderValue>> = LazyLock::new(|| {
        let text = |value: u16| &*Box::leak(value.to_string().into_boxed_str());
        (0..256).map(|value| HeaderValue::from_static(text(value))).collect()
    });
    match usize::try_from(value).ok().and_then(|value| SMALL.get(value)) {
        Some(known) => known.clone(),
        None => HeaderValue::from(value),
    }
}

/// The length that a request says it has, or what there is of it: no number, or several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoLength;

/// Leaves one `content-length` of those of an HTTP/2 request. Its codec takes an empty one for 0, and compares what is repeated
/// without leaving it out; an HTTP/1 server could read either as another request.
///
/// # Errors
/// When there is one that is no number, or another number.
pub fn settle_length(headers: &mut HeaderMap) -> Result<(), NoLength> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(first) = lengths.next() else { return Ok(()) };
    let length = length(first).ok_or(NoLength)?;
    let mut repeated = false;
    for again in lengths {
        repeated = true;
        if self::length(again) != Some(length) {
            return Err(NoLength);
        }
    }
    if repeated {
        headers.insert(CONTENT_LENGTH, number(length));
    }
    Ok(())
}

/// The number in a `content-length`: digits and nothing else.
pub fn length(value: &HeaderValue) -> Option<u64> {
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok()
}
