//! How long a connection may stay.
//!
//! Whatever serves a connection asks its [`Stay`] whenever it has nothing else to do. That costs the reading of a number, unless
//! there is an occasion ([`super::residents`]). HTTP/1 is asked to leave by `connection: close`, HTTP/2 by GOAWAY; bytes and
//! WebSockets cannot be asked, and are cut when others are.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::Downstream;
use super::residents::Residents;
use crate::drain::Phase;

/// How long a connection that shall leave waits for another request, which is answered with `connection: close`. To close it at
/// once would lose a request that is on its way, since HTTP/1 has no GOAWAY. A request that has begun to come has as long again.
const LAST_REQUEST: Duration = Duration::from_millis(500);

/// What a connection does at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// It waits for a request.
    Nothing,
    /// It has part of a request's head.
    Beginning,
    /// It serves one, or carries bytes.
    Serving,
}

/// The stay of one connection. It must be polled by one task alone, since it leaves a waker once.
#[derive(Debug)]
pub struct Stay {
    residents: Arc<Residents>,
    downstream: Arc<Downstream>,
    place: Option<usize>,
    /// When it began to be young.
    born: Option<u64>,
    /// The last occasion looked at.
    occasion: Option<u64>,
    /// It was found that it must leave.
    leaves: bool,
    deadline: Option<(Doing, Pin<Box<Sleep>>)>,
    /// The hour, and the number of requests when it began.
    hour: (u64, u64),
}

impl Stay {
    /// Nothing is set up before the connection waits for something.
    pub fn new(residents: &Arc<Residents>, downstream: &Arc<Downstream>) -> Self {
        let (residents, downstream) = (Arc::clone(residents), Arc::clone(downstream));
        Stay { residents, downstream, place: None, born: None, occasion: None, leaves: false, deadline: None, hour: (0, 0) }
    }

    /// Ready when the connection must end now. `requests` counts those it has had.
    pub fn poll_over(&mut self, doing: Doing, requests: u64, cx: &mut Context<'_>) -> Poll<()> {
        match self.poll_occasion(cx) {
            Poll::Ready(()) if self.look() || (doing != Doing::Serving && self.is_idle(requests)) => return Poll::Ready(()),
            _ if !self.leaves => return Poll::Pending,
            _ => {}
        }
        if self.deadline.as_ref().is_none_or(|(armed, _)| *armed != doing) {
            let until = match doing {
                Doing::Nothing | Doing::Beginning => Some(Instant::now() + LAST_REQUEST),
                Doing::Serving => self.downstream.cut_at(),
            };
            self.deadline = until.map(|until| (doing, Box::pin(tokio::time::sleep_until(until))));
        }
        self.deadline.as_mut().map_or(Poll::Pending, |(_, deadline)| deadline.as_mut().poll(cx))
    }

    /// Whether the connection is so young that what it waits for may come at any moment. The task is woken when it is not.
    pub fn is_young(&mut self, cx: &Context<'_>) -> bool {
        let place = self.enter(cx);
        self.residents.ages() == *self.born.get_or_insert_with(|| self.residents.be_young(place))
    }

    /// Ready when a connection that cannot be asked to leave must end now.
    pub fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_over(Doing::Serving, 0, cx)
    }

    /// Ready when the connection should end in good order.
    pub fn poll_told(&mut self, requests: u64, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.poll_occasion(cx));
        if self.look() || self.leaves || self.is_idle(requests) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Ready when there may be a reason to leave that was not looked at.
    ///
    /// No reason is missed: the number is read and the waker left before anybody looks, so that a reason which comes after the
    /// look changes the number and wakes.
    fn poll_occasion(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let occasion = self.residents.occasions();
        if self.occasion == Some(occasion) {
            return Poll::Pending;
        }
        self.enter(cx);
        self.occasion = Some(occasion);
        Poll::Ready(())
    }

    /// Leaves the waker, once; the place where it is.
    fn enter(&mut self, cx: &Context<'_>) -> usize {
        if let Some(place) = self.place {
            return place;
        }
        let place = self.residents.enter(cx.waker().clone());
        // The first hour had begun before; a number of requests that there never is.
        (self.place, self.hour) = (Some(place), (self.residents.hours(), u64::MAX));
        place
    }

    /// Looks whether the connection must leave; true when at once.
    fn look(&mut self) -> bool {
        let phase = self.residents.phase();
        self.leaves = phase > Phase::Serving || self.downstream.must_leave();
        phase == Phase::Forced
    }

    /// Whether an hour began and ended without a request.
    fn is_idle(&mut self, requests: u64) -> bool {
        let hours = self.residents.hours();
        let (hour, then) = self.hour;
        if hour == hours {
            return false;
        }
        self.hour = (hours, requests);
        then == requests
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.residents.leave(place);
        }
    }
}

#[cfg(test)]
mod tests;
