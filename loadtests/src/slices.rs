//! The run over time: counts, a coarse latency distribution and the answers of each slice.
//!
//! A slice is 100 ms at first. A run that gets long has its slices joined, so that no recorder keeps more than
//! [`MOST`] of them. Widths form a ladder in which each divides the next, hence slices of two recorders always fit.

use crate::{histogram::Coarse, live::Fate, recorder::TIMED_KEYS};

/// Widths of slices in milliseconds.
const LADDER: [u64; 11] = [100, 200, 1_000, 2_000, 10_000, 20_000, 60_000, 120_000, 600_000, 3_600_000, 36_000_000];
/// Slices in a report, at most.
pub(crate) const REPORTED: u64 = 240;
/// Finished slices a recorder keeps before it joins them.
const MOST: usize = 1_200;

/// One finished slice; only those in which a request ended exist.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Slice {
    /// Its place: it begins at `index` times the width.
    pub(crate) index: u64,
    pub(crate) requests: u64,
    pub(crate) errors: u64,
    pub(crate) refused: u64,
    pub(crate) bytes_in: u64,
    /// Coarse buckets of corrected latency, ascending.
    pub(crate) latency: Vec<(u16, u32)>,
    /// Property, key, answers; ascending.
    pub(crate) keys: Vec<(u16, u32, u32)>,
}

/// The slice that is being filled.
#[derive(Clone, Default)]
pub(crate) struct Current {
    slice: Slice,
    latency: Coarse,
    keys: Vec<Vec<u32>>,
}

impl Current {
    pub(crate) fn count(&mut self, fate: Fate, coarse: usize, bytes_in: u64) {
        self.slice.requests += 1;
        self.slice.bytes_in += bytes_in;
        match fate {
            Fate::Lost => self.slice.errors += 1,
            Fate::Refused => self.slice.refused += 1,
            Fate::Answered => {}
        }
        if fate != Fate::Lost {
            self.latency.record(coarse);
        }
    }

    /// What was filled in; an empty slice at `index` takes its place.
    fn take(&mut self, index: u64) -> Slice {
        let mut slice = std::mem::replace(&mut self.slice, Slice { index, ..Slice::default() });
        slice.latency = self.latency.take();
        for (property, counts) in self.keys.iter_mut().enumerate() {
            for (key, count) in counts.iter_mut().enumerate().filter(|(_, count)| **count > 0) {
                slice.keys.push((property as u16, key as u32, std::mem::take(count)));
            }
        }
        slice
    }
}

/// All slices of a recorder.
#[derive(Clone, Default)]
pub(crate) struct Slices {
    rung: usize,
    done: Vec<Slice>,
    current: Current,
}

impl std::fmt::Debug for Slices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slices").field("width_ms", &self.width_ms()).field("done", &self.done.len()).finish_non_exhaustive()
    }
}

impl Slices {
    pub(crate) fn new(properties: usize) -> Self {
        let current = Current { keys: vec![vec![0; TIMED_KEYS]; properties], ..Current::default() };
        Self { current, ..Self::default() }
    }

    pub(crate) fn width_ms(&self) -> u64 {
        LADDER.get(self.rung).copied().unwrap_or(u64::MAX)
    }

    /// The slice for a request that ended then. One that ended before the current slice began still counts here.
    pub(crate) fn current(&mut self, done_ns: u64) -> &mut Current {
        let index = done_ns / (self.width_ms() * 1_000_000);
        if index > self.current.slice.index {
            self.turn(index);
        }
        &mut self.current
    }

    /// Counts requests that were lost then, which may be before or after all others; mostly those of one slice come in a row.
    pub(crate) fn lost(&mut self, at_ns: u64, requests: u64) {
        let index = at_ns / (self.width_ms() * 1_000_000);
        if let Some(last) = self.done.last_mut().filter(|last| last.index == index) {
            (last.requests, last.errors) = (last.requests + requests, last.errors + requests);
            return;
        }
        self.done.push(Slice { index, requests, errors: requests, ..Slice::default() });
        if self.done.len() > MOST {
            self.coarsen(self.rung + 1);
        }
    }

    /// The last moment that is in the same slice as this one, now and when slices are joined.
    pub(crate) fn until(&self, at_ns: u64) -> u64 {
        let width = self.width_ms() * 1_000_000;
        (at_ns / width * width).saturating_add(width - 1)
    }

    #[cold]
    fn turn(&mut self, index: u64) {
        self.close(index);
        if self.done.len() > MOST {
            self.coarsen(self.rung + 1);
        }
    }

    /// Ends the current slice; the next one is at `index`. A slice without requests leaves no trace.
    fn close(&mut self, index: u64) {
        let slice = self.current.take(index);
        if slice.requests > 0 {
            self.done.push(slice);
        }
    }

    pub(crate) fn count_key(&mut self, property: usize, key: u32) {
        if let Some(count) = self.current.keys.get_mut(property).and_then(|keys| keys.get_mut(key as usize)) {
            *count += 1;
        }
    }

    /// Joins slices up to that rung of the ladder.
    fn coarsen(&mut self, rung: usize) {
        let rung = rung.min(LADDER.len() - 1);
        let factor = LADDER.get(rung).map_or(1, |width| width / self.width_ms());
        if rung <= self.rung || factor == 0 {
            return;
        }
        self.rung = rung;
        self.current.slice.index /= factor;
        let scaled = std::mem::take(&mut self.done).into_iter().map(|slice| Slice { index: slice.index / factor, ..slice });
        self.done = joined(scaled.collect());
    }

