//! What is packed comes back as it was.

use std::path::Path;

use proptest::prelude::*;

use super::{Pack, Packer};
use crate::object::Object;
use crate::parse::parse;

fn again<T: Pack>(value: &T) -> Option<T> {
    let mut packer = Packer::default();
    value.pack(&mut packer);
    T::unpack(&mut packer.finish().unpack())
}

proptest! {
    #[test]
    fn numbers_of_every_size_come_back(unsigned: u64, signed: i64, small: i32, float in proptest::num::f64::ANY) {
        prop_assert_eq!(again(&unsigned), Some(unsigned));
        prop_assert_eq!(again(&signed), Some(signed));
        prop_assert_eq!(again(&small), Some(small));
        prop_assert_eq!(again(&float).map(f64::to_bits), Some(float.to_bits()));
    }

    #[test]
    fn strings_come_back_whether_new_or_repeated(texts in prop::collection::vec("[ab\u{e9}]{0,2}", 0..20)) {
        prop_assert_eq!(again(&texts), Some(texts));
    }

    #[test]
    fn other_bytes_are_refused_or_read_and_never_more(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let packed = super::Packed { bytes: bytes.into(), ..Default::default() };
        let _ = Object::unpack(&mut packed.unpack());
        let _ = Vec::<String>::unpack(&mut packed.unpack());
    }
}

#[test]
fn what_is_repeated_takes_a_byte_or_two() {
    let size = |count: usize| {
        let mut packer = Packer::default();
        vec!["a-name-that-many-objects-have".to_owned(); count].pack(&mut packer);
        packer.finish().bytes.len()
    };
    assert_eq!(size(100) - size(1), 99);
}

#[test]
fn objects_of_one_document_share_its_text_afterwards() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n\
                - {apiVersion: v1, kind: ConfigMap, metadata: {name: b}}\n";
    let objects = parse(Path::new("list.yaml"), text).objects;
    let mut packer = Packer::default();
    objects.iter().for_each(|object| object.pack(&mut packer));
    let packed = packer.finish();
    assert_eq!((packed.texts.len(), packed.files.len()), (1, 1));
    let mut input = packed.unpack();
    for object in objects {
        assert_eq!(Object::unpack(&mut input).as_ref(), Some(&*object));
    }
}

#[test]
fn what_is_packed_is_not_shown() {
    let key = "private-key-of-a-secret".to_owned();
    let mut packer = Packer::default();
    key.pack(&mut packer);
    packer.text(&std::sync::Arc::from(key.as_str()));
    let shown = format!("{packer:?}");
    let packed = packer.finish();
    let shown = shown + &format!("{packed:?} {:?}", packed.unpack());
    // Neither as text nor as the numbers of its bytes.
    let numbers = format!("{:?}", key.as_bytes());
    assert!(!shown.contains(&key) && !shown.contains(numbers.trim_matches(['[', ']'])), "{shown}");
}
