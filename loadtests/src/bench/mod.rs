//! The comparison with other proxies: what `outrigger-bench` does. Linked into no other program.
//!
//! [`cases`] says what is measured, [`peers`] which proxies there are and how they start (their templates are in
//! `loadtests/peers`, filled in by [`template`]). [`run`] takes the proxies in turns; [`measure`] is one turn: it starts them
//! with [`process`], sends with [`load`] (or [`http2`]) to an [`origin`], and reads their CPU time and memory; [`floor`] is the
//! part of a start that belongs to no proxy. [`results`] keeps what was found; [`report`], [`goals`] and [`plot`] show it, and
//! [`agree`] holds it against what another program found. What is printed goes through [`stdio`].
//!
//! [`load`] is a second generator beside the one of [`crate::run`], on purpose. It has to cost next to nothing, and always the
//! same, on the CPU it shares with the origin, and to read the proxy's CPU time at both edges of its window: one thread, epoll,
//! requests written once, answers of which no more is read than where they end ([`wire`]). `outrigger load` has to speak every
//! protocol, say who answered and account for each request. Neither could do the other's work without spoiling its own, and a
//! mistake in one does not pass unseen through the other.
//!
//! Assumptions: Linux 5.11, root, two CPUs that nobody else needs.

#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod agree;
pub mod cases;
pub mod certificates;
pub mod floor;
pub mod goals;
pub mod http2;
pub mod load;
pub mod machine;
pub mod measure;
pub mod origin;
pub mod peers;
pub mod plot;
pub mod process;
pub mod report;
pub mod results;
pub mod run;
pub mod stats;
pub mod stdio;
pub mod table;
pub mod template;
pub mod wire;

mod sys;
