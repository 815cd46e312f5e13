//! What a cluster's control plane does, for one machine: from objects in files to pods, endpoints and names.

pub mod naming;
mod tree;
pub mod workload;

pub mod gateway;
pub mod injection;
pub mod rollout;
pub mod services;

pub mod controller;
pub mod inventory;
pub mod pods;
pub mod publish;
