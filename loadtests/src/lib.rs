//! The counting client: sends requests and counts who answered what.
//!
//! A [`Plan`] says what to send, [`run`] sends it and returns a [`Report`] with counts by status, version, pod and
//! whatever else was asked for, the latency distribution, the errors by cause, and every answer in the order of sending.
//! The client is strict: a request without a complete answer is an error, also where a browser would quietly try again.
//!
//! It speaks HTTP/1.1 and HTTP/2 (`http://`, `https://`), gRPC, WebSocket (`ws://`) and plain TCP (`tcp://`). The same
//! code runs in a pod's network namespace as `outrigger load`, whose JSON is a serialised [`Report`]. The comparison with other
//! proxies has a generator of its own; [`bench`] says why.

pub mod args;
pub mod bench;
pub mod plan;

mod collect;
mod connect;
mod deadline;
mod descriptors;
mod feed;
mod http1;
mod http2;
mod interleave;
mod intern;
mod io;
mod pace;
mod raw;
mod run;
mod seen;
mod slices;
mod stages;
mod sys;
mod target;
mod thread;
mod tls;
mod turns;
mod worker;

pub mod answer;
pub mod compare;
pub mod demands;
pub mod expect;
pub mod find_max;
pub mod histogram;
pub mod html;
pub mod live;
pub mod merge;
pub mod order;
pub mod progress;
pub mod recorder;
pub mod report;
pub mod schedule;
pub mod slo;
pub mod table;

pub use answer::{Answer, Cause, Failure};
pub use connect::Resolve;
pub use demands::Demands;
pub use expect::Expectation;
pub use plan::{Amount, CountBy, Plan};
pub use recorder::{Connection, Layout, Outcome, Recorder, Sample};
pub use report::{Facts, Report};
pub use run::{Run, Unreachable, run, run_until};
pub use slo::Slo;
pub use tls::AnyCertificate;
