//! When each request is due: a schedule that is fixed before the first one is sent.
//!
//! The due times depend on the rates alone, never on how fast answers come: a server that stalls does not slow the
//! schedule down, it makes the requests behind the stall late, and their latency counts from when they were due. That is
//! what keeps an open loop free of coordinated omission.
//!
//! Request number k is due when the integral of the rate reaches k. Jitter moves that number, not the time, so that it
//! follows ramps by itself: a Poisson process with changing rate is one of rate 1 on this stretched axis.

use std::time::Duration;

/// How due times lie around their even distance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Arrivals {
    /// Exactly even.
    #[default]
    Even,
    /// Each somewhere within the distance to the next, all places alike.
    Uniform,
    /// Independent of each other, as of many users: exponential distances.
    Poisson,
}

/// A stretch of time with a rate that stays or changes linearly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stage {
    /// Requests per second at its begin.
    pub from: f64,
    /// Requests per second at its end.
    pub to: f64,
    /// How long it lasts; `None` without end, with rate `from`.
    pub length: Option<Duration>,
}

impl Stage {
    /// A constant rate.
    pub fn constant(rate: f64, length: Option<Duration>) -> Self {
        Self { from: rate, to: rate, length }
    }

    fn seconds(&self) -> f64 {
        self.length.map_or(f64::INFINITY, |length| length.as_secs_f64())
    }

    /// How many requests fall into it.
    fn requests(&self) -> f64 {
        if self.length.is_none() { f64::INFINITY } else { (self.from + self.to) / 2.0 * self.seconds() }
    }

    /// Seconds into the stage at which `count` requests have been due. The usual root formula divides by the slope; this
    /// form of it does not, and so holds for a constant rate too.
    fn time_of(&self, count: f64) -> f64 {
        if self.length.is_none() {
            return count / self.from;
        }
        let slope = (self.to - self.from) / self.seconds();
        let root = (self.from * self.from + 2.0 * slope * count).max(0.0).sqrt();
        let sum = self.from + root;
        if sum > 0.0 { (2.0 * count / sum).min(self.seconds()) } else { 0.0 }
    }
}

/// How long it takes until so many requests have been due, or all that there are; `None` for ever.
pub(crate) fn time_for(stages: &[Stage], requests: u64) -> Option<Duration> {
    let mut left = if requests == u64::MAX { f64::INFINITY } else { requests as f64 };
    let mut seconds = 0.0;
    for stage in stages {
        if left < stage.requests() {
            seconds += stage.time_of(left);
            break;
        }
        left -= stage.requests();
        seconds += stage.seconds();
    }
    Duration::try_from_secs_f64(seconds).ok()
}

/// One request's place in the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Its number from 0, over all stages.
    pub number: u64,
    /// When it is due, in nanoseconds since the start.
    pub at: u64,
}

/// The due times, one after the other.
#[derive(Clone, Debug)]
pub struct Schedule {
    stages: Vec<Stage>,
    arrivals: Arrivals,
    random: u64,
    /// Requests handed out.
    number: u64,
    /// The current stage, the requests and seconds before it.
    stage: usize,
    requests_before: f64,
    seconds_before: f64,
    /// Sum of the distances drawn so far, for Poisson.
    drawn: f64,
}

/// Room for rounding: a count this close to the stage's end belongs to the next stage.
const EPSILON: f64 = 1e-6;

impl Schedule {
    /// Stages one after the other. Equal seeds give equal schedules.
    pub fn new(stages: Vec<Stage>, arrivals: Arrivals, seed: u64) -> Self {
        Self { stages, arrivals, random: seed, number: 0, stage: 0, requests_before: 0.0, seconds_before: 0.0, drawn: 0.0 }
    }

    /// The whole length; `None` when the last stage has no end.
    pub fn length(&self) -> Option<Duration> {
        self.stages.iter().map(|stage| stage.length).sum()
    }

    /// The next request's place in operational time, where requests come at rate 1.
    fn place(&mut self) -> f64 {
        match self.arrivals {
            Arrivals::Even => self.number as f64,
            Arrivals::Uniform => self.number as f64 + self.fraction(),
            Arrivals::Poisson => {
                self.drawn -= (1.0 - self.fraction()).ln();
                self.drawn
            }
        }
    }

