//! Diagnostics as users see them: each `golden/NAME.yaml` is loaded, checked and compared with `golden/NAME.txt`.
//!
//! `UPDATE_GOLDEN=1 cargo test -p outrigger-config --test golden` writes the expected files anew; read the difference.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use outrigger_config::registry::Registry;
use outrigger_config::store::{FileChange, Store};
use outrigger_config::validate::references;

/// The diagnostics of one manifest, and the objects in force.
fn report(manifest: &Path) -> String {
    let name = manifest.file_name().expect("a file").into();
    let text = std::fs::read_to_string(manifest).expect("readable");
    let mut store = Store::new();
    store.apply(vec![FileChange { path: name, text: Some(text) }]);
    let registry = Registry::new(store.objects());
    let mut out = String::new();
    let all = store.diagnostics().iter().cloned().chain(references::check(&registry));
    for diagnostic in all {
        let strict = if diagnostic.blocks_strict { "  [strict]" } else { "" };
        writeln!(out, "{diagnostic}{strict}").expect("a string");
    }
    out.push_str("--- in force\n");
    for object in store.objects() {
        writeln!(out, "{}", object.id).expect("a string");
    }
    out
}

#[test]
fn every_manifest_gives_its_diagnostics() {
    let mut wrong = String::new();
    for manifest in manifests() {
        let expected_path = manifest.with_extension("txt");
        let got = report(&manifest);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&expected_path, &got).expect("writable");
        }
        let expected = std::fs::read_to_string(&expected_path).unwrap_or_default();
        if got != expected {
            writeln!(wrong, "{}\n--- expected\n{expected}--- got\n{got}", manifest.display()).expect("a string");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// All manifests, in order.
fn manifests() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut manifests: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    manifests.sort();
    assert!(!manifests.is_empty());
    manifests
}

#[test]
fn a_store_that_has_rested_holds_and_says_the_same() {
    let texts = manifests().into_iter().map(|path| FileChange { text: std::fs::read_to_string(&path).ok(), path });
    let mut store = Store::new();
    store.apply(texts.collect());
    assert!(store.objects().len() > 20);
    let rested = store.rest().apply(Vec::new()).expect("unpacked");
    for (before, after) in store.objects().zip(rested.objects()) {
        assert_eq!(before, after);
    }
    assert_eq!(store.objects().len(), rested.objects().len());
    assert_eq!(store.diagnostics(), rested.diagnostics());
}
