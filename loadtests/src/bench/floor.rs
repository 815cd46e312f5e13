//! The least that lies between starting a program and its first answer: fork, exec, the dynamic linker, a socket, and the eyes
//! of whoever waits for it. Every proxy pays it, and it differs between programs that measure, as one that forks itself first
//! pays more the larger it is. So the test of the start has this program as its row without proxy, here and in `orbench.py`.
//!
//! Assumptions: one client at a time, which sends a request without a body and reads an answer.

use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

/// What a request may have in all.
const REQUEST: usize = 16 << 10;
/// How long a client may take for it.
const PATIENCE: Duration = Duration::from_secs(2);
/// Of the body, as the origins' answers have it.
const BODY: usize = 1024;

/// Answers every request on this port of 127.0.0.1 with 1 KiB, until it is ended by a signal.
///
/// # Errors
/// A port that is taken.
pub fn run(port: u16) -> io::Result<Infallible> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    loop {
        // What goes wrong with one client, who will try again, is no reason to end.
        drop(serve(&listener));
    }
}

fn serve(listener: &TcpListener) -> io::Result<()> {
    answer(listener.accept()?.0)
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let (mut request, mut buffer) = (Vec::new(), [0; 1024]);
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            length => request.extend_from_slice(&buffer[..length]),
        }
        if request.len() > REQUEST {
            return Ok(());
        }
    }
    let mut bytes = format!("HTTP/1.1 200 OK\r\ncontent-length: {BODY}\r\nconnection: close\r\n\r\n").into_bytes();
    bytes.resize(bytes.len() + BODY, b'a');
    stream.write_all(&bytes)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::bench::measure;

    #[test]
    fn a_request_is_answered_as_an_origin_would_and_a_client_that_leaves_does_no_harm() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = thread::spawn(move || (serve(&listener), serve(&listener)));
        drop(TcpStream::connect(address).expect("connected"));
        measure::get(address).expect("a complete answer with status 200");
        let (left, answered) = server.join().expect("no panic");
        assert!(left.is_ok() && answered.is_ok(), "{left:?} {answered:?}");
    }
}
