//! System calls that no safe wrapper offers: the only `unsafe` code of this crate.
#![allow(unsafe_code)]
