//! Which request is next: numbers and due times, handed to whichever worker is free.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::{
    interleave::Interleaving,
    pace::nanos,
    plan::Plan,
    schedule::{Due, Schedule},
};

/// How long after its end a schedule's late requests are still sent.
const GRACE: Duration = Duration::from_secs(1);
/// A time that does not come.
const NEVER: u64 = u64::MAX;
/// The seed of jitter: runs of one plan have one schedule.
const SEED: u64 = 0x6F75_7472_6967_6765;

/// A request to be sent. Times are nanoseconds since the start, the warm-up included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    /// Its number among those that count, or among those of the warm-up.
    pub(crate) number: u64,
    /// Index of its URL.
    pub(crate) target: usize,
    /// When it is due; in a closed loop, now.
    pub(crate) due: u64,
    /// Whether it is part of the warm-up.
    pub(crate) warm: bool,
}

/// A schedule on its way through the workers.
struct Open {
    schedule: Schedule,
    /// The first request that was too late to be sent; with it the handing out has ended.
    too_late: Option<Due>,
}

/// The requests of a run.
pub(crate) struct Feed {
    open: Option<Mutex<Open>>,
    order: Interleaving,
    most: u64,
    warmup: u64,
    /// When a closed loop ends.
    end: u64,
    /// When an open loop gives up what is late.
    last_call: u64,
    warm: AtomicU64,
    next: AtomicU64,
    answered: AtomicBool,
    /// When the run was found hopeless; until then [`NEVER`].
    gave_up: AtomicU64,
    /// Numbers and times of requests that were claimed and not sent.
    returned: Mutex<Vec<(u64, u64)>>,
    patience: Option<u64>,
}

impl Feed {
    /// # Errors
    /// Weights that do not fit the URLs.
    pub(crate) fn new(plan: &Plan) -> anyhow::Result<Self> {
        let urls = plan.urls().count();
        anyhow::ensure!(
            plan.weights.is_empty() || plan.weights.len() == urls,
            "{urls} URLs, but {} weights: expected one for each",
            plan.weights.len()
        );
        let order = if plan.weights.is_empty() { Interleaving::new(&vec![1; urls])? } else { Interleaving::new(&plan.weights)? };
        let stages = plan.schedule();
        let open = (!stages.is_empty()).then(|| Schedule::new(stages, plan.arrivals, SEED));
        let last_call = open.as_ref().and_then(Schedule::length).map_or(u64::MAX, |length| nanos(length + GRACE));
        Ok(Self {
            open: open.map(|schedule| Mutex::new(Open { schedule, too_late: None })),
            order,
            most: plan.most(),
            warmup: nanos(plan.warmup),
            end: plan.length().map_or(u64::MAX, |length| nanos(plan.warmup + length)),
            last_call,
            warm: AtomicU64::new(0),
            next: AtomicU64::new(0),
            answered: AtomicBool::new(false),
            gave_up: AtomicU64::new(NEVER),
            returned: Mutex::default(),
            patience: plan.give_up.then(|| nanos(2 * plan.timeout)),
        })
    }

    /// The next request; `None` when there is none.
    pub(crate) fn claim(&self, now: u64) -> Option<Claim> {
        match &self.open {
            Some(open) => self.claim_due(&mut open.lock().unwrap_or_else(PoisonError::into_inner), now),
            None => self.claim_now(now),
        }
    }

    fn claim_now(&self, now: u64) -> Option<Claim> {
        let warm = now < self.warmup;
        let number = if warm { &self.warm } else { &self.next }.fetch_add(1, Relaxed);
        let over = now >= self.end || (!warm && number >= self.most);
        (!over).then(|| Claim { number, target: self.order.target(number), due: now, warm })
    }

    fn claim_due(&self, open: &mut Open, now: u64) -> Option<Claim> {
        if open.too_late.is_some() || self.next.load(Relaxed) >= self.most {
            return None;
        }
        let due = open.schedule.next()?;
        if now > self.last_call {
            open.too_late = Some(due);
            return None;
        }
        let warm = due.at < self.warmup;
        // The schedule's lock orders these.
        let number = if warm { &self.warm } else { &self.next }.fetch_add(1, Relaxed);
        Some(Claim { number, target: self.order.target(number), due: due.at, warm })
    }

