//! A run: its folder, its lock, what is left of it after a crash.

pub mod files;
