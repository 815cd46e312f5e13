//! Response bodies: a fixed text, a paced stream, or whatever the client sends.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};

/// Any response body of the stand-in.
pub(crate) type Body = UnsyncBoxBody<Bytes, hyper::Error>;

/// Bytes known beforehand; the answer carries their length.
pub(crate) fn fixed(data: impl Into<Bytes>) -> Body {
    Full::new(data.into()).map_err(absurd).boxed_unsync()
}

/// `count` lines `chunk N HOSTNAME:VERSION`, the first at once, each further one `pause` later.
pub(crate) fn paced(count: u64, pause: Duration, signature: String) -> Body {
    let lines = stream::unfold(0_u64, move |sent| {
        let signature = signature.clone();
        async move {
            if sent >= count {
                return None;
            }
            if sent > 0 {
                tokio::time::sleep(pause).await;
            }
            let line = Bytes::from(format!("chunk {} {signature}", sent + 1));
            Some((Ok(Frame::data(line)), sent + 1))
        }
    });
    StreamBody::new(lines).boxed_unsync()
}

/// `length` bytes in chunks, without holding them all.
pub(crate) fn filler(length: u64) -> Body {
    static CHUNK: [u8; 16 * 1024] = [b'.'; 16 * 1024];
    let chunks = stream::unfold(length, |left| async move {
        let take = left.min(CHUNK.len() as u64);
        let chunk = CHUNK.get(..take as usize).filter(|chunk| !chunk.is_empty())?;
        Some((Ok(Frame::data(Bytes::from_static(chunk))), left - take))
    });
    StreamBody::new(chunks).boxed_unsync()
}

fn absurd(never: Infallible) -> hyper::Error {
    match never {}
}
