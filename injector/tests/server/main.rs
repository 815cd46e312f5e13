//! The injector's server and its controllers, over real sockets: a stand-in for the Kubernetes API server on loopback, real TLS with the CA
//! bundle that the controllers wrote.

mod api_server;
mod authority;
mod caller;
mod configuration;
#[path = "../contract/mod.rs"]
mod contract;
mod fixture;
mod golden;
mod webhook;
