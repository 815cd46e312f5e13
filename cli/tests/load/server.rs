//! An HTTP/1.1 server that answers every request with the same status, signed by pods of one version in the order given.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// The server's address; it serves until the test's process ends.
pub fn start(status: u16, pods: &'static [&'static str]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("an address");
    let turn = Arc::new(AtomicUsize::new(0));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let turn = turn.clone();
            thread::spawn(move || serve(stream, status, pods, &turn));
        }
    });
    address
}

/// The URL of a server that is content with every request, its one pod being `web-1`.
pub fn content() -> String {
    url(200, &["web-1"])
}

pub fn url(status: u16, pods: &'static [&'static str]) -> String {
    format!("http://{}/", start(status, pods))
}

fn serve(stream: TcpStream, status: u16, pods: &[&str], turn: &AtomicUsize) {
    let Ok(mut out) = stream.try_clone() else { return };
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    // Requests have no body, so that an empty line ends one.
    for _end_of_request in lines.filter(String::is_empty) {
        let pod = pods[turn.fetch_add(1, Ordering::Relaxed) % pods.len()];
        let answer = format!("HTTP/1.1 {status} Because\r\nx-pod: {pod}\r\nx-version: v1\r\ncontent-length: 0\r\n\r\n");
        if out.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}
