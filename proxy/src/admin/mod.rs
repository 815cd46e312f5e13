//! The admin server on port 15000.
