//! Manifests as files have them: several documents of YAML or JSON in, the same text with some pods changed out.
//!
//! [`transform()`] is the whole of it. It finds the pods of every workload kind ([`kind`]), hands each to a function that answers with the
//! pod as it should be, and edits the text at the places that differ ([`splice`]), so that comments, key order and quoting survive.
//! The edited text is read again and compared with what was meant; where it is not the same, or where no edit is possible, the
//! document is written anew ([`render`]) and a warning says so. Documents without a change are returned byte for byte.
//!
//! Pure: text in, text out. Input may be hostile; limits are those of `outrigger_config::yaml`.

pub mod kind;
#[cfg(test)]
mod properties;
pub mod render;
mod rewrite;
mod splice;
mod transform;
mod tree;

pub use kind::Workload;
pub use rewrite::{Rewritten, rewrite};
pub use transform::{Change, Failure, Object, Refusal, Report, Transformed, Warning, join, objects, transform};
