//! `outrigger load --quit-proxy`, in a network of the test's own, where it plays the pod's proxy: a Job's pod may also complete
//! because its proxy is ended for another reason, and so says nothing about this.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};

use crate::bed::PROGRAM;

/// Where a pod's proxy takes orders.
const STATUS: &str = "127.0.0.1:15020";

/// The first lines of all requests that reach this address of the caller's network.
fn requests(address: &str) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind(address).unwrap();
    let (say, said) = mpsc::channel();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut line = String::new();
            let _read = BufReader::new(&stream).read_line(&mut line);
            let _sent = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _nobody_asks = say.send(line.trim_end().to_owned());
        }
    });
    (address, said)
}

/// The status of a run with these further arguments, and what the proxy beside it was told.
fn told(url: Option<&str>, arguments: &[&str]) -> (Option<i32>, Vec<String>) {
    let (server, _requests) = requests("127.0.0.1:0");
    let (_, orders) = requests(STATUS);
    let url = url.map_or_else(|| format!("http://{server}/"), str::to_owned);
    let run = Command::new(PROGRAM).args(["load", &url, "-n", "3", "-c", "1"]).args(arguments).output().unwrap();
    let first = orders.recv_timeout(Duration::from_millis(500)).into_iter();
    (run.status.code(), first.chain(orders.try_iter()).collect())
}

/// Does this in a thread with a network that nobody else is in.
fn alone<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let inside = move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("root");
        assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
        work()
    };
    thread::spawn(inside).join().unwrap()
}

#[test]
fn the_proxy_is_told_to_end_once_when_asked_for_however_the_run_ended() {
    for (url, status) in [(None, 0), (Some("http://127.0.0.1:9/"), 2)] {
        let (ended, orders) = alone(move || told(url, &["--quit-proxy"]));
        assert_eq!(ended, Some(status));
        assert!(matches!(&orders[..], [order] if order.starts_with("POST /quitquitquit ")), "{orders:?}");
    }
    assert_eq!(alone(|| told(None, &[])), (Some(0), Vec::new()));
}
