//! What keeps the webhook supplied: configuration, certificates, and the cluster's knowledge of both.
//!
//! [`run`] starts everything. [`configuration`] follows ConfigMaps or files. [`certificate_files`] serves a certificate that somebody else
//! renews; or else [`certificates`] keeps an [`authority`] of our own in a Secret and its certificate in `caBundle` ([`bundle`]), written by
//! whichever replica holds the [`lease`]. [`nodes`] learns the cluster's version. [`follow`] and [`request`] are how all of them talk to the
//! API server: any failure is noted in [`crate::webhook::State`], and retried for ever.
//!
//! What the service account must be allowed to do is listed in `docs/injector.md`.

pub mod args;
pub mod authority;
pub mod bundle;
pub mod certificate_files;
pub mod certificates;
pub mod configuration;
mod files;
pub mod follow;
pub mod lease;
pub mod nodes;
pub mod request;
pub mod run;

pub use args::Args;
pub use run::{Injector, Times, run};
