//! Values of a request that are made here: short, one in each, and gone with it.
//!
//! They are cut from a piece of memory that they share, so that one of some fifty is an allocation; nor is one when a value is
//! kept for the access log, as it would be for memory of its own, which `bytes` counts the owners of only from the second on. A
//! request that lasts holds the piece, so it is small; what lasts as long as a connection does not belong here.

use std::cell::RefCell;

use bytes::BytesMut;
use http::HeaderValue;

/// Size of a piece.
const PIECE: usize = 2048;

thread_local! {
    static REST: RefCell<BytesMut> = RefCell::new(BytesMut::with_capacity(PIECE));
}

/// A value; `None` when `text` cannot be one.
pub fn value(text: &[u8]) -> Option<HeaderValue> {
    let bytes = REST.with_borrow_mut(|rest| {
        rest.extend_from_slice(text);
        rest.split().freeze()
    });
    HeaderValue::from_maybe_shared(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_what_they_are_while_the_piece_is_cut_on_and_beyond_its_end() {
        let text = |number: usize| format!("{number:036}");
        let values: Vec<_> = (0..3 * PIECE / 36).filter_map(|number| value(text(number).as_bytes())).collect();
        assert_eq!(values.len(), 3 * PIECE / 36);
        assert!(values.iter().enumerate().all(|(number, value)| *value == text(number)));
        assert_eq!(value(b"two\nlines"), None);
    }
}
