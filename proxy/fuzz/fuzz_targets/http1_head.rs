//! Feeds arbitrary bytes to the parser of request heads: no panic, and no verdict that more bytes would change.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use outrigger_proxy::http::http1::Refusal;
use outrigger_proxy::http::http1::head::{Parsed, parse};

fn verdict(bytes: &[u8]) -> Option<Result<usize, Refusal>> {
    match parse(&Bytes::copy_from_slice(bytes)) {
        Parsed::Incomplete => None,
        Parsed::Head(head) => Some(Ok(head.length)),
        Parsed::Refused(refusal) => Some(Err(refusal)),
    }
}

fuzz_target!(|bytes: &[u8]| {
    let whole = verdict(bytes);
    for cut in [bytes.len() / 2, bytes.len().saturating_sub(1)] {
        let early = verdict(&bytes[..cut]);
        assert!(early.is_none() || early == whole, "{early:?} became {whole:?}");
    }
});
