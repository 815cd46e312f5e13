//! Tasks whose size is limited where they are spawned.
//!
//! A task is moved several times before it runs and kept on the heap as a whole until it ends, so its size is paid for with every
//! connection or request that needs one. A future grows unnoticed: one more value alive across an `await` somewhere below is
//! enough. Here the limit stands beside the spawn and is checked by the compiler, and [`boxed`] is for futures that are too large to be
//! moved even once.

use std::pin::Pin;

use tokio::task::JoinHandle;

/// Spawns a task of at most `LIMIT` bytes on the current runtime.
pub fn spawn<const LIMIT: usize, F>(task: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    const { assert!(size_of::<F>() <= LIMIT, "a spawned future is larger than the limit beside its spawn") };
    tokio::spawn(task)
}

/// `Box::pin(make())`, but made where it stays: only what the future begins with is written, not the room for all that it will ever
/// hold.
///
/// `Box::pin` allocates while it holds the future, which it would drop if that failed. So the future has to be somewhere first, and is
/// copied as a whole. Here nothing exists yet that would be dropped, and the compiler writes into the new memory.
#[inline(always)]
pub fn boxed<F: Future>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    Box::into_pin(Box::write(Box::new_uninit(), make()))
}
