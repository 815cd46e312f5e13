//! Sockets: bind on all addresses, accept, and hand each connection to what its port speaks.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use socket2::{Domain, Socket, Type};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use super::{
    App,
    args::Protocol,
    http::{Client, Service},
    lifecycle::Handle,
    tcp,
    tls::TlsFacts,
};

/// Everything a connection needs.
#[derive(Clone)]
pub(crate) struct Serving {
    pub(crate) app: Arc<App>,
    pub(crate) protocol: Protocol,
    /// Present when a port speaks TLS.
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) life: Handle,
}

/// Listens on every IPv4 and IPv6 address; on IPv4 alone where the kernel has no IPv6.
pub(crate) fn bind(port: u16) -> io::Result<TcpListener> {
    let everywhere = bind_on(Domain::IPV6, SocketAddr::from(([0_u16; 8], port)));
    let socket = match everywhere {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => bind_on(Domain::IPV4, SocketAddr::from(([0_u8; 4], port)))?,
        other => other?,
    };
    TcpListener::from_std(socket.into())
}

fn bind_on(domain: Domain, address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::STREAM, None)?;
    if domain == Domain::IPV6 {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    Ok(socket)
}

/// Accepts until the instance closes.
pub(crate) async fn accept(listener: TcpListener, serving: Serving) {
    let mut life = serving.life.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = life.closing() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                tokio::spawn(connection(stream, peer, serving.clone()));
            }
            // Out of file descriptors or a client that left: a short pause keeps this from spinning.
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

/// Serves one connection. Its errors are the client's business and end only this connection.
async fn connection(stream: TcpStream, peer: SocketAddr, serving: Serving) {
    // Delay of small writes would show in every measured latency; failing to set it is harmless.
    let _unset = stream.set_nodelay(true);
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    match (serving.protocol, serving.tls.clone()) {
        (Protocol::Tcp, _) => {
            let _ended = tcp::echo(stream, "", "").await;
        }
        (Protocol::TcpHello, _) => {
            let _ended = tcp::echo(stream, "", &serving.app.hello()).await;
        }
        (Protocol::TcpServerFirst, _) => {
            let _ended = tcp::echo(stream, &serving.app.hello(), "").await;
        }
        (Protocol::Tls, Some(acceptor)) => {
            if let Ok(stream) = acceptor.accept(stream).await {
                let client = Client { address: peer, tls: Some(TlsFacts::of(&stream)) };
                serve_http(stream, client, serving).await;
            }
        }
        (Protocol::Http | Protocol::Tls, _) => serve_http(stream, Client { address: peer, tls: None }, serving).await,
    }
}

async fn serve_http<S>(stream: S, client: Client, mut serving: Serving)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // A client that ends its side after the request (HTTP/1.0, nc) still gets its answer.
    builder.http1().half_close(true);
    let service = Service { app: serving.app.clone(), client: Arc::new(client) };
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = serving.life.closing() => connection.as_mut().graceful_shutdown(),
    }
    let _ended = connection.await;
}
