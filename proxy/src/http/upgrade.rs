//! Upgrades: WebSocket becomes a tunnel, everything else is refused (Istio semantics 8.4).

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use http::header::{CONNECTION, UPGRADE};
use http::request::Parts;
use http::{Method, Version};

use super::headers::Seen;
use crate::listener::{DownstreamIo, Stay};
use crate::router::stream::Stream;
use crate::tcp::Copy;
use crate::upstream::http1::Tunnel;
use crate::upstream::pool::Connection;

/// What a request asks to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrade {
    /// Nothing; also `h2c`, which is ignored.
    No,
    /// A WebSocket.
    WebSocket,
    /// Something that is not allowed: 403.
    Refused,
}

impl Upgrade {
    /// What `head` asks for. CONNECT is not among the allowed upgrades.
    pub fn of(head: &Parts, seen: Seen) -> Self {
        if head.method == Method::CONNECT {
            return Upgrade::Refused;
        }
        if !seen.hop_by_hop || head.version != Version::HTTP_11 || !names_upgrade(head) {
            return Upgrade::No;
        }
        let Some(token) = head.headers.get(UPGRADE) else { return Upgrade::No };
        let token = token.as_bytes().trim_ascii();
        if token.eq_ignore_ascii_case(b"websocket") {
            if head.method == Method::GET { Upgrade::WebSocket } else { Upgrade::Refused }
        } else if token.eq_ignore_ascii_case(b"h2c") {
            Upgrade::No
        } else {
            Upgrade::Refused
        }
    }
}

fn names_upgrade(head: &Parts) -> bool {
    let tokens = head.headers.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    tokens.into_iter().any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}

/// What a connection becomes when both sides have switched.
#[derive(Debug)]
pub struct Switched {
    server: Tunnel,
    /// Counts the server's connection until it is closed.
    connection: Arc<Connection>,
    stream: Box<Stream>,
}

impl Switched {
    /// A tunnel to `server`, which keeps the books of the exchange from now on.
    pub fn new((server, connection): (Tunnel, Arc<Connection>), mut stream: Box<Stream>) -> Box<Self> {
        // However it ends, it was no exchange that broke off.
        stream.tunnelled(0, 0);
        Box::new(Switched { server, connection, stream })
    }

    /// Carries bytes both ways until both sides have ended, each of which the other is told of at once, until one fails, or until
    /// the client's connection may stay no longer. A side that has ended may still be sent to for as long as the other likes.
    pub async fn carry(self: Box<Self>, client: DownstreamIo, mut stay: Stay) {
        let Switched { server, connection: _connection, mut stream } = *self;
        let mut copy = Copy::without_pipes(client, server);
        poll_fn(|cx| match copy.poll(cx) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => stay.poll_cut(cx),
        })
        .await;
        stream.tunnelled(copy.received(), copy.sent());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::headers::scan;

    fn asked(method: Method, version: Version, headers: &[(&str, &str)]) -> Upgrade {
        let mut request = http::Request::builder().method(method).version(version).uri("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let head = request.body(()).unwrap().into_parts().0;
        Upgrade::of(&head, scan(&head.headers))
    }

    #[test]
    fn only_websockets_may_upgrade() {
        let upgrade = |token| asked(Method::GET, Version::HTTP_11, &[("connection", "keep-alive, Upgrade"), ("upgrade", token)]);
        assert_eq!(upgrade("WebSocket"), Upgrade::WebSocket);
        assert_eq!(upgrade("h2c"), Upgrade::No);
        assert_eq!(upgrade("tls/1.0"), Upgrade::Refused);
        assert_eq!(asked(Method::GET, Version::HTTP_11, &[("upgrade", "websocket")]), Upgrade::No, "connection does not name it");
        assert_eq!(asked(Method::CONNECT, Version::HTTP_11, &[]), Upgrade::Refused);
        assert_eq!(asked(Method::GET, Version::HTTP_10, &[("connection", "upgrade"), ("upgrade", "websocket")]), Upgrade::No);
    }
}
