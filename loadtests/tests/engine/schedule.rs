//! What is measured is the server's: the schedule does not follow it, and nothing is left out.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use outrigger_loadtests::{
    Amount, Cause, Plan,
    find_max::Search,
    schedule::{Arrivals, Stage},
};

use crate::fixture::{answering, plain, plan, report};

#[tokio::test]
async fn a_stall_shows_in_every_request_that_was_due_meanwhile_and_not_only_in_the_one_it_hit() {
    let begin = Arc::new(Mutex::new(None::<Instant>));
    let stalls_once = answering(move || {
        let mut begun = begin.lock().expect("not poisoned");
        let first = *begun.get_or_insert_with(Instant::now);
        // Whoever comes within this window is answered after it; the lock holds the others up.
        let (now, stall) = (first.elapsed(), Duration::from_millis(800)..Duration::from_millis(1000));
        if stall.contains(&now) {
            std::thread::sleep(stall.end - now);
        }
        plain("ok")
    });
    let steady = Plan { amount: Amount::For(Duration::from_secs(2)), rate: Some(500.0), preconnect: true, ..plan(stalls_once, 0) };
    let report = report(steady).await;
    assert_eq!((report.requests, report.error_count()), (1000, 0), "{:?}", report.error_examples);
    // 100 of 1,000 requests were due within the stall: the last tenth waited for up to all of it, half of it on average.
    assert!(report.latency.p95_us > 60_000.0, "corrected: {:?}", report.latency);
    assert!(report.latency.max_us > 150_000.0, "corrected: {:?}", report.latency);
    assert!(report.service.p95_us < report.latency.p95_us / 2.0, "raw, where one request was hit: {:?}", report.service);
}

#[tokio::test]
async fn the_rate_is_kept_within_one_percent_and_the_count_exactly() {
    let server = answering(|| plain("ok"));
    for arrivals in [Arrivals::Even, Arrivals::Uniform] {
        let steady = Plan {
            amount: Amount::For(Duration::from_secs(4)),
            rate: Some(500.0),
            arrivals,
            concurrency: 16,
            threads: 2,
            preconnect: true,
            ..plan(server, 0)
        };
        let report = report(steady).await;
        assert_eq!((report.requests, report.error_count()), (2000, 0), "{:?}", report.error_examples);
        assert!((report.rate / 500.0 - 1.0).abs() < 0.01, "{}", report.rate);
        assert_eq!(report.run.asked_rate, Some(500.0));
    }
}

#[tokio::test]
async fn ramps_send_what_their_area_says() {
    let server = answering(|| plain("ok"));
    let stages = [(0.0, 400.0), (400.0, 200.0)].map(|(from, to)| Stage { from, to, length: Some(Duration::from_secs(1)) });
    let report = report(Plan { stages: stages.to_vec(), concurrency: 8, ..plan(server, u64::MAX) }).await;
    assert_eq!((report.requests, report.error_count()), (500, 0), "{:?}", report.error_examples);
    assert!(report.seconds > 1.9, "{}", report.seconds);
}

#[tokio::test]
async fn each_step_is_told_apart_behind_its_warm_up() {
    let one_at_a_time = Mutex::new(());
    let server = answering(move || {
        let _turn = one_at_a_time.lock().expect("not poisoned");
        // A hundred a second and no more.
        std::thread::sleep(Duration::from_millis(10));
        plain("ok")
    });
    let stages = [20.0, 400.0].map(|rate| Stage::constant(rate, Some(Duration::from_secs(1)))).to_vec();
    let steps = Plan { stages, warmup: Duration::from_millis(300), concurrency: 4, threads: 2, ..plan(server, u64::MAX) };
    let report = report(steps).await;
    let [quiet, loud] = &report.stages[..] else { panic!("two stages: {:?}", report.stages) };
    assert_eq!((quiet.requests, quiet.errors, loud.requests), (20, 0, 400));
    assert!(quiet.rate >= 18.0 && loud.rate <= 110.0, "{} and {}", quiet.rate, loud.rate);
    assert!(loud.errors > 100 && loud.latency.p99_us > 4.0 * quiet.latency.p99_us, "{loud:?}");
}

#[tokio::test]
async fn what_was_due_and_never_sent_counts_as_failed() {
    let slow = answering(|| {
        std::thread::sleep(Duration::from_millis(100));
        plain("ok")
    });
    let begin = Instant::now();
    let report = report(Plan { amount: Amount::For(Duration::from_secs(1)), rate: Some(100.0), ..plan(slow, 0) }).await;
    let not_sent = report.errors.get(&Cause::NotSent).copied().unwrap_or_default();
    assert_eq!((report.requests, report.error_count()), (100, not_sent), "{:?}", report.errors);
    assert!(not_sent >= 75, "a second and its grace are enough for twenty: {not_sent}");
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn the_warm_up_is_sent_and_not_counted() {
    for rate in [Some(100.0), None] {
        let served = Arc::new(AtomicU64::new(0));
        let counting = served.clone();
        let server = answering(move || {
            counting.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(5));
            plain("ok")
        });
        let report = report(Plan { warmup: Duration::from_millis(500), rate, ..plan(server, 40) }).await;
        assert_eq!(report.requests, 40);
        let warm = served.load(Ordering::Relaxed) - 40;
        assert!(warm >= 10 && rate.is_none_or(|_| warm == 50), "{warm} for {rate:?}");
        assert!(report.answers.iter().map(|answer| answer.index).eq(0..40));
    }
}

#[tokio::test]
async fn the_highest_rate_is_found_below_what_the_server_can_do() {
    let one_at_a_time = Mutex::new(());
    let server = answering(move || {
        let _turn = one_at_a_time.lock().expect("not poisoned");
        // 10 ms each: a hundred a second and no more, however many connections there are.
        std::thread::sleep(Duration::from_millis(10));
        plain("ok")
    });
    let search = Search {
        slo: "p90<100ms,errors<0.1%".parse().expect("objectives"),
        first: 20.0,
        most: 10_000.0,
        probe: Duration::from_secs(1),
        precision: 0.2,
    };
    let mut shown = 0;
    let found = search.run(&Plan { concurrency: 8, ..plan(server, 0) }, std::future::pending(), |_| shown += 1).await.expect("a search");
    let rate = found.rate.expect("twenty a second are no burden");
    assert!((20.0..=102.0).contains(&rate), "{rate}: {:?}", found.probes);
    assert!(found.probes.iter().any(|probe| !probe.ok) && found.probes.len() == shown);
    assert_eq!(found.report.map(|report| report.run.asked_rate), Some(Some(rate)));
}
