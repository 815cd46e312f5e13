//! Threads: one single-threaded runtime per worker, one control thread for everything that is not traffic.

mod worker;

pub use worker::Worker;
