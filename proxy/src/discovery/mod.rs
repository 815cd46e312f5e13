//! Where configuration comes from: sources feeding the registry, compiled and published.
