//! Whatever the chunking, the cap and the point of failure, every attempt sends the same bytes or none at all.

use std::collections::VecDeque;
use std::convert::Infallible;

use http_body_util::BodyExt;
use proptest::prelude::*;

use super::*;

/// A body of given frames.
#[derive(Debug)]
struct Frames(VecDeque<Frame<Bytes>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}

impl Incoming for Frames {}

fn frames(chunks: &[Vec<u8>], trailers: bool) -> Frames {
    let mut frames: VecDeque<_> = chunks.iter().map(|chunk| Frame::data(Bytes::from(chunk.clone()))).collect();
    if trailers {
        let map = HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), http::HeaderValue::from_static("0"))]);
        frames.push_back(Frame::trailers(map));
    }
    Frames(frames)
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

async fn take<B: Incoming>(body: &mut UploadBody<B>, frames: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..frames {
        if let Some(Ok(frame)) = body.frame().await
            && let Some(data) = frame.data_ref()
        {
            bytes.extend_from_slice(data);
        }
    }
    bytes
}

proptest! {
    #[test]
    fn a_second_attempt_sends_what_the_first_would_have(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 0..12),
        failed_after in 0usize..14,
        trailers in any::<bool>(),
    ) {
        let whole: Vec<u8> = chunks.concat();
        let upload = Upload::new(frames(&chunks, trailers), true, false);
        let (bytes, got_trailers) = block_on(async {
            let mut first = upload.attempt();
            take(&mut first, failed_after).await;
            let second = upload.attempt().collect().await.unwrap();
            let got_trailers = second.trailers().is_some();
            (second.to_bytes(), got_trailers)
        });
        prop_assert_eq!(bytes.as_ref(), whole.as_slice());
        prop_assert_eq!(got_trailers, trailers);
        prop_assert_eq!(upload.received(), whole.len() as u64);
        prop_assert!(upload.is_complete());
    }

    #[test]
    fn the_bytes_are_the_same_whenever_recording_stops(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 0..12),
        failed_after in 0usize..14,
        stopped_after in 0usize..14,
    ) {
        let whole: Vec<u8> = chunks.concat();
        let upload = Upload::new(frames(&chunks, false), true, false);
        let bytes = block_on(async {
            take(&mut upload.attempt(), failed_after).await;
            let mut second = upload.attempt();
            let mut bytes = take(&mut second, stopped_after).await;
            upload.stop_recording();
            bytes.extend_from_slice(&second.collect().await.unwrap().to_bytes());
            bytes
        });
        prop_assert_eq!(bytes, whole);
        prop_assert!(upload.is_complete());
    }
}

#[test]
fn beyond_the_cap_the_attempt_goes_on_and_a_retry_is_refused() {
    let chunks = vec![vec![7; 400_000]; 4];
    let upload = Upload::new(frames(&chunks, false), true, false);
    let sent = block_on(async {
        let mut body = upload.attempt();
        take(&mut body, 2).await;
        assert!(upload.is_replayable());
        800_000 + take(&mut body, 3).await.len()
    });
    assert_eq!(sent, 1_600_000);
    assert!(!upload.is_replayable());
}

#[test]
fn the_places_of_chunks_count_towards_the_cap() {
    let upload = Upload::new(frames(&vec![vec![7]; 100_000], false), true, false);
    let mut body = upload.attempt();
    block_on(take(&mut body, 10_000));
    assert!(upload.is_replayable());
    block_on(take(&mut body, 90_000));
    assert!(!upload.is_replayable());
    assert_eq!(upload.received(), 100_000);
}

#[test]
fn a_body_is_read_ahead_up_to_the_cap_while_its_attempt_takes_no_more() {
    let mut cx = Context::from_waker(Waker::noop());
    for (count, record) in [(4, true), (4, false), (40, true), (40, false)] {
        let chunks: Vec<_> = (0..count).map(|number| vec![number; 100_000]).collect();
        let upload = Upload::new(frames(&chunks, false), record, false);
        assert_eq!(upload.poll_complete(&mut cx).is_ready(), count == 4, "before there is an attempt");
        assert!(upload.received() <= 1_200_000);
        assert!(upload.is_replayable(), "nothing was sent");
        let mut first = upload.attempt();
        let mut sent = block_on(take(&mut first, 2));
        assert_eq!(upload.is_replayable(), record && count == 4);
        assert!(first.poll_overdue(&mut cx).is_pending());
        assert!(upload.received() <= 1_500_000);
        sent.extend(block_on(take(&mut first, 40)));
        assert!(sent == chunks.concat(), "{count} chunks, recorded: {record}");
    }
}

#[test]
fn a_body_that_waits_for_a_100_is_not_read_ahead() {
    let upload = Upload::new(frames(&[vec![1]], false), true, true);
    assert!(upload.poll_complete(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(upload.received(), 0);
}

#[test]
fn an_attempt_that_was_replaced_cannot_read_on() {
    let upload = Upload::new(frames(&[vec![1], vec![2]], false), true, false);
    block_on(async {
        let mut first = upload.attempt();
        let mut second = upload.attempt();
        assert_eq!(first.frame().await.unwrap().unwrap_err(), UploadError::Superseded);
        assert_eq!(take(&mut second, 2).await, [1, 2]);
    });
}

#[test]
fn nothing_is_read_before_the_upstream_says_continue() {
    let upload = Upload::new(frames(&[vec![1]], false), true, true);
    block_on(async {
        let mut body = upload.attempt();
        let early = tokio::time::timeout(Duration::from_millis(30), body.frame()).await;
        assert!(early.is_err());
        assert_eq!(upload.received(), 0);
        upload.open();
        assert_eq!(take(&mut body, 1).await, [1]);
    });
}

/// A body that can be seen to be dropped.
struct Watched(Frames, Arc<()>);

impl Body for Watched {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let _ = &self.1;
        Pin::new(&mut self.0).poll_frame(cx)
    }
}

impl Incoming for Watched {}

#[test]
fn a_body_that_nobody_will_read_any_more_is_let_go() {
    for answered_first in [false, true] {
        let here = Arc::new(());
        let upload = Upload::new(Watched(frames(&[vec![1], vec![2]], false), Arc::clone(&here)), true, false);
        drop(upload.attempt());
        let mut last = upload.attempt();
        assert_eq!(block_on(take(&mut last, 1)), [1]);
        assert_eq!(Arc::strong_count(&here), 2, "it may be sent again");
        if answered_first {
            upload.stop_recording();
            assert_eq!(block_on(take(&mut last, 1)), [2], "it is still being sent");
            drop(last);
        } else {
            drop(last);
            upload.stop_recording();
        }
        assert_eq!(Arc::strong_count(&here), 1);
    }
}

#[test]
fn what_was_recorded_is_let_go_once_no_attempt_can_follow() {
    for sent_first in [false, true] {
        let kept = [Bytes::from(vec![1; 8]), Bytes::from(vec![2; 8])];
        let source = Frames(kept.iter().map(|chunk| Frame::data(chunk.clone())).collect());
        let upload = Upload::new(source, true, false);
        block_on(take(&mut upload.attempt(), 2));
        let mut last = upload.attempt();
        block_on(take(&mut last, 1));
        assert!(kept.iter().all(|chunk| !chunk.is_unique()), "both may be sent again");
        if sent_first {
            drop(last);
            upload.stop_recording();
        } else {
            upload.stop_recording();
            assert_eq!(kept.each_ref().map(Bytes::is_unique), [true, false], "the second is still to be sent");
            drop(last);
        }
        assert!(kept.iter().all(Bytes::is_unique), "sent first: {sent_first}");
    }
}
