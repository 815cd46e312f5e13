//! What both ends of HTTP/1 have in common.
//!
//! The server's side ([`crate::http::http1`]) and the client's ([`crate::upstream::http1`]) read through the worker's buffer
//! ([`buffer`]), so that an idle connection holds none; read bodies by their framing ([`Reading`], [`Chunked`]); write a
//! head and the beginning of its body in one piece ([`Unsent`]); and fill header maps that other exchanges have left over
//! ([`maps`]).

pub mod buffer;
mod chunked;
mod ending;
mod hop;
pub mod maps;
mod reading;
mod unsent;

pub use chunked::{Chunked, Malformed, Piece};
pub use ending::Ending;
pub use hop::{Coding, Persistence};
pub use reading::{Cut, Framing, Reading};
pub use unsent::{Unsent, write_field};

/// Heads beyond this size are refused (Istio semantics 8.1).
pub const MAX_HEAD: usize = 60 * 1024;
/// Fields of a head, beyond which it is refused.
pub const MAX_HEADERS: usize = 100;
/// Chunks of a body up to this size are copied behind the head or the chunk size, to go out in one piece.
pub const SMALL: usize = 4096;
/// Write buffers larger than this are not kept.
pub const SPARE_CAPACITY: usize = 64 * 1024;

#[cfg(test)]
pub(crate) mod tests;
