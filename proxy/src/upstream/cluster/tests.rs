//! What survives a configuration change.
