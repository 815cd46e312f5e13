//! Making connections: name, address, TCP or unix socket, TLS.

use std::{
    cell::RefCell,
    io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use rustls::{AlertDescription, ClientConfig, pki_types::ServerName};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use crate::{
    answer::{Cause, Failure},
    io::{Io, Socket},
    pace::nanos,
    plan::Plan,
    recorder::Connection,
    target::{Scheme, Target},
    tls,
};

/// What is said of a server that has TLS and no HTTP/2.
const NO_HTTP2: &str = "the server does not choose HTTP/2 by ALPN";
/// How long a name's addresses are used before it is looked up again.
const DNS_AGE: Duration = Duration::from_secs(5);

/// `HOST:PORT:ADDRESS`, as curl takes it: connections to that host and port go to that address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolve {
    /// Host as in the URL; `*` is any.
    pub host: String,
    /// Port as in the URL.
    pub port: u16,
    /// Where to connect.
    pub address: IpAddr,
}

impl FromStr for Resolve {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = || {
            let (host, rest) = text.split_once(':').filter(|(host, _)| !host.is_empty())?;
            let (port, address) = rest.split_once(':')?;
            let address = address.trim_matches(['[', ']']).parse().ok()?;
            Some(Self { host: host.to_ascii_lowercase(), port: port.parse().ok()?, address })
        };
        parsed().ok_or_else(|| format!("{text:?}: expected HOST:PORT:ADDRESS"))
    }
}

impl std::fmt::Display for Resolve {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.address {
            IpAddr::V4(address) => write!(f, "{}:{}:{address}", self.host, self.port),
            IpAddr::V6(address) => write!(f, "{}:{}:[{address}]", self.host, self.port),
        }
    }
}

/// Where a dialer connects to.
enum Place {
    Address(SocketAddr),
    Unix(PathBuf),
    Name(String, u16),
}

/// Makes the connections of one thread to one origin.
pub(crate) struct Dialer {
    place: Place,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    http2: bool,
    timeout: Duration,
    resolved: RefCell<Option<(Instant, Vec<SocketAddr>)>>,
}

impl Dialer {
    /// # Errors
    /// A TLS server name that is none.
    pub(crate) fn new(plan: &Plan, target: &Target, tls: Option<Arc<ClientConfig>>) -> anyhow::Result<Self> {
        let name = plan.tls.sni.as_ref().unwrap_or(&target.host);
        let named = |config| {
            Ok::<_, anyhow::Error>((
                config,
                ServerName::try_from(name.clone()).with_context(|| format!("TLS: {name:?} is no server name"))?,
            ))
        };
        Ok(Self {
            place: place(plan, target),
            tls: tls.filter(|_| target.scheme == Scheme::Https).map(named).transpose()?,
            http2: plan.speaks_http2(),
            timeout: plan.connect_timeout,
            resolved: RefCell::default(),
        })
    }

    /// As [`Dialer::connect`], with the time it took.
    pub(crate) async fn timed(&self) -> Result<(Io, Connection), Failure> {
        let begin = Instant::now();
        let io = self.connect().await?;
        Ok((io, Connection::New { connect_ns: nanos(begin.elapsed()) }))
    }

    /// A connection ready for the protocol.
    pub(crate) async fn connect(&self) -> Result<Io, Failure> {
        let socket = tokio::time::timeout(self.timeout, self.socket()).await;
        let socket = socket.unwrap_or_else(|_| Err(Failure::new(Cause::ConnectTimeout, format!("no connection in {:?}", self.timeout))))?;
        let Some((config, name)) = &self.tls else { return Ok(Io::Plain(socket)) };
        let session = tokio::time::timeout(self.timeout, TlsConnector::from(config.clone()).connect(name.clone(), socket)).await;
        let session =
            session.map_err(|_| Failure::new(Cause::Tls, format!("no TLS session in {:?}: the server may not speak TLS", self.timeout)))?;
        let session = session.map_err(|error| self.no_session(&error))?;
        if self.http2 && session.get_ref().1.alpn_protocol() != Some(tls::H2) {
            return Err(Failure::new(Cause::Tls, NO_HTTP2));
        }
        Ok(Io::Tls(Box::new(session)))
    }

