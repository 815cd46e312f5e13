//! Connections: dialled when needed, kept alive between requests, shared by HTTP/2 requests.

use std::{io, sync::Arc};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::Mutex,
};
use tokio_rustls::TlsConnector;

use crate::{
    answer::{Cause, Failure},
    plan::{Plan, Target},
};

pub(crate) type RequestBody = Full<Bytes>;

/// A connection ready for requests.
pub(crate) enum Sender {
    Http1(http1::SendRequest<RequestBody>),
    Http2(http2::SendRequest<RequestBody>),
}

/// Where connections go to and what they speak.
pub(crate) struct Dialer {
    pub(crate) target: Target,
    connect: Option<std::net::SocketAddr>,
    tls: Option<Arc<ClientConfig>>,
    http2: bool,
}

impl Dialer {
    pub(crate) fn new(plan: &Plan, target: Target, tls: Option<Arc<ClientConfig>>) -> Self {
        Self { target, connect: plan.connect, tls, http2: plan.http2 || plan.grpc }
    }

    /// A TCP connection to the first address that takes one.
    pub(crate) async fn tcp(&self) -> Result<TcpStream, Failure> {
        let addresses = match self.connect {
            Some(address) => vec![address],
            None => self.resolve().await?,
        };
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    // Without it small requests wait for acknowledgements; failing to set it only costs time.
                    let _unset = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(Failure::new(if last.kind() == io::ErrorKind::ConnectionRefused { Cause::Refused } else { Cause::Connect }, last))
    }

    async fn resolve(&self) -> Result<Vec<std::net::SocketAddr>, Failure> {
        let found = tokio::net::lookup_host((self.target.host.as_str(), self.target.port)).await;
        found.map(Iterator::collect).map_err(|error| Failure::new(Cause::Dns, error))
    }

    async fn http(&self) -> Result<Sender, Failure> {
        let stream = self.tcp().await?;
        let Some(config) = &self.tls else {
            return self.handshake(stream).await;
        };
        let failed = |error: &dyn std::fmt::Display| Failure::new(Cause::Tls, error);
        let name = ServerName::try_from(self.target.host.clone()).map_err(|error| failed(&error))?;
        let secured = TlsConnector::from(config.clone()).connect(name, stream).await.map_err(|error| failed(&error))?;
        self.handshake(secured).await
    }

    async fn handshake<S>(&self, stream: S) -> Result<Sender, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let failed = |error| Failure::new(Cause::Tls, error);
        // The drivers end with their connection; a request that suffers from it reports the error itself.
        if self.http2 {
            let builder = http2::Builder::new(TokioExecutor::new());
            let (sender, driver) = builder.handshake(TokioIo::new(stream)).await.map_err(failed)?;
            tokio::spawn(driver);
            return Ok(Sender::Http2(sender));
        }
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        tokio::spawn(driver);
        Ok(Sender::Http1(sender))
    }
}

/// One place for a connection. HTTP/1.1 workers have one each; HTTP/2 workers share.
#[derive(Default)]
pub(crate) struct Slot(Mutex<Option<Sender>>);

impl Slot {
    /// The slot's connection if it can still take a request, else a new one. An HTTP/1.1 connection is taken out of the
    /// slot and to be given back by [`Slot::keep`]; an HTTP/2 connection is shared.
    pub(crate) async fn sender(&self, dialer: &Dialer) -> Result<Sender, Failure> {
        let mut place = self.0.lock().await;
        if let Some(Sender::Http2(shared)) = place.as_mut()
            && !shared.is_closed()
            && shared.ready().await.is_ok()
        {
            return Ok(Sender::Http2(shared.clone()));
        }
        if let Some(Sender::Http1(mut own)) = place.take()
            && own.ready().await.is_ok()
        {
            return Ok(Sender::Http1(own));
        }
        let fresh = dialer.http().await?;
        if let Sender::Http2(shared) = &fresh {
            *place = Some(Sender::Http2(shared.clone()));
        }
        Ok(fresh)
    }

    /// Gives an HTTP/1.1 connection back after its answer was read to the end.
    pub(crate) async fn keep(&self, sender: Sender) {
        if let Sender::Http1(own) = sender {
            *self.0.lock().await = Some(Sender::Http1(own));
        }
    }

    /// Forgets the connection, so that the next request dials.
    pub(crate) async fn forget(&self) {
        *self.0.lock().await = None;
    }
}
