//! Header maps kept per worker. Every exchange needs one for the request and one for the answer, and leaves as many.

use std::cell::RefCell;

use http::HeaderMap;

/// Maps kept.
const SPARE_MAPS: usize = 32;
/// Largest map kept, in fields.
const SPARE_CAPACITY: usize = 64;

thread_local! {
    static SPARE: RefCell<Vec<HeaderMap>> = const { RefCell::new(Vec::new()) };
}

/// Keeps a map whose fields are needed no more.
pub fn recycle(mut headers: HeaderMap) {
    if headers.capacity() > SPARE_CAPACITY || headers.capacity() == 0 {
        return;
    }
    headers.clear();
    SPARE.with_borrow_mut(|spare| {
        if spare.len() < SPARE_MAPS {
            spare.push(headers);
        }
    });
}

/// An empty map with room for `fields` and for what a proxy adds.
pub fn spare(fields: usize) -> HeaderMap {
    let mut map = SPARE.with_borrow_mut(Vec::pop).unwrap_or_default();
    map.reserve(fields + 4);
    map
}
