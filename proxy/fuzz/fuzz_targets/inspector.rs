//! Feeds arbitrary first bytes to the inspectors: no panic, and no verdict that more bytes would change.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outrigger_proxy::listener::inspector::{LookFor, MAX_INSPECTED, judge};

fuzz_target!(|bytes: &[u8]| {
    let bytes = &bytes[..bytes.len().min(MAX_INSPECTED)];
    for look_for in [LookFor::Http, LookFor::TlsOnly] {
        let whole = judge(bytes, look_for);
        for cut in [bytes.len() / 2, bytes.len().saturating_sub(1)] {
            let early = judge(&bytes[..cut], look_for);
            assert!(early.is_none() || early == whole, "{early:?} became {whole:?}");
        }
        assert!(whole.is_some() || bytes.len() < MAX_INSPECTED, "a decision always comes");
    }
});
