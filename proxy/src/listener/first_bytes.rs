//! Who speaks first: the wait for the client's first bytes, and what happens when they do not come.
//!
//! On a port whose protocol is not declared the proxy would like to see the client's first bytes before it decides. A
//! server that speaks first (MySQL, SMTP) would never get its turn, so after a short silence the upstream is dialled as for
//! plain TCP, and whichever side speaks decides (contract section 8, item 11). The caller passes no dial where nothing may
//! be sent before the client has proved who it is.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::io::AsyncRead;

use super::inspector::{FirstBytes, Inspected, Inspector};
use crate::tcp::{Refused, Upstream};

/// How long a silent client is kept where nothing better can be done: the idle time-out of connections.
pub const IDLE: Duration = Duration::from_secs(3600);

/// How a connection opened.
#[derive(Debug)]
pub enum Opening {
    /// The client spoke; the upstream that was dialled in the meantime, if one was.
    Client(FirstBytes, Option<Upstream>),
    /// The server spoke, or closed, before the client said anything conclusive.
    Server(Upstream),
    /// The upstream dialled after the silence could not be reached.
    Unreachable(Refused),
    /// The client closed, or never spoke in the time allowed; the reason, if it is worth a line.
    Over(Option<io::Error>),
}

/// Waits `silence` for the client, then dials and lets whoever speaks decide. Without a `dial` the client alone can speak.
pub async fn open<T, F>(inspector: &mut Inspector<T>, silence: Duration, dial: Option<F>) -> Opening
where
    T: AsyncRead + Unpin,
    F: Future<Output = Result<Upstream, Refused>>,
{
    match (inspector.inspect(silence).await, dial) {
        (Ok(Inspected::Silent), Some(dial)) => race(inspector, dial).await,
        (Ok(Inspected::Silent), None) => Opening::Over(Some(io::Error::new(io::ErrorKind::TimedOut, "the client sent nothing"))),
        (result, _) => client(result, None),
    }
}

async fn race<T, F>(inspector: &mut Inspector<T>, dial: F) -> Opening
where
    T: AsyncRead + Unpin,
    F: Future<Output = Result<Upstream, Refused>>,
{
    let mut dialled = None;
    let server = async {
        let upstream = dialled.insert(dial.await?);
        upstream.hear().await;
        Ok(())
    };
    let winner = tokio::select! {
        inspected = inspector.inspect(IDLE) => Some(inspected),
        outcome = server => match outcome {
            Ok(()) => None,
            Err(refused) => return Opening::Unreachable(refused),
        },
    };
    match (winner, dialled) {
        (None, Some(upstream)) => Opening::Server(upstream),
        (None, None) => Opening::Over(None),
        (Some(result), dialled) => client(result, dialled),
    }
}

fn client(result: io::Result<Inspected>, dialled: Option<Upstream>) -> Opening {
    match result {
        Ok(Inspected::Spoke(first)) => Opening::Client(first, dialled),
        Ok(Inspected::Closed | Inspected::Silent) => Opening::Over(None),
        Err(error) => Opening::Over(Some(error)),
    }
}
