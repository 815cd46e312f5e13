//! The Helm chart: rendered and linted by Helm's own library, then read with Kubernetes' types and judged by what it says.
//!
//! `charts/tests/render.py` renders all cases at once; everything here looks at its answer. `UPDATE_GOLDEN=1` writes the golden
//! files anew.

mod arguments;
mod cases;
mod coherence;
mod configuration;
mod dashboards;
mod definitions;
mod duplicates;
mod examples;
mod golden;
mod injection_test;
mod permissions;
mod refusals;
mod security;
mod typed;
mod webhook;