    /// Takes a request back that was claimed before it was due, and that the run's end kept from being sent.
    pub(crate) fn hand_back(&self, claim: &Claim) {
        if !claim.warm {
            self.returned.lock().unwrap_or_else(PoisonError::into_inner).push((claim.number, claim.due));
        }
    }

    /// The numbers and times of requests that were due by `until` and were not sent, because no connection became free or because
    /// the run was over: the next `most` of them or a few more, none when there are no more. The run is over.
    pub(crate) fn not_sent(&self, until: u64, most: usize) -> Vec<(u64, u64)> {
        let Some(open) = &self.open else { return Vec::new() };
        let mut all = std::mem::take(&mut *self.returned.lock().unwrap_or_else(PoisonError::into_inner));
        all.retain(|(_, due)| *due <= until);
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        let Open { schedule, too_late } = &mut *open;
        let left = too_late.take().into_iter().chain(schedule).take_while(|due| due.at <= until);
        let first = self.next.load(Relaxed);
        let numbered = left.filter(|due| due.at >= self.warmup).zip(first..self.most).take(most);
        let before = all.len();
        all.extend(numbered.map(|(due, number)| (number, due.at)));
        self.next.store(first + (all.len() - before) as u64, Relaxed);
        all
    }

    /// The index of a request's URL.
    pub(crate) fn target(&self, number: u64) -> usize {
        self.order.target(number)
    }

    /// Whether requests follow a schedule.
    pub(crate) fn is_open_loop(&self) -> bool {
        self.open.is_some()
    }

    /// Notes how a request ended. `true`: nothing has been answered for so long that nothing will.
    pub(crate) fn hopeless(&self, answered: bool, now: u64) -> bool {
        if answered && !self.answered.load(Relaxed) {
            self.answered.store(true, Relaxed);
        }
        let hopeless = !answered && self.patience.is_some_and(|patience| now > patience) && !self.answered.load(Relaxed);
        if hopeless {
            self.gave_up.fetch_min(now, Relaxed);
        }
        hopeless
    }

