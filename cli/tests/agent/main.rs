//! The program in the place of Istio's agent: interception mode TPROXY, merged metrics, Jobs, the image, and what
//! injected pods call it by.
//!
//! Needs root, and says so by failing. Every test is bounded in time and has network namespaces of its own, gone with it.

mod image;
mod job;
mod names;
mod net;
mod scrape;
mod tproxy;
