//! Names inside a run: the zone of Services and pods, and the server that answers for it.

pub mod reply;
pub mod server;
pub mod zone;

pub use server::Server;
pub use zone::Zone;
