//! Progress on a terminal while a run goes on: how far, how fast, percentiles of the last second, errors.
//!
//! Nothing is drawn unless standard error is a terminal, so piped output stays as it is.

use std::{
    collections::VecDeque,
    io::IsTerminal,
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    live::{Live, Snapshot},
    plan::Amount,
    table::{Paint, number, time},
};

const TICK: Duration = Duration::from_millis(250);
/// Figures are of so many ticks.
const WINDOW: usize = 4;

/// A line on the terminal, redrawn four times a second by a thread of its own.
#[derive(Debug)]
pub struct Progress {
    thread: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
}

impl Progress {
    /// Begins to show what these recorders count; `amount` is the whole run's. Does nothing without a terminal.
    pub fn start(lives: Vec<Arc<Live>>, amount: Amount) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self { thread: None };
        }
        let (end, ended) = mpsc::channel();
        let draw = move || watch(&lives, amount, &ended);
        // Without a thread to spare a run goes on unseen.
        let thread = std::thread::Builder::new().name("progress".to_owned()).spawn(draw).ok();
        Self { thread: thread.map(|thread| (end, thread)) }
    }

    /// Takes the line away.
    pub fn finish(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some((end, thread)) = self.thread.take() {
            drop(end);
            let _panicked = thread.join();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}

fn watch(lives: &[Arc<Live>], amount: Amount, ended: &mpsc::Receiver<()>) {
    let bar = ProgressBar::with_draw_target(Some(length(amount)), ProgressDrawTarget::stderr());
    bar.set_style(style(Paint::for_terminal(true)));
    let start = Instant::now();
    let snapshot = || (Instant::now(), Snapshot::of(lives.iter().map(AsRef::as_ref)));
    let mut past = VecDeque::from([snapshot()]);
    while ended.recv_timeout(TICK) == Err(mpsc::RecvTimeoutError::Timeout) {
        let now = snapshot();
        if let Some((then, earlier)) = past.front() {
            let position = match amount {
                Amount::Requests(_) => now.1.requests,
                Amount::For(_) => millis(start.elapsed()),
            };
            bar.set_position(position.min(length(amount)));
            bar.set_message(line(&now.1, &now.1.since(earlier), now.0 - *then, Paint::for_terminal(true)));
        }
        past.push_back(now);
        if past.len() > WINDOW {
            past.pop_front();
        }
    }
    bar.finish_and_clear();
}

fn style(paint: Paint) -> ProgressStyle {
    let template = match paint {
        Paint::Colour => "{elapsed:>4} {bar:12.green/8} {wide_msg}",
        Paint::Plain => "{elapsed:>4} {bar:12} {wide_msg}",
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─")
}

fn length(amount: Amount) -> u64 {
    match amount {
        Amount::Requests(requests) => requests,
        Amount::For(time) => millis(time),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What is shown: totals, and rate and percentiles of what lies between two looks.
fn line(total: &Snapshot, recent: &Snapshot, over: Duration, paint: Paint) -> String {
    let rate = recent.requests as f64 / over.as_secs_f64().max(1e-3);
    let quantile = |quantile| time(recent.latency(quantile) as f64 / 1000.0);
    let failed = total.errors + total.refused;
    let errors = format!("{failed} errors");
    let errors = if failed > 0 { paint.bad(&errors) } else { errors };
    format!("{} requests  {}/s  p50 {}  p99 {}  {errors}", total.requests, number(rate.round()), quantile(0.5), quantile(0.99))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{histogram::bucket, live::Fate};

    #[test]
    fn the_line_shows_totals_and_what_happened_lately() {
        let live = Live::default();
        (0..100).for_each(|_| live.count(Fate::Answered, bucket(50_000_000)));
        let earlier = Snapshot::of([&live].into_iter());
        (0..50).for_each(|_| live.count(Fate::Answered, bucket(2_000_000)));
        live.count(Fate::Lost, bucket(1));
        let now = Snapshot::of([&live].into_iter());
        let shown = line(&now, &now.since(&earlier), Duration::from_millis(500), Paint::Plain);
        assert_eq!(shown, "151 requests  102/s  p50 2.007 ms  p99 2.007 ms  1 errors");
        assert!(line(&now, &now, TICK, Paint::Colour).ends_with("\x1b[31m1 errors\x1b[0m"));
    }

    #[test]
    fn both_styles_are_valid_templates() {
        for template in [Paint::Colour, Paint::Plain] {
            let bar = ProgressBar::hidden();
            bar.set_style(style(template));
            bar.finish();
        }
    }
}
