//! Who is told to leave, when, and that nobody is forgotten.

use std::future::poll_fn;

use tokio::sync::watch;

use super::super::{Direction, Door};
use super::*;
use crate::drain::{Drain, Drainer};
use crate::testing;

/// A worker, and the way in of its connections.
struct Place {
    drainer: Drainer,
    door: watch::Sender<Option<Instant>>,
    doors: watch::Sender<u64>,
    residents: Arc<Residents>,
}

impl Place {
    fn new() -> Place {
        let ((drainer, drain), doors) = (Drain::channel(), watch::Sender::new(0));
        let residents = Residents::new(&drain, doors.subscribe());
        Place { drainer, door: watch::Sender::new(None), doors, residents }
    }

    fn stay(&self) -> Stay {
        let downstream = Downstream { door: Some(Door::of(&self.door)), ..testing::downstream(Direction::Gateway) };
        Stay::new(&self.residents, &Arc::new(downstream))
    }

    /// Shuts the door; what is left is cut ten seconds later.
    fn shut(&self) {
        self.door.send_replace(Some(Instant::now() + Duration::from_secs(10)));
        self.doors.send_modify(|count| *count += 1);
    }
}

/// Tenths of seconds until a stay is over.
async fn over(mut stay: Stay, doing: Doing) -> u128 {
    let begin = Instant::now();
    poll_fn(|cx| stay.poll_over(doing, 7, cx)).await;
    (begin.elapsed().as_millis() + 50) / 100
}

#[tokio::test(start_paused = true)]
async fn a_shut_door_ends_who_waits_soon_and_who_serves_with_the_drain_duration() {
    let place = Place::new();
    let change = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        place.shut();
    };
    let (nothing, serving) = (over(place.stay(), Doing::Nothing), over(place.stay(), Doing::Serving));
    let (nothing, serving, ()) = tokio::join!(nothing, serving, change);
    assert_eq!((nothing, serving), (15, 110));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_begins_to_come_has_half_a_second_of_its_own_once() {
    let (place, begin) = (Place::new(), Instant::now());
    let mut stay = place.stay();
    place.drainer.advance(Phase::Draining);
    let waits = tokio::time::timeout(Duration::from_millis(400), poll_fn(|cx| stay.poll_over(Doing::Nothing, 7, cx)));
    assert!(waits.await.is_err());
    let comes = tokio::time::timeout(Duration::from_millis(400), poll_fn(|cx| stay.poll_over(Doing::Beginning, 7, cx)));
    assert!(comes.await.is_err());
    poll_fn(|cx| stay.poll_over(Doing::Beginning, 7, cx)).await;
    assert_eq!((begin.elapsed().as_millis() + 50) / 100, 9, "more of the head gives no more time");
}

#[tokio::test(start_paused = true)]
async fn what_happened_before_the_first_wait_is_not_missed() {
    let place = Place::new();
    let stays = [place.stay(), place.stay()];
    place.shut();
    let [nothing, serving] = stays;
    assert_eq!(over(nothing, Doing::Nothing).await, 5);
    assert_eq!(over(serving, Doing::Serving).await, 95, "half a second of ten is over");
    place.drainer.advance(Phase::Forced);
    assert_eq!(over(place.stay(), Doing::Serving).await, 0);
}

#[tokio::test(start_paused = true)]
async fn what_happens_between_the_look_and_the_next_wait_is_not_missed() {
    let place = Place::new();
    let mut stay = place.stay();
    let looked = poll_fn(|cx| Poll::Ready(stay.poll_cut(cx)));
    assert_eq!(looked.await, Poll::Pending);
    place.shut();
    assert_eq!(over(stay, Doing::Serving).await, 100);
}

#[tokio::test(start_paused = true)]
async fn bytes_live_through_draining_and_end_when_it_is_forced() {
    let place = Place::new();
    let change = async {
        place.drainer.advance(Phase::Draining);
        tokio::time::sleep(Duration::from_secs(60)).await;
        place.drainer.advance(Phase::Forced);
    };
    let (cut, ()) = tokio::join!(over(place.stay(), Doing::Serving), change);
    assert_eq!(cut, 600);
}

#[tokio::test(start_paused = true)]
async fn an_hour_without_a_request_ends_who_waits_and_not_who_serves() {
    let place = Place::new();
    let mut serving = place.stay();
    let (nothing, half) = tokio::join!(over(place.stay(), Doing::Nothing), over(place.stay(), Doing::Beginning));
    assert_eq!((nothing, half), (2 * 36_000, 2 * 36_000), "the first hour had begun before");
    assert_eq!(poll_fn(|cx| Poll::Ready(serving.poll_cut(cx))).await, Poll::Pending);
}

#[tokio::test(start_paused = true)]
async fn http2_is_told_when_the_process_drains() {
    let place = Place::new();
    let mut stay = place.stay();
    assert_eq!(poll_fn(|cx| Poll::Ready(stay.poll_told(0, cx))).await, Poll::Pending);
    place.drainer.advance(Phase::Draining);
    poll_fn(|cx| stay.poll_told(0, cx)).await;
}
