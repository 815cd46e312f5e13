//! Feeds arbitrary text to the whole way from a file to the references between objects: no panic, no endless work, and
//! whatever is accepted can be read again from its own source.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use outrigger_config::registry::Registry;
use outrigger_config::store::{FileChange, Store};
use outrigger_config::validate::references;
use outrigger_config::yaml::emit::to_yaml;

fuzz_target!(|text: &str| {
    let mut store = Store::new();
    store.apply(vec![FileChange { path: Path::new("fuzz.yaml").into(), text: Some(text.to_owned()) }]);
    for object in store.objects() {
        let json = object.to_json();
        assert!(json.is_object(), "{} has lost its source", object.id);
        to_yaml(&json);
    }
    references::check(&Registry::new(store.objects()));
});