    /// Adds another recorder's slices; `keys` gives for each property this recorder's number of the other's keys.
    pub(crate) fn merge(&mut self, mut other: Self, keys: &[Vec<u32>]) {
        other.close(0);
        let rung = self.rung.max(other.rung);
        self.coarsen(rung);
        other.coarsen(rung);
        let renamed = |(property, key, count): (u16, u32, u32)| {
            let key = keys.get(usize::from(property))?.get(key as usize)?;
            Some((property, *key, count))
        };
        for slice in &mut other.done {
            slice.keys = std::mem::take(&mut slice.keys).into_iter().filter_map(renamed).collect();
        }
        self.done.append(&mut other.done);
        self.done = joined(std::mem::take(&mut self.done));
    }

    /// The width in milliseconds and at most about `most` slices, ascending.
    pub(crate) fn finish(mut self, most: u64) -> (u64, Vec<Slice>) {
        self.close(0);
        self.done = joined(std::mem::take(&mut self.done));
        while self.done.last().is_some_and(|slice| slice.index >= most) && self.rung + 1 < LADDER.len() {
            self.coarsen(self.rung + 1);
        }
        (self.width_ms(), self.done)
    }
}

/// The width for slices of at most `widest_ms` that reach to `end_ms`, so that about [`REPORTED`] of them do.
pub(crate) fn common_width(widest_ms: u64, end_ms: u64) -> u64 {
    let fits = |width: &u64| *width >= widest_ms && end_ms / *width < REPORTED;
    LADDER.into_iter().find(fits).unwrap_or(widest_ms.max(1))
}

/// Slices in ascending order, those with the same index made one.
pub(crate) fn joined(mut slices: Vec<Slice>) -> Vec<Slice> {
    slices.sort_by_key(|slice| slice.index);
    let mut out: Vec<Slice> = Vec::with_capacity(slices.len());
    for slice in slices {
        match out.last_mut().filter(|last| last.index == slice.index) {
            Some(last) => add(last, &slice),
            None => out.push(slice),
        }
    }
    out
}

fn add(slice: &mut Slice, other: &Slice) {
    slice.requests += other.requests;
    slice.errors += other.errors;
    slice.refused += other.refused;
    slice.bytes_in += other.bytes_in;
    slice.latency = summed(&slice.latency, &other.latency, |(bucket, _)| *bucket, |(bucket, a), (_, b)| (bucket, a + b));
    slice.keys = summed(&slice.keys, &other.keys, |(property, key, _)| (*property, *key), |(p, k, a), (_, _, b)| (p, k, a + b));
}

/// Two lists of counts as one, ascending by what `by` says and without repetition.
fn summed<T: Copy, K: Ord>(a: &[T], b: &[T], by: impl Fn(&T) -> K, plus: impl Fn(T, T) -> T) -> Vec<T> {
    let mut all = [a, b].concat();
    all.sort_by_key(&by);
    let mut out: Vec<T> = Vec::with_capacity(all.len());
    for item in all {
        match out.last_mut().filter(|last| by(last) == by(&item)) {
            Some(last) => *last = plus(*last, item),
            None => out.push(item),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One request every `step_ms` for `seconds`.
    fn recorded(seconds: u64, step_ms: u64) -> Slices {
        let mut slices = Slices::new(1);
        for at in (0..seconds * 1000).step_by(step_ms as usize) {
            slices.current(at * 1_000_000).count(Fate::Answered, 100, 1);
            slices.count_key(0, 3);
        }
        slices
    }

    #[test]
    fn a_short_run_has_slices_of_a_tenth_of_a_second_and_a_long_one_fewer_and_wider() {
        let (width, slices) = recorded(5, 10).finish(240);
        assert_eq!((width, slices.len()), (100, 50));
        assert!(slices.iter().all(|slice| slice.requests == 10 && slice.latency == [(100, 10)] && slice.keys == [(0, 3, 10)]));
        let (width, slices) = recorded(900, 50).finish(240);
        assert_eq!((width, slices.len()), (10_000, 90));
        assert_eq!(slices.iter().map(|slice| slice.requests).sum::<u64>(), 900 * 20);
    }

    #[test]
    fn a_recorder_never_keeps_more_than_its_share_of_slices() {
        let slices = recorded(900, 50);
        assert!(slices.done.len() <= MOST + 1, "{slices:?}");
    }

    #[test]
    fn slices_of_different_widths_merge_by_time() {
        let mut long = recorded(600, 50);
        long.merge(recorded(1, 10), &[vec![0, 1, 2, 7]]);
        let (width, slices) = long.finish(10_000);
        assert_eq!(width, 1000);
        let first = &slices[0];
        assert_eq!((first.index, first.requests, first.latency.as_slice()), (0, 120, &[(100, 120)][..]));
        assert_eq!(first.keys, [(0, 3, 20), (0, 7, 100)]);
    }

    #[test]
    fn gaps_have_no_slice() {
        let mut slices = Slices::new(1);
        [0u64, 5_000].into_iter().for_each(|ms| slices.current(ms * 1_000_000).count(Fate::Lost, 0, 0));
        let (_, slices) = slices.finish(240);
        assert_eq!(slices.iter().map(|slice| slice.index).collect::<Vec<_>>(), [0, 50]);
    }
}
