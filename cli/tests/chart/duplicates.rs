//! No key stands twice in one map: most readers then keep the last, silently, and an API server refuses.

use std::collections::BTreeSet;

use saphyr_parser::{Event, Parser};

use crate::cases;

#[test]
fn no_key_stands_twice() {
    for (name, rendered) in cases::accepted() {
        for object in rendered.objects() {
            assert_eq!(duplicates(&object.text), Vec::<String>::new(), "{name}: {}", object.label());
        }
    }
}

#[test]
fn a_key_that_stands_twice_is_found() {
    assert_eq!(duplicates("a: {b: 1, c: [{d: 1, e: 2, d: 3}]}\nb: 1\n"), ["d"]);
}

/// A collection that is open.
enum Open {
    /// Keys so far, and whether the next scalar is one.
    Map(BTreeSet<String>, bool),
    List,
}

fn duplicates(text: &str) -> Vec<String> {
    let (mut open, mut found): (Vec<Open>, Vec<String>) = (Vec::new(), Vec::new());
    for event in Parser::new_from_str(text) {
        match event.expect("YAML").0 {
            Event::MappingStart(..) => open.push(Open::Map(BTreeSet::new(), true)),
            Event::SequenceStart(..) => open.push(Open::List),
            Event::MappingEnd | Event::SequenceEnd => {
                open.pop();
                value_ends(&mut open);
            }
            Event::Scalar(scalar, ..) => match open.last_mut() {
                Some(Open::Map(keys, is_key)) if *is_key => {
                    *is_key = false;
                    if !keys.insert(scalar.to_string()) {
                        found.push(scalar.to_string());
                    }
                }
                _ => value_ends(&mut open),
            },
            _ => {}
        }
    }
    found
}

fn value_ends(open: &mut [Open]) {
    if let Some(Open::Map(_, is_key)) = open.last_mut() {
        *is_key = true;
    }
}
