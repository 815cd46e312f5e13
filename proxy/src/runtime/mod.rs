//! The process: bring-up, threads, life and end.
//!
//! [`run`] names every component in the order it comes up. Threads: `control` (the main thread: admin, status, discovery,
//! signals), `acceptor`, `worker-0` and following, and `access-log` once the log is on. Traffic touches only the acceptor
//! and the workers. A single worker accepts for itself.

pub mod clock;
mod companions;
mod concurrency;
mod congestion;
mod cpu_limit;
mod lifecycle;
mod limits;
mod logging;
mod panics;
mod process;
mod run;
mod signals;
mod spawn;
mod termination;
mod threads;
mod turn;
mod worker;

pub use concurrency::WorkerCount;
pub use congestion::stay_on_this_host;
pub use lifecycle::{Command, Lifecycle, Readiness};
pub use logging::{LogControl, LogLevels};
pub use panics::panics;
pub use process::Process;
pub use run::run;
pub use spawn::{boxed, spawn};
pub use turn::Turn;
pub use worker::Worker;