    fn no_session(&self, error: &io::Error) -> Failure {
        let alert = error.get_ref().and_then(|inner| inner.downcast_ref());
        let no_protocol = matches!(alert, Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)));
        if no_protocol && self.http2 {
            return Failure::new(Cause::Tls, NO_HTTP2);
        }
        let way_out = error.get_ref().and_then(|inner| inner.downcast_ref()).and_then(tls::way_out);
        Failure::new(Cause::Tls, way_out.map_or_else(|| error.to_string(), |words| format!("{error}: {words}")))
    }

    async fn socket(&self) -> Result<Socket, Failure> {
        match &self.place {
            Place::Address(address) => tcp(&[*address]).await,
            Place::Unix(path) => unix(path).await,
            Place::Name(host, port) => tcp(&self.resolve(host, *port).await?).await,
        }
    }

    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
        if let Some((when, known)) = &*self.resolved.borrow()
            && when.elapsed() < DNS_AGE
        {
            return Ok(known.clone());
        }
        let failed = |words: &dyn std::fmt::Display| Failure::new(Cause::Dns, format!("{host}: {words}"));
        let found: Vec<_> = tokio::net::lookup_host((host, port)).await.map_err(|error| failed(&error))?.collect();
        if found.is_empty() {
            return Err(failed(&"no address"));
        }
        *self.resolved.borrow_mut() = Some((Instant::now(), found.clone()));
        Ok(found)
    }
}

fn place(plan: &Plan, target: &Target) -> Place {
    if let Some(path) = &plan.unix_socket {
        return Place::Unix(path.clone());
    }
    if let Some(address) = plan.connect {
        return Place::Address(address);
    }
    let fits = |rule: &&Resolve| rule.port == target.port && (rule.host == "*" || rule.host.eq_ignore_ascii_case(&target.host));
    let literal = || target.host.parse().ok();
    match plan.resolve.iter().find(fits).map(|rule| rule.address).or_else(literal) {
        Some(address) => Place::Address(SocketAddr::new(address, target.port)),
        None => Place::Name(target.host.clone(), target.port),
    }
}

async fn unix(path: &Path) -> Result<Socket, Failure> {
    let connected = UnixStream::connect(path).await.map_err(|error| refused(&error));
    connected.map(Socket::Unix).map_err(|Failure { cause, detail }| Failure::new(cause, format!("{}: {detail}", path.display())))
}

/// A TCP connection to the first address that takes one.
async fn tcp(addresses: &[SocketAddr]) -> Result<Socket, Failure> {
    let mut last = Failure::new(Cause::Connect, "no address");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Without it small requests wait for acknowledgements; failing to set it only costs time.
                let _unset = stream.set_nodelay(true);
                return Ok(Socket::Tcp(stream));
            }
            Err(error) => {
                last = refused(&error);
                last.detail = format!("{address}: {}", last.detail);
            }
        }
    }
    Err(last)
}

fn refused(error: &io::Error) -> Failure {
    let cause = match error.kind() {
        io::ErrorKind::ConnectionRefused => Cause::Refused,
        io::ErrorKind::TimedOut => Cause::ConnectTimeout,
        _ => Cause::Connect,
    };
    let hint =
        if error.kind() == io::ErrorKind::AddrNotAvailable { " (no local port is free: too many new connections per minute)" } else { "" };
    Failure::new(cause, format!("{error}{hint}"))
}

/// The TLS configuration for all of a plan's targets; `None` when none needs it.
///
/// # Errors
/// No way to judge the server's certificate, or files that cannot be used.
pub(crate) fn tls_config(plan: &Plan, targets: &[Target]) -> anyhow::Result<Option<Arc<ClientConfig>>> {
    let secure = targets.iter().any(|target| target.scheme == Scheme::Https);
    if !secure && plan.tls.sni.is_some() {
        return Err(anyhow!("a TLS server name is given, but no URL is https"));
    }
    secure.then(|| tls::config(plan).context("TLS")).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolve_is_written_as_for_curl() {
        let v4 = Resolve { host: "shop.example".into(), port: 80, address: [10, 0, 0, 1].into() };
        assert_eq!("Shop.example:80:10.0.0.1".parse(), Ok(v4.clone()));
        assert_eq!(v4.to_string().parse(), Ok(v4));
        assert_eq!("a:80:[::1]".parse::<Resolve>().map(|rule| rule.address), Ok(IpAddr::from([0_u16, 0, 0, 0, 0, 0, 0, 1])));
        for text in ["", "a:80", "a:x:1.2.3.4", ":80:1.2.3.4", "a:80:b"] {
            assert!(text.parse::<Resolve>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_rule_for_host_and_port_decides_where_to_connect() -> anyhow::Result<()> {
        let plan =
            Plan { resolve: vec!["shop:80:10.0.0.1".parse().map_err(|error: String| anyhow!(error))?], ..Plan::new("http://shop", 1) };
        let address = |url: &str| {
            Ok::<_, anyhow::Error>(match place(&plan, &url.parse()?) {
                Place::Address(address) => Some(address.to_string()),
                _ => None,
            })
        };
        assert_eq!(address("http://shop/")?.as_deref(), Some("10.0.0.1:80"));
        assert_eq!(address("http://shop:81/")?, None);
        assert_eq!(address("http://[::1]:81/")?.as_deref(), Some("[::1]:81"));
        Ok(())
    }
}
