//! The webhook: AdmissionReviews in over HTTPS, JSON patches out (contract 3.3).
//!
//! In reading order: [`review`] is what an API server sends and expects back, [`parameters`] what the URL's path adds, [`admit`] the pure answer
//! to one review, [`patch`] the difference it carries. [`routes`] puts these behind HTTP, [`server`] behind sockets with bounds on
//! everything a peer controls, and [`certificate`] holds what TLS is served with, exchangeable at any moment. [`State`] is what all requests share;
//! `control` feeds it.
//!
//! Nothing here knows where configuration and certificates come from, or that there is a cluster.

pub mod admit;
pub mod budget;
pub mod certificate;
pub mod metrics;
pub mod parameters;
pub mod patch;
mod places;
pub mod review;
pub mod routes;
pub mod server;
mod state;
mod timed;

pub use state::{Part, State};
