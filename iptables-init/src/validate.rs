//! Proving that connections are redirected (contract 2.8).
//!
//! Dials a port on which nobody listens, at the address inbound traffic is delivered from. If the rules work the connection
//! arrives at one of the proxy's ports instead, still remembering where it was headed. Needs those ports free: it runs before
//! the proxy.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::{Uid, geteuid, setfsuid};

use socket2::{Domain, Socket, Type};

use crate::Error;
use crate::address;
use crate::detect;
use crate::plan::{INBOUND_PASSTHROUGH_V4, INBOUND_PASSTHROUGH_V6};
use crate::rule::Family;
use crate::settings::{Action, Options, Probe, Settings};

/// Pause between attempts.
const INTERVAL: Duration = Duration::from_secs(1);

/// How often a listening thread looks whether it may stop.
const POLL: Duration = Duration::from_millis(10);

/// One family's proof, shared by the dialling and the accepting thread.
struct Attempt<'a> {
    family: Family,
    port: u16,
    proxy_uid: Option<u32>,
    listeners: &'a [TcpListener],
    deadline: Instant,
    arrived: AtomicBool,
}

/// Checks every family in which there can be traffic.
///
/// # Errors
/// [`Error::Validation`]: no probe arrived in time, the ports are taken, or nobody looked at the rules and the proof is impossible.
pub(crate) fn validate(settings: &Settings, options: &Options, probe: &Probe) -> Result<(), Error> {
    let proxy_uid = settings.proxy_uids.first().copied().filter(|_| geteuid().is_root());
    let missing = proxy_uid.filter(|uid| !std::thread::scope(|scope| scope.spawn(|| become_user(*uid)).join().unwrap_or(false)));
    for family in detect::families(settings, options).into_iter().filter(|family| is_in_use(*family, options)) {
        let failed = |detail| Error::Validation { family, detail };
        if let Some(uid) = missing {
            let detail = format!("cannot become uid {uid}, as whom connections are dialled: needs the capability SETUID");
            // Rules that this run wrote or found have been compared; those of a CNI plugin were seen by nobody.
            if options.action == Action::Skip {
                return Err(failed(detail));
            }
            tracing::warn!("{family}: the rules stand as wanted, but that they redirect is not proven: {detail}");
            continue;
        }
        let listeners = listen(settings, family).map_err(|error| failed(format!("cannot listen on the proxy's ports: {error}")))?;
        let attempt = Attempt {
            family,
            port: probe.port,
            proxy_uid,
            listeners: &listeners,
            deadline: Instant::now() + probe.timeout,
            arrived: AtomicBool::new(false),
        };
        if !attempt.succeeds() {
            let (port, timeout) = (probe.port, probe.timeout);
            return Err(failed(format!("connections to port {port} were not redirected within {timeout:?}")));
        }
        tracing::info!("{family}: connections are redirected");
    }
    Ok(())
}

/// IPv6 can be off, and where there was no ip6tables and no address to protect, IPv4 alone was captured. An address of either kind means
/// that IPv6 is meant to work. Rules written by somebody else are there for IPv6 if that somebody added `::6`, or if it is to be
/// expected of Istio's CNI plugin, which captures what Istio detects.
fn is_in_use(family: Family, options: &Options) -> bool {
    let is_expected = || match options.action {
        Action::Skip => detect::istio_captures_ipv6(options),
        Action::Apply | Action::CleanUp => detect::has_ipv6_address(),
    };
    family == Family::V4 || (!address::is_disabled() && (address::is_present() || is_expected()))
}

/// Makes the calling thread the owner, for the kernel's owner match, of what it sends. Says whether that was allowed: the call itself
/// tells only who it was before.
fn become_user(uid: u32) -> bool {
    let uid = Uid::from_raw(uid);
    setfsuid(uid);
    setfsuid(uid) == uid
}

fn listen(settings: &Settings, family: Family) -> io::Result<Vec<TcpListener>> {
    [settings.outbound_capture_port, settings.inbound_capture_port]
        .into_iter()
        .map(|port| {
            let listener = TcpListener::bind(SocketAddr::new(localhost(family), port))?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        })
        .collect()
}

fn localhost(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::LOCALHOST.into(),
        Family::V6 => Ipv6Addr::LOCALHOST.into(),
    }
}

fn passthrough(family: Family) -> IpAddr {
    match family {
        Family::V4 => INBOUND_PASSTHROUGH_V4.into(),
        Family::V6 => INBOUND_PASSTHROUGH_V6.into(),
    }
}

impl Attempt<'_> {
    fn succeeds(&self) -> bool {
        std::thread::scope(|scope| {
            scope.spawn(|| self.dial_until_done());
            self.accept_until_done();
        });
        self.arrived.load(Ordering::Relaxed)
    }

    fn is_done(&self) -> bool {
        self.arrived.load(Ordering::Relaxed) || Instant::now() >= self.deadline
    }

    /// Dials as the proxy's user: only the proxy's calls to its own pod are sent into the inbound side (rule 11). The file
    /// system user is what the kernel's owner match looks at and, unlike the other ids, belongs to one thread.
    fn dial_until_done(&self) {
        if let Some(uid) = self.proxy_uid {
            become_user(uid);
        }
        while !self.is_done() {
            let next = self.deadline.min(Instant::now() + INTERVAL);
            // Refusal is the expected failure; the accepting side alone decides.
            let _connection = self.dial(next.saturating_duration_since(Instant::now()).max(POLL));
            while !self.is_done() && Instant::now() < next {
                std::thread::sleep(POLL);
            }
        }
    }

    /// From localhost: by itself the kernel would choose `::6` as the source towards `::6`, and rule 10 leaves that alone.
    fn dial(&self, patience: Duration) -> io::Result<Socket> {
        let target = SocketAddr::new(passthrough(self.family), self.port);
        let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
        socket.bind(&SocketAddr::new(localhost(self.family), 0).into())?;
        socket.connect_timeout(&target.into(), patience)?;
        Ok(socket)
    }

    fn accept_until_done(&self) {
        while !self.is_done() {
            for (connection, _) in self.listeners.iter().filter_map(|listener| listener.accept().ok()) {
                if original_port(&connection, self.family) == Some(self.port) {
                    self.arrived.store(true, Ordering::Relaxed);
                }
            }
            std::thread::sleep(POLL);
        }
    }
}

fn original_port(connection: &TcpStream, family: Family) -> Option<u16> {
    let port = match family {
        Family::V4 => getsockopt(connection, sockopt::OriginalDst).ok()?.sin_port,
        Family::V6 => getsockopt(connection, sockopt::Ip6tOriginalDst).ok()?.sin6_port,
    };
    Some(u16::from_be(port))
}