    /// The next number of splitmix64, as a fraction below 1.
    fn fraction(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

impl Iterator for Schedule {
    type Item = Due;

    fn next(&mut self) -> Option<Due> {
        let place = self.place();
        loop {
            let stage = self.stages.get(self.stage)?;
            let within = place - self.requests_before;
            if within + EPSILON < stage.requests() {
                let seconds = self.seconds_before + stage.time_of(within.max(0.0));
                let due = Due { number: self.number, at: (seconds * 1e9) as u64 };
                self.number += 1;
                return Some(due);
            }
            self.requests_before += stage.requests();
            self.seconds_before += stage.seconds();
            self.stage += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    fn times(stages: Vec<Stage>, arrivals: Arrivals) -> Vec<u64> {
        Schedule::new(stages, arrivals, 7).map(|due| due.at).collect()
    }

    #[test]
    fn a_constant_rate_gives_exactly_its_requests_at_exactly_even_distances() {
        let times = times(vec![Stage::constant(1000.0, seconds(30))], Arrivals::Even);
        assert_eq!(times.len(), 30_000);
        assert!(times.iter().enumerate().all(|(number, at)| at.abs_diff(number as u64 * 1_000_000) <= 1), "every millisecond");
    }

    #[test]
    fn a_rate_that_does_not_divide_the_second_does_not_drift() {
        let times = times(vec![Stage::constant(7.0, seconds(1000))], Arrivals::Even);
        assert_eq!(times.len(), 7000);
        assert!(times[6993].abs_diff(999_000_000_000) <= 10);
    }

    #[test]
    fn a_ramp_sends_what_its_mean_rate_says_and_ever_faster() {
        let times = times(vec![Stage { from: 100.0, to: 1000.0, length: seconds(30) }], Arrivals::Even);
        assert_eq!(times.len(), 16_500);
        assert!(times.windows(3).all(|three| three[1] - three[0] + 1 >= three[2] - three[1]), "distances never grow");
        let halfway = times.iter().filter(|at| **at < 15_000_000_000).count();
        assert!(halfway.abs_diff(4_875) <= 1, "{halfway} in the first half: 15 s at a mean of 325/s");
    }

    #[test]
    fn a_ramp_may_begin_or_end_at_nothing() {
        for (from, to) in [(0.0, 10.0), (10.0, 0.0)] {
            let times = times(vec![Stage { from, to, length: seconds(10) }], Arrivals::Even);
            assert_eq!(times.len(), 50);
            assert!(times.is_sorted() && times.iter().all(|at| *at <= 10_000_000_000));
        }
    }

    #[test]
    fn steps_follow_each_other_without_a_gap() {
        let steps = vec![Stage::constant(100.0, seconds(10)), Stage::constant(200.0, seconds(10))];
        let schedule = Schedule::new(steps, Arrivals::Even, 0);
        assert_eq!(schedule.length(), seconds(20));
        let times: Vec<u64> = schedule.map(|due| due.at).collect();
        assert_eq!(times.len(), 3000);
        assert_eq!((times[999], times[1000], times[1001]), (9_990_000_000, 10_000_000_000, 10_005_000_000));
    }

    #[test]
    fn so_many_requests_take_until_the_next_would_be_due() {
        let stages = [Stage::constant(100.0, seconds(10)), Stage { from: 100.0, to: 300.0, length: seconds(10) }];
        let takes = |requests| time_for(&stages, requests).map(|time| time.as_millis());
        assert_eq!([0, 50, 1000, 1750, 3000, 4000, u64::MAX].map(takes), [0, 500, 10_000, 15_000, 20_000, 20_000, 20_000].map(Some));
        let endless = [Stage::constant(2.0, None)];
        assert_eq!((time_for(&endless, 3), time_for(&endless, u64::MAX)), (Some(Duration::from_millis(1_500)), None));
    }

    #[test]
    fn uniform_jitter_keeps_every_request_within_its_own_distance() {
        let times = times(vec![Stage::constant(1000.0, seconds(10))], Arrivals::Uniform);
        assert_eq!(times.len(), 10_000);
        assert!(times.iter().enumerate().all(|(number, at)| (number as u64..=number as u64 + 1).contains(&(at / 1_000_000))));
        assert!(times.windows(2).any(|two| two[1] - two[0] > 1_500_000), "distances differ");
    }

    #[test]
    fn poisson_arrivals_have_the_mean_and_the_spread_of_exponential_distances() {
        let times = times(vec![Stage::constant(1000.0, seconds(100))], Arrivals::Poisson);
        assert!(times.len().abs_diff(100_000) < 1500, "{}: within five standard deviations", times.len());
        let distances: Vec<f64> = times.windows(2).map(|two| (two[1] - two[0]) as f64 / 1e6).collect();
        let mean = distances.iter().sum::<f64>() / distances.len() as f64;
        let variance = distances.iter().map(|distance| (distance - mean).powi(2)).sum::<f64>() / distances.len() as f64;
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.03, "the deviation of an exponential distance is its mean");
        let again = Schedule::new(vec![Stage::constant(1000.0, seconds(100))], Arrivals::Poisson, 7);
        assert!(again.map(|due| due.at).eq(times), "the schedule is fixed beforehand");
    }

    #[test]
    fn without_an_end_it_goes_on() {
        let mut schedule = Schedule::new(vec![Stage::constant(10.0, None)], Arrivals::Even, 0);
        assert_eq!(schedule.length(), None);
        assert_eq!(schedule.nth(10_000), Some(Due { number: 10_000, at: 1_000_000_000_000 }));
    }
}