    /// When the run was found hopeless, if it was, in nanoseconds since the start.
    pub(crate) fn gave_up(&self) -> Option<u64> {
        Some(self.gave_up.load(Relaxed)).filter(|at| *at != NEVER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Amount;

    const SECOND: u64 = 1_000_000_000;

    fn feed(plan: Plan) -> anyhow::Result<Feed> {
        Feed::new(&plan)
    }

    fn not_sent(feed: &Feed, until: u64) -> Vec<(u64, u64)> {
        std::iter::from_fn(|| Some(feed.not_sent(until, 7)).filter(|batch| !batch.is_empty())).flatten().collect()
    }

    fn plan(amount: Amount, rate: Option<f64>) -> Plan {
        Plan { amount, rate, ..Plan::new("http://a", 0) }
    }

    #[test]
    fn a_closed_loop_ends_after_its_requests_or_its_time() -> anyhow::Result<()> {
        let counted = feed(plan(Amount::Requests(3), None))?;
        assert_eq!((0..9).map_while(|_| counted.claim(5)).count(), 3);
        let timed = feed(plan(Amount::For(Duration::from_secs(1)), None))?;
        assert_eq!(timed.claim(SECOND - 1).map(|claim| claim.due), Some(SECOND - 1));
        assert_eq!(timed.claim(SECOND), None);
        let both = feed(Plan { at_most: Some(2), ..plan(Amount::For(Duration::from_secs(1)), None) })?;
        assert_eq!((0..9).map_while(|_| both.claim(5)).count(), 2);
        Ok(())
    }

    #[test]
    fn an_open_loop_hands_out_the_schedule_whatever_the_time() -> anyhow::Result<()> {
        let feed = feed(plan(Amount::For(Duration::from_secs(1)), Some(4.0)))?;
        let due: Vec<u64> = std::iter::from_fn(|| feed.claim(SECOND / 2)).map(|claim| claim.due).collect();
        assert_eq!(due, [0, SECOND / 4, SECOND / 2, SECOND / 4 * 3]);
        assert_eq!(not_sent(&feed, u64::MAX), []);
        Ok(())
    }

    #[test]
    fn what_is_late_beyond_the_grace_is_counted_and_not_sent() -> anyhow::Result<()> {
        let feed = feed(plan(Amount::For(Duration::from_secs(10)), Some(100.0)))?;
        for _ in 0..10 {
            assert!(feed.claim(11 * SECOND).is_some(), "within the grace");
        }
        assert_eq!((feed.claim(11 * SECOND + 1), feed.claim(12 * SECOND)), (None, None));
        let left = not_sent(&feed, u64::MAX);
        assert_eq!((left.len(), left.first(), left.last()), (990, Some(&(10, SECOND / 10)), Some(&(999, 9_990_000_000))));
        Ok(())
    }

    #[test]
    fn of_a_run_that_ends_early_what_was_due_by_then_is_counted_and_no_more() -> anyhow::Result<()> {
        let warm = Plan { warmup: Duration::from_secs(1), ..plan(Amount::For(Duration::from_secs(9)), Some(10.0)) };
        let feed = feed(Plan { at_most: Some(15), ..warm.clone() })?;
        assert_eq!(feed.claim(0).map(|claim| claim.warm), Some(true));
        let left = not_sent(&feed, 2 * SECOND);
        assert_eq!((left.len(), left.first()), (11, Some(&(0, SECOND))), "from 1.0 to 2.0 s");
        let counted = Feed::new(&Plan { at_most: Some(15), ..warm })?;
        assert_eq!(not_sent(&counted, u64::MAX).len(), 15);
        Ok(())
    }

    #[test]
    fn what_is_handed_back_is_counted_if_it_was_due_by_then() -> anyhow::Result<()> {
        let feed = feed(plan(Amount::For(Duration::from_secs(9)), Some(1.0)))?;
        let claims: Vec<Claim> = (0..4).filter_map(|_| feed.claim(0)).collect();
        claims[1..].iter().for_each(|claim| feed.hand_back(claim));
        assert_eq!(not_sent(&feed, 2 * SECOND), [(1, SECOND), (2, 2 * SECOND)]);
        Ok(())
    }

    #[test]
    fn the_warm_up_does_not_count() -> anyhow::Result<()> {
        let warm = Plan { warmup: Duration::from_secs(1), ..plan(Amount::Requests(3), Some(2.0)) };
        let open = feed(warm.clone())?;
        let claims: Vec<Claim> = std::iter::from_fn(|| open.claim(0)).collect();
        assert_eq!(
            claims.iter().map(|claim| (claim.number, claim.warm)).collect::<Vec<_>>(),
            [(0, true), (1, true), (0, false), (1, false), (2, false)]
        );
        assert_eq!(claims[2].due, SECOND);
        let closed = feed(Plan { rate: None, ..warm })?;
        assert_eq!(closed.claim(5).map(|claim| claim.warm), Some(true));
        assert_eq!((0..9).map_while(|_| closed.claim(SECOND)).count(), 3);
        Ok(())
    }

    #[test]
    fn weights_must_fit_the_urls() {
        let two = Plan { more_urls: vec!["http://b".into()], ..Plan::new("http://a", 1) };
        assert!(feed(Plan { weights: vec![1], ..two.clone() }).is_err());
        assert!(feed(Plan { weights: vec![1, 3], ..two }).is_ok());
    }

    #[test]
    fn it_is_hopeless_only_when_nothing_ever_came() -> anyhow::Result<()> {
        let patient = Plan { give_up: true, timeout: Duration::from_secs(1), ..Plan::new("http://a", 9) };
        let feed = feed(patient)?;
        assert!(!feed.hopeless(false, SECOND));
        assert_eq!(feed.gave_up(), None);
        assert!(feed.hopeless(false, 3 * SECOND) && feed.hopeless(false, 4 * SECOND));
        assert_eq!(feed.gave_up(), Some(3 * SECOND));
        assert!(!feed.hopeless(true, 3 * SECOND));
        assert!(!feed.hopeless(false, 9 * SECOND));
        Ok(())
    }
}
