//! One file: from its text to what the store holds of it.
//!
//! A mistake of ours in the parser or in a rule must not cost more than the file that brought it to light: a panic here is
//! told as a syntax error is, so that what the file held stays in force and all other files of the change count.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use crate::diagnostic::{Consequence, Diagnostic, Severity};
use crate::keep::Keeper;
use crate::parse::Parsed;

/// [`crate::parse::parse`].
pub(super) type Parse = fn(&Path, &str) -> Parsed;

/// What a file holds, as far as the proxy of `keeper` asks for it.
pub(super) fn read(path: &Path, text: &str, keeper: Option<&Keeper>, parse: Parse) -> Parsed {
    let read = || {
        let mut parsed = parse(path, text);
        if let Some(keeper) = keeper {
            parsed.objects.iter_mut().filter_map(Arc::get_mut).for_each(|object| keeper.reduce(object));
        }
        parsed.objects.shrink_to_fit();
        parsed
    };
    // Everything that a panic could leave half done is dropped with it.
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| unreadable(path))
}

fn unreadable(path: &Path) -> Parsed {
    let message = "this version fails at reading this file: please report it with the panic in the log".to_owned();
    let mut diagnostic = Diagnostic::file(Arc::from(path), Severity::Error, "IST0106", message);
    diagnostic.consequence = Consequence::DocumentLeftOut;
    diagnostic.blocks_strict = true;
    Parsed { diagnostics: vec![diagnostic], syntax_error: true, ..Parsed::default() }
}
