//! The least that lies between starting a program and an answer through it: fork, exec, the dynamic linker, two sockets, the
//! origin's answer, and the eyes of whoever waits for it. Every proxy pays that, and it differs between programs that measure, as
//! one that forks itself first pays more the larger it is. So the test of the start has this program as its row without proxy,
//! here and in `orbench.py`.
//!
//! Assumptions: one client at a time, which sends a request without a body; an origin whose answers have a length.

use std::convert::Infallible;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use super::wire;

/// What a request or an answer may have in all.
const MOST: usize = 64 << 10;
/// How long one side may take for it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Passes requests from one port of 127.0.0.1 to another, each on a connection of its own, until it is ended by a signal.
///
/// # Errors
/// A port that is taken.
pub fn run(port: u16, origin: u16) -> io::Result<Infallible> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    loop {
        // What goes wrong with one client, who will try again, is no reason to end.
        drop(serve(&listener, origin));
    }
}

fn serve(listener: &TcpListener, origin: u16) -> io::Result<()> {
    let mut client = listener.accept()?.0;
    let request = message(&mut client, |bytes| Ok(bytes.ends_with(b"\r\n\r\n")))?;
    let mut origin = TcpStream::connect((Ipv4Addr::LOCALHOST, origin))?;
    origin.write_all(&request)?;
    let whole = |bytes: &[u8]| {
        let head = wire::head(bytes).map_err(|_| ErrorKind::InvalidData)?;
        Ok(head.is_some_and(|head| (bytes.len() - head.length) as u64 >= head.body))
    };
    client.write_all(&message(&mut origin, whole)?)
}

/// What comes until it is whole.
fn message(stream: &mut TcpStream, whole: impl Fn(&[u8]) -> io::Result<bool>) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    while !whole(&bytes)? {
        match stream.read(&mut buffer)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            length => bytes.extend_from_slice(&buffer[..length]),
        }
        if bytes.len() > MOST {
            return Err(ErrorKind::InvalidData.into());
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::bench::measure;

    #[test]
    fn a_request_is_answered_by_the_origin_and_a_client_that_leaves_does_no_harm() {
        let listeners = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port"));
        let [address, origin] = listeners.each_ref().map(|listener| listener.local_addr().expect("an address"));
        let [listener, far] = listeners;
        let server = thread::spawn(move || (serve(&listener, origin.port()), serve(&listener, origin.port())));
        let far = thread::spawn(move || {
            let mut stream = far.accept()?.0;
            message(&mut stream, |bytes| Ok(bytes.ends_with(b"\r\n\r\n")))?;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        });
        drop(TcpStream::connect(address).expect("connected"));
        measure::get(address).expect("a complete answer with status 200");
        let (left, answered) = server.join().expect("no panic");
        assert!(left.is_err() && answered.is_ok(), "{left:?} {answered:?}");
        far.join().expect("no panic").expect("asked once");
    }
}
