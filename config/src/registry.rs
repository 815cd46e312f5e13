//! What exists, indexed for the compiler.
