//! A connection of the generator and what it has received of an answer.

use std::io::{self, ErrorKind};
use std::net::TcpStream;

use crate::bench::wire;

/// One connection to the target, with at most one request in flight.
#[derive(Default)]
pub struct Connection {
    /// Open, or opened with the next request.
    pub stream: Option<TcpStream>,
    /// A request is in flight.
    pub busy: bool,
    /// When the request was due, in nanoseconds since the start.
    pub due: u64,
    /// Bytes of the request that are sent.
    pub sent: usize,
    /// The beginning of an answer whose head is not complete.
    pub head: Vec<u8>,
    /// The head of the answer whose body is being read, and how much of that is missing.
    pub reading: Option<(wire::Head, u64)>,
    /// Whether writability is waited for.
    pub armed: bool,
}

/// What reading came to.
pub enum Progress {
    /// The answer goes on.
    Partial,
    /// It is all there.
    Complete(wire::Head),
}

impl Connection {
    /// Takes received bytes in; one answer at most is under way.
    ///
    /// # Errors
    /// They are no answer, or more than one.
    pub fn receive(&mut self, bytes: &[u8]) -> io::Result<Progress> {
        let (head, body) = match self.reading {
            Some((head, left)) => (head, left.checked_sub(bytes.len() as u64)),
            None => {
                if !self.head.is_empty() {
                    self.head.extend_from_slice(bytes);
                }
                let seen = if self.head.is_empty() { bytes } else { &self.head };
                match wire::head(seen).map_err(|_| io::Error::from(ErrorKind::InvalidData))? {
                    Some(head) => (head, head.body.checked_sub((seen.len() - head.length) as u64)),
                    None => {
                        if self.head.is_empty() {
                            self.head.extend_from_slice(bytes);
                        }
                        return Ok(Progress::Partial);
                    }
                }
            }
        };
        self.head.clear();
        match body {
            None => Err(ErrorKind::InvalidData.into()),
            Some(0) => {
                self.reading = None;
                Ok(Progress::Complete(head))
            }
            Some(left) => {
                self.reading = Some((head, left));
                Ok(Progress::Partial)
            }
        }
    }
}
