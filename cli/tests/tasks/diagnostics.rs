//! What is said about the manifests: compared line by line with `diagnostics.golden`.

use std::path::Path;

use outrigger_config::{
    load,
    store::{FileChange, Store},
};

use crate::format::Task;

/// Everything said about a task's manifests, files named as within its folder.
pub fn lines(task: &Task) -> String {
    let sources = load::read(std::slice::from_ref(&task.folder)).unwrap_or_else(|error| panic!("{}: {error}", task.name()));
    let relative = |path: &Path| path.strip_prefix(&task.folder).unwrap_or(path).to_path_buf();
    let changes = sources.into_iter().map(|source| FileChange { path: relative(&source.path), text: Some(source.text) });
    let mut store = Store::new();
    store.apply(changes.collect());
    store.diagnostics().iter().map(|diagnostic| format!("{diagnostic}\n")).collect()
}

/// The golden file's difference to what is said now, if there is one. With `UPDATE_GOLDEN=1` the file is written instead.
pub fn difference(task: &Task) -> Option<String> {
    let file = task.folder.join("diagnostics.golden");
    let now = lines(task);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &now).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        return None;
    }
    let golden = std::fs::read_to_string(&file).unwrap_or_else(|error| format!("({error})\n"));
    (golden != now).then(|| format!("{}: want\n{golden}got\n{now}", task.name()))
}
