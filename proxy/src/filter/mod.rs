//! The fixed chain of HTTP filters, decided per route.
//!
//! Order, once all exist: external authorisation, JWT, RBAC, fault, CORS, then the router (Istio semantics 6.4).

pub mod fault;
