//! The API objects as users write them, one file per kind. No defaults are applied here.

pub mod destination_rule;
pub mod gateway;
pub mod kubernetes;
pub mod mesh;
pub mod peer_authentication;
pub mod service_entry;
pub mod virtual_service;
