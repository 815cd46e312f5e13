//! The search for the highest rate against servers that do not bear it.

use std::{
    io::Write,
    net::TcpListener,
    time::{Duration, Instant},
};

use outrigger_loadtests::{
    Plan,
    find_max::{Probe, Search},
};

use crate::fixture::{crowd, narrow, plain, plan, read_head};

#[tokio::test]
async fn a_server_that_is_gone_after_a_good_probe_ends_the_search_with_what_was_found() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        drop(listener);
        while read_head(&mut stream).is_some() && stream.write_all(&plain("ok")).is_ok() {}
    });
    let slo = "errors<1%".parse().expect("an objective");
    let search = Search { slo, first: 5.0, most: 10.0, probe: Duration::from_secs(2), precision: 1.0 };
    let one = Plan { preconnect: true, concurrency: 1, threads: 1, ..plan(address, 0) };
    let found = search.run(&one, std::future::pending(), |_| ()).await.expect("what was found");
    assert_eq!(found.probes.iter().map(|probe| (probe.rate, probe.ok)).collect::<Vec<_>>(), [(5.0, true), (10.0, false), (10.0, false)]);
    assert!(found.rate == Some(5.0) && found.report.is_some());
    let why = &found.probes[2].checks[0];
    assert!(why.name == "connect" && why.got.contains("is not reachable"), "{why:?}");
    let error = search.run(&one, std::future::pending(), |_| ()).await.expect_err("nobody there from the beginning");
    assert!(error.to_string().contains("is not reachable"), "{error:#}");
}

#[tokio::test]
async fn a_stop_ends_a_search_on_a_server_that_lets_nobody_in_any_more() {
    let listener = narrow();
    let address = listener.local_addr().expect("bound");
    let accepting = listener.try_clone().expect("a second handle");
    std::thread::spawn(move || {
        let (mut stream, _) = accepting.accept().expect("a connection");
        while read_head(&mut stream).is_some() && stream.write_all(&plain("ok")).is_ok() {}
    });
    let slo = "errors<1%".parse().expect("an objective");
    let search = Search { slo, first: 5.0, most: 1_000.0, probe: Duration::from_secs(1), precision: 0.1 };
    let timeout = Duration::from_millis(400);
    let one = Plan { preconnect: true, concurrency: 1, threads: 1, timeout, connect_timeout: timeout, ..plan(address, 0) };
    let (good, told) = tokio::sync::oneshot::channel();
    let (mut good, mut waiting) = (Some(good), Vec::new());
    let show = |probe: &Probe| {
        if probe.ok {
            waiting = crowd(address);
            good.take().map(|good| good.send(()));
        }
    };
    let stop = async {
        told.await.expect("a good probe");
        // The second of the probes that connect to nobody.
        tokio::time::sleep(Duration::from_millis(600)).await;
    };
    let begin = Instant::now();
    let found = search.run(&one, stop, show).await.expect("what was found");
    assert_eq!((found.interrupted, found.rate), (true, Some(5.0)));
    assert_eq!(found.probes.iter().map(|probe| probe.ok).collect::<Vec<_>>(), [true, false], "{:?}", begin.elapsed());
}
