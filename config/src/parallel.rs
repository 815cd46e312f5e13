//! Work on many files at once, on as many threads as there are processors.
//!
//! Files are read one by one into values that know nothing of each other; at the start of a proxy in a large mesh this is most
//! of the work. The result does not depend on the number of threads, and where none can be had the caller does all of it.

use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::thread;

/// More than these would wait for memory, and each begins a heap of its own.
const MAX_THREADS: usize = 4;

/// `make` of all `items`, in their order. A thread has at least `share` of them.
pub fn map<T: Sync, R: Send>(items: &[T], share: usize, make: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let share = match items.len() <= share {
        // Few items do not even ask how many processors there are.
        true => share,
        false => items.len().div_ceil(processors().min(MAX_THREADS)).max(share),
    };
    let share = share.max(1);
    let mut parts = items.chunks(share);
    let first = parts.next().unwrap_or_default();
    let make_all = |part: &[T]| part.iter().map(&make).collect::<Vec<R>>();
    thread::scope(|scope| {
        let begin = |part| (part, thread::Builder::new().name("parse".to_owned()).spawn_scoped(scope, move || make_all(part)));
        let others: Vec<_> = parts.map(begin).collect();
        let mut made = make_all(first);
        for (part, thread) in others {
            made.extend(match thread {
                Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
                Err(_) => make_all(part),
            });
        }
        made
    })
}

/// What both make, `beside` on a thread of its own if there is a processor for it. A panic in either is the caller's.
pub fn both<A, B: Send>(here: impl FnOnce() -> A, beside: impl Fn() -> B + Sync) -> (A, B) {
    if processors() < 2 {
        return (here(), beside());
    }
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("beside".to_owned()).spawn_scoped(scope, &beside);
        let made = here();
        let other = match thread {
            Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(_) => beside(),
        };
        (made, other)
    })
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

#[cfg(test)]
mod tests {
    use super::{both, map};

    #[test]
    fn results_come_in_order_whatever_the_number_of_items() {
        for count in [0, 1, 2, 3, 7, 100] {
            let items: Vec<usize> = (0..count).collect();
            assert_eq!(map(&items, 2, |item| item * 2), (0..count).map(|item| item * 2).collect::<Vec<_>>());
        }
    }

    #[test]
    fn two_pieces_of_work_both_give_what_they_make() {
        assert_eq!(both(|| 1, || "two"), (1, "two"));
    }

    #[test]
    #[should_panic(expected = "the other one")]
    fn a_panic_beside_is_the_callers() {
        both(|| (), || panic!("the other one"));
    }

    #[test]
    #[should_panic(expected = "the seventh")]
    fn a_panic_in_one_part_is_the_callers() {
        map(&[1, 2, 3, 4, 5, 6, 7], 1, |item| assert!(*item != 7, "the seventh"));
    }
}
