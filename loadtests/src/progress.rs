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
use tokio::sync::watch;

use crate::{
    live::{Live, Snapshot},
    plan::Amount,
    run::{Phase, Run},
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
    /// Begins to show how a run goes that is about to begin. Does nothing without a terminal.
    pub fn start(run: &Run) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self { thread: None };
        }
        let (end, ended) = mpsc::channel();
        let (lives, amount, phase) = (run.lives(), run.amount(), run.phase());
        let draw = move || follow(&lives, amount, &phase, &ended);
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

fn follow(lives: &[Arc<Live>], amount: Amount, phase: &watch::Receiver<Phase>, ended: &mpsc::Receiver<()>) {
    let bar = ProgressBar::with_draw_target(Some(length(amount)), ProgressDrawTarget::stderr());
    bar.set_style(style(Paint::for_terminal(true)));
    let mut started = None;
    let snapshot = || (Instant::now(), Snapshot::of(lives.iter().map(AsRef::as_ref)));
    let mut past = VecDeque::from([snapshot()]);
    while ended.recv_timeout(TICK) == Err(mpsc::RecvTimeoutError::Timeout) {
        if let Phase::Send(start) = *phase.borrow() {
            started = Some(start);
        }
        let now = snapshot();
        if let (Some(start), Some((then, earlier))) = (started, past.front()) {
            let position = match amount {
                Amount::Requests(_) => now.1.requests,
                Amount::For(_) => millis(start.elapsed()),
            };
            bar.set_position(position.min(length(amount)));
            bar.set_message(line(&now.1, &now.1.since(earlier), now.0 - *then, Paint::for_terminal(true)));
        } else {
            bar.set_message("making connections");
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
    let quantile = |quantile| recent.latency(quantile).map_or("none".to_owned(), |ns| time(ns as f64 / 1000.0));
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
        let silent = line(&now, &now.since(&now), TICK, Paint::Plain);
        assert_eq!(silent, "151 requests  0/s  p50 none  p99 none  1 errors", "a server that hangs is not a quick one");
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
