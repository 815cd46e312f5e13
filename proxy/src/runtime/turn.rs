//! Writes of one round, together.
//!
//! A worker learns of ready sockets in batches and reads them one after another. If it also wrote as it went along, every write
//! would meet a receiver that had the time to fall asleep since the one before, and wake it, which on the sender's account costs
//! about as much as sending. So a connection that has something to write first lets the others of its batch read: the writes
//! then follow each other, and all but the first find their receiver awake. A connection that was alone in its round when it
//! waited lets the next ones write at once, so that a quiet worker pays for one wait in sixteen.

use std::cell::Cell;
use std::task::{Context, Poll};

/// Writes that go out at once after one that waited in vain.
const HASTY: u8 = 15;

thread_local! {
    static ROUND: Cell<Round> = const { Cell::new(Round { asked: 0, hasty: 0 }) };
}

/// What this worker has seen.
#[derive(Clone, Copy)]
struct Round {
    /// How often somebody asked for a turn.
    asked: u32,
    /// How many more need not wait.
    hasty: u8,
}

/// Permission to write what came of one read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Turn {
    /// Not asked for yet.
    #[default]
    Due,
    /// Asked for, as the so manieth.
    Waiting(u32),
    /// It has come, and lasts.
    Come,
}

impl Turn {
    /// Ready when it is time to write: at once, or when every task that is ready now has run.
    pub fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        if *self == Turn::Come {
            return Poll::Ready(());
        }
        ROUND.with(|round| {
            let (next, now) = self.next(round.get());
            round.set(now);
            *self = next;
        });
        if *self == Turn::Come {
            return Poll::Ready(());
        }
        // Behind all that are ready: the queue of a worker is first in, first out.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn next(self, Round { asked, hasty }: Round) -> (Turn, Round) {
        let asked = asked.wrapping_add(1);
        match self {
            Turn::Due if hasty > 0 => (Turn::Come, Round { asked, hasty: hasty - 1 }),
            Turn::Due => (Turn::Waiting(asked), Round { asked, hasty }),
            Turn::Waiting(since) if asked.wrapping_sub(since) == 1 => (Turn::Come, Round { asked, hasty: HASTY }),
            Turn::Waiting(_) | Turn::Come => (Turn::Come, Round { asked, hasty }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::poll_fn;
    use std::rc::Rc;

    use tokio::task::LocalSet;

    use super::*;

    /// Runs tasks that are ready together; the order of what they did.
    async fn round(tasks: usize) -> String {
        let log = Rc::new(RefCell::new(String::new()));
        let set = LocalSet::new();
        for _ in 0..tasks {
            let log = Rc::clone(&log);
            set.spawn_local(async move {
                log.borrow_mut().push('r');
                let mut turn = Turn::default();
                poll_fn(|cx| turn.poll(cx)).await;
                log.borrow_mut().push('w');
            });
        }
        set.await;
        log.take()
    }

    #[tokio::test]
    async fn those_that_are_ready_together_read_first_and_write_together() {
        ROUND.set(Round { asked: u32::MAX - 1, hasty: 0 });
        assert_eq!(round(3).await, "rrrwww");
        assert_eq!(round(2).await, "rrww");
    }

    #[tokio::test]
    async fn who_was_alone_lets_the_next_write_at_once_for_a_while() {
        ROUND.set(Round { asked: 0, hasty: 0 });
        assert_eq!(round(1).await, "rw");
        assert_eq!(ROUND.get().hasty, HASTY, "it waited, in vain");
        for _ in 0..HASTY / 3 {
            assert_eq!(round(3).await, "rwrwrw");
        }
        assert_eq!(round(3).await, "rrrwww");
    }
}
