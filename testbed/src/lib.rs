//! Kubernetes manifests on one machine: a network namespace per pod, the real capture rules, the real proxy.

pub mod stand_in;
