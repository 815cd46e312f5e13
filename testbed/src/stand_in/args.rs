//! The command line of the stand-in, each part of which can also come from the container's environment.

use std::{path::PathBuf, str::FromStr, time::Duration};

use super::failure::FailRule;

/// What a port speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.0, HTTP/1.1 and HTTP/2 with prior knowledge, told apart by the first bytes. gRPC is one of them.
    Http,
    /// TLS 1.2 or 1.3, and HTTP inside.
    Tls,
    /// Bytes come back as they are.
    Tcp,
    /// As `Tcp`, but the line `HOSTNAME:VERSION` goes before the first bytes that come back.
    TcpHello,
    /// The server says `HOSTNAME:VERSION` at once, as MySQL greets, then echoes.
    TcpServerFirst,
}

/// One port to listen on: `8080`, `9000/tcp`, `9001/tcp-hello`, `3306/tcp-server-first`, `8443/tls`, `50051/grpc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortSpec {
    /// 1 to 65535.
    pub number: u16,
    /// HTTP unless said otherwise.
    pub protocol: Protocol,
}

impl FromStr for PortSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, protocol) = text.trim().split_once('/').unwrap_or((text.trim(), "http"));
        let number = number.parse().ok().filter(|n| *n > 0);
        let number = number.ok_or_else(|| format!("{text:?}: expected PORT or PORT/PROTOCOL, PORT from 1 to 65535"))?;
        let protocol = match protocol {
            "http" | "http2" | "grpc" => Protocol::Http,
            "tls" | "https" => Protocol::Tls,
            "tcp" => Protocol::Tcp,
            "tcp-hello" => Protocol::TcpHello,
            "tcp-server-first" | "mysql" => Protocol::TcpServerFirst,
            other => return Err(format!("{other:?}: expected http, grpc, tls, tcp, tcp-hello or tcp-server-first")),
        };
        Ok(Self { number, protocol })
    }
}

/// Arguments of `outrigger stand-in`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Port to listen on, with what it speaks: PORT[/http|/grpc|/tls|/tcp|/tcp-hello|/tcp-server-first]; repeatable
    #[arg(long = "port", default_value = "8080", value_name = "PORT")]
    pub ports: Vec<PortSpec>,
    /// Ports that a manifest asks for by environment; they replace those of --port
    #[arg(long = "ports-instead", env = "STAND_IN_PORTS", value_delimiter = ',', hide = true)]
    pub ports_instead: Vec<PortSpec>,
    /// The version to answer with
    #[arg(long, env = "STAND_IN_VERSION", default_value = "v1")]
    pub version: String,
    /// A share of the requests to fail, in exact alternation: STATUS:PERCENT%[:/path], such as 503:50%
    #[arg(long, env = "STAND_IN_FAIL")]
    pub fail: Option<FailRule>,
    /// How long to go on accepting connections after SIGTERM, in milliseconds
    #[arg(long, env = "STAND_IN_LINGER_MS", default_value_t = 1500)]
    pub linger_ms: u64,
    /// How long requests in flight may take after that, in milliseconds
    #[arg(long, env = "STAND_IN_GRACE_MS", default_value_t = 25_000)]
    pub grace_ms: u64,
    /// TLS material of the ports that speak TLS.
    #[command(flatten)]
    pub tls: TlsArgs,
}

/// Where the TLS material is. Without a certificate the stand-in signs one for its host name itself.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct TlsArgs {
    /// Certificate chain in PEM
    #[arg(long = "tls-cert", env = "STAND_IN_TLS_CERT", requires = "key")]
    pub cert: Option<PathBuf>,
    /// Private key in PEM
    #[arg(long = "tls-key", env = "STAND_IN_TLS_KEY", requires = "cert")]
    pub key: Option<PathBuf>,
    /// Root certificates in PEM; when given, clients must show a certificate issued by one of them
    #[arg(long = "tls-client-ca", env = "STAND_IN_TLS_CLIENT_CA")]
    pub client_ca: Option<PathBuf>,
}

impl Args {
    /// The ports to open: a manifest's own wish (`STAND_IN_PORTS`) before whatever the runner derived.
    pub fn effective_ports(&self) -> &[PortSpec] {
        if self.ports_instead.is_empty() { &self.ports } else { &self.ports_instead }
    }

    /// `HOSTNAME` as Kubernetes sets it, else the kernel's name for this host.
    pub(crate) fn hostname(&self) -> String {
        std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty()).unwrap_or_else(kernel_hostname)
    }

    pub(crate) fn linger(&self) -> Duration {
        Duration::from_millis(self.linger_ms)
    }

    pub(crate) fn grace(&self) -> Duration {
        Duration::from_millis(self.grace_ms)
    }
}

fn kernel_hostname() -> String {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_else(|| "unknown".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_speaks_http_unless_it_says_otherwise() {
        assert_eq!("8080".parse(), Ok(PortSpec { number: 8080, protocol: Protocol::Http }));
        assert_eq!(" 9000/tcp".parse(), Ok(PortSpec { number: 9000, protocol: Protocol::Tcp }));
        assert_eq!("3306/mysql".parse(), Ok(PortSpec { number: 3306, protocol: Protocol::TcpServerFirst }));
    }

    #[test]
    fn a_port_that_is_none_is_refused_with_the_expected_form() {
        assert!("0".parse::<PortSpec>().is_err_and(|e| e.contains("1 to 65535")));
        assert!("80/smtp".parse::<PortSpec>().is_err_and(|e| e.contains("tcp-server-first")));
    }
}
