//! Connections forwarded as bytes.
