//! Request headers kept for an attempt that may follow.
//!
//! The codec takes the headers of a request with it, so a retry needs a copy made beforehand, for nearly every request and
//! nearly always in vain. Cloning a `HeaderMap` costs two allocations and one more for every header that is not a standard
//! one. This copies the bytes into a buffer that the worker reuses, and parses them again in the rare case.

use std::cell::RefCell;

use http::{HeaderMap, HeaderName, HeaderValue};

/// Buffers kept per worker, and the largest that is.
const SPARE_BUFFERS: usize = 64;
const SPARE_CAPACITY: usize = 16 * 1024;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A copy of request headers.
#[derive(Debug)]
pub struct KeptHead(Vec<u8>);

impl KeptHead {
    /// Copies `headers`.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut bytes = SPARE.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(length_of(headers)));
        for (name, value) in headers {
            let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
            bytes.extend_from_slice(&(name.len() as u32).to_ne_bytes());
            bytes.extend_from_slice(&(value.len() as u32).to_ne_bytes());
            bytes.extend_from_slice(name);
            bytes.extend_from_slice(value);
        }
        KeptHead(bytes)
    }

    /// The headers again, in the same order.
    pub fn restore(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut rest = self.0.as_slice();
        while let Some((name, value, after)) = next(rest) {
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
                headers.append(name, value);
            }
            rest = after;
        }
        headers
    }
}

/// Bytes that a copy takes.
fn length_of(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| 8 + name.as_str().len() + value.len()).sum()
}

fn next(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (name_length, rest) = length(bytes)?;
    let (value_length, rest) = length(rest)?;
    let (name, rest) = rest.split_at_checked(name_length)?;
    let (value, rest) = rest.split_at_checked(value_length)?;
    Some((name, value, rest))
}

fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_ne_bytes(*length) as usize, rest))
}

impl Drop for KeptHead {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.0);
        bytes.clear();
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < SPARE_BUFFERS && bytes.capacity() <= SPARE_CAPACITY {
                spare.push(bytes);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back_as_they_were() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("host", "a"), ("x-many", "1"), ("x-other", ""), ("x-many", "2")] {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers.append("x-bytes", HeaderValue::from_bytes(b"\xff\xfe").unwrap());
        for _ in 0..3 {
            assert_eq!(KeptHead::of(&headers).restore(), headers, "also from a reused buffer");
        }
    }
}
