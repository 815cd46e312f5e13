//! Tasks whose size is limited where they are spawned.
//!
//! A task is moved several times before it runs and kept on the heap as a whole until it ends, so its size is paid for with every
//! connection or request that needs one. A future grows unnoticed: one more value alive across an `await` somewhere below is
//! enough. Here the limit stands beside the spawn and is checked by the compiler.

use tokio::task::JoinHandle;

/// Spawns a task of at most `LIMIT` bytes on the current runtime.
pub fn spawn<const LIMIT: usize, F>(task: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    const { assert!(size_of::<F>() <= LIMIT, "a spawned future is larger than the limit beside its spawn") };
    tokio::spawn(task)
}
