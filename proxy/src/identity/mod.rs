//! The workload's certificate and trust bundle, and the TLS configurations built from them.

/// The workload identity behind every mesh TLS handshake, replaced as a whole on rotation.
#[derive(Debug)]
pub struct Identity {}
