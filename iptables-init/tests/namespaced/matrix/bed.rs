//! A pod and a machine outside, joined by two links; servers on both sides that say who they are; clients of every kind.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use nix::unistd::{Gid, Uid, gettid, setfsgid, setfsuid};
use outrigger_iptables_init::{Args, Outcome, run};
use socket2::{Domain, Protocol as Transport, Socket, Type};

use super::cases::{Case, From, Packet, Protocol};
use crate::support::{in_namespace, sh, sidecar};

const PATIENCE: Duration = Duration::from_secs(5);

/// Links and addresses, seen from the pod; the other machine answers for whole ranges.
const POD_SETUP: &str = "
    ip link add eth0 type veth peer name peer netns $PEER
    ip link add vm0 type veth peer name vm netns $PEER
    ip addr add 10.77.0.2/24 dev eth0; ip addr add fd77::2/64 dev eth0 nodad; ip link set eth0 up
    ip addr add 10.78.0.2/24 dev vm0; ip addr add fd78::2/64 dev vm0 nodad; ip link set vm0 up
    ip route add default via 10.77.0.1; ip -6 route add default via fd77::1";

const PEER_SETUP: &str = "
    ip link set peer up; ip link set vm up
    for host in 1 53 54; do ip addr add 10.77.0.$host/24 dev peer; ip addr add fd77::$host/64 dev peer nodad; done
    ip addr add 10.78.0.1/24 dev vm; ip addr add fd78::1/64 dev vm nodad
    for range in 203.0.113.0/24 10.96.0.0/12; do ip route add local $range dev lo; done
    for range in 2001:db8::/64 fd00:96::/32; do ip -6 route add local $range dev lo; done
    ip route add 198.51.100.0/24 via 10.78.0.2; ip -6 route add 2001:db8:100::/64 via fd78::2";

/// Who answers on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Outbound,
    Inbound,
    App,
    DnsProxy,
    Peer,
}

/// The proxy's ports under their usual and their other numbers, and what else listens in the pod.
const POD_PORTS: [(Role, u16); 13] = [
    (Role::Outbound, 15001),
    (Role::Outbound, 16001),
    (Role::Inbound, 15006),
    (Role::Inbound, 16006),
    (Role::DnsProxy, 15053),
    (Role::App, 53),
    (Role::App, 8080),
    (Role::App, 9090),
    (Role::App, 15008),
    (Role::App, 15020),
    (Role::App, 15021),
    (Role::App, 15090),
    (Role::App, 3306),
];

const PEER_PORTS: [(Role, u16); 4] = [(Role::Peer, 53), (Role::Peer, 8080), (Role::Peer, 9090), (Role::Peer, 3306)];

type Work = Box<dyn FnOnce() + Send>;

pub struct Bed {
    /// Work for the machine outside.
    outside: Sender<Work>,
    resolv_conf: tempfile::NamedTempFile,
}

impl Bed {
    /// Runs `test` in the pod's namespace.
    pub fn with(test: impl FnOnce(&Bed) + Send) {
        let done = AtomicBool::new(false);
        in_namespace(|| {
            let (outside, todo) = channel::<Work>();
            let (ready, tid) = channel();
            std::thread::scope(|scope| {
                let done = &done;
                scope.spawn(move || {
                    in_namespace(move || {
                        ready.send(gettid().as_raw()).unwrap();
                        todo.iter().for_each(|work| work());
                    });
                });
                sh(&POD_SETUP.replace("$PEER", &tid.recv_timeout(PATIENCE).unwrap().to_string()));
                let (prepared, is_prepared) = channel();
                let prepare: Work = Box::new(move || {
                    sh(PEER_SETUP);
                    let servers = Servers::of_peer();
                    prepared.send(servers).unwrap();
                });
                outside.send(prepare).unwrap();
                let peer = is_prepared.recv_timeout(PATIENCE).unwrap();
                let pod = as_owner(1337, 1337, Servers::of_pod);
                scope.spawn(move || peer.serve(done));
                scope.spawn(move || pod.serve(done));
                let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    let mut resolv_conf = tempfile::NamedTempFile::new().unwrap();
                    resolv_conf.write_all(b"nameserver 10.77.0.53\nnameserver fd77::53\n").unwrap();
                    test(&Bed { outside, resolv_conf });
                }));
                done.store(true, Ordering::Relaxed);
                if let Err(panic) = result {
                    std::panic::resume_unwind(panic);
                }
            });
        });
    }

    /// Brings the pod to this configuration, whatever it had before, and checks that a second run finds it in place.
    #[track_caller]
    pub fn apply(&self, backend: &str, case: &Case) {
        let mut args =
            if backend == "native" { Args { native_nftables: Some("true".to_owned()), ..sidecar("") } } else { sidecar(backend) };
        args.resolv_conf = Some(self.resolv_conf.path().display().to_string());
        args.reconcile = Some("true".to_owned());
        (case.change)(&mut args);
        assert_eq!(run(args.clone()).unwrap(), Outcome::Applied, "{}", case.name);
        args.reconcile = None;
        assert_eq!(run(args).unwrap(), Outcome::AlreadyInPlace, "{}", case.name);
    }

    /// Sends what the packet says and returns the answer, or the error.
    pub fn ask(&self, packet: &Packet, target: IpAddr) -> String {
        let (packet, target) = (*packet, SocketAddr::new(target, packet.port));
        let question = move || match packet.protocol {
            Protocol::Tcp => ask_by_tcp(packet.from, target),
            Protocol::Udp => ask_by_udp(None, target),
        };
        let question = move || question().unwrap_or_else(|error| error.to_string());
        match packet.from {
            From::Outside | From::Nested => {
                let (answer, answered) = channel();
                let work: Work = Box::new(move || answer.send(question()).unwrap());
                self.outside.send(work).unwrap();
                answered.recv().unwrap()
            }
            From::App => as_owner(1000, 1000, question),
            From::Group(gid) => as_owner(1000, gid, question),
            From::Proxy | From::Delivery => as_owner(1337, 1337, question),
            From::ProxyGroup => as_owner(0, 1337, question),
        }
    }
}

impl Bed {
    /// The machine outside sends segments that no connection can contain to a closed port; how many resets come back.
    pub fn resets_to_invalid_packets(&self) -> usize {
        let (answer, answered) = channel();
        let work: Work = Box::new(move || answer.send(count_resets().unwrap()).unwrap());
        self.outside.send(work).unwrap();
        answered.recv().unwrap()
    }
}

impl Bed {
    /// Connects from outside to the pod and from the application to elsewhere, again and again while `work` is done. Returns the answers;
    /// attempts without one are not among them.
    pub fn while_asking(&self, work: impl FnOnce()) -> Vec<String> {
        let done = std::sync::Arc::new(AtomicBool::new(false));
        let (answer, answers) = channel();
        let ask = |from: From, target: &'static str| {
            let (done, answer) = (done.clone(), answer.clone());
            move || {
                while !done.load(Ordering::Relaxed) {
                    match ask_by_tcp_within(Duration::from_millis(500), from, target.parse().unwrap()) {
                        Ok(text) if !text.is_empty() => drop(answer.send(text)),
                        _ => {}
                    }
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
        };
        self.outside.send(Box::new(ask(From::Outside, "10.77.0.2:8080"))).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| as_owner(1000, 1000, ask(From::App, "203.0.113.7:8080")));
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            done.store(true, Ordering::Relaxed);
            if let Err(panic) = result {
                std::panic::resume_unwind(panic);
            }
        });
        drop(answer);
        answers.try_iter().collect()
    }
}

fn count_resets() -> io::Result<usize> {
    let (here, there) = (Ipv4Addr::new(10, 77, 0, 1), Ipv4Addr::new(10, 77, 0, 2));
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Transport::TCP))?;
    socket.bind(&SocketAddr::new(here.into(), 0).into())?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    for port in 0..3 {
        socket.send_to(&syn_and_fin(here, there, 40_000 + port, 15_090 + 2), &SocketAddr::new(there.into(), 0).into())?;
    }
    let (mut socket, mut resets, mut packet) = (socket, 0, [0; 256]);
    while resets < 3 {
        let Ok(length) = socket.read(&mut packet) else { break };
        // 20 bytes of IP, then TCP: ports, numbers, and the flags in the 14th byte.
        resets += usize::from(length >= 40 && packet[20..22] == 15_092_u16.to_be_bytes() && packet[33] & 0x04 != 0);
    }
    Ok(resets)
}

/// A TCP header with both flags and a right checksum.
fn syn_and_fin(from: Ipv4Addr, to: Ipv4Addr, from_port: u16, to_port: u16) -> Vec<u8> {
    let mut segment = [from_port.to_be_bytes(), to_port.to_be_bytes()].concat();
    segment.extend([0, 0, 0, 1, 0, 0, 0, 0, 5 << 4, 0x03, 0x40, 0, 0, 0, 0, 0]);
    let pseudo = [&from.octets()[..], &to.octets(), &[0, 6, 0, 20], &segment].concat();
    let sum: u32 = pseudo.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    segment.splice(16..18, (!(folded as u16)).to_be_bytes());
    segment
}

/// Runs in a thread whose file system user and group, which is what owner rules see, are these.
pub fn as_owner<T: Send>(uid: u32, gid: u32, work: impl FnOnce() -> T + Send) -> T {
    let work = || {
        setfsgid(Gid::from_raw(gid));
        setfsuid(Uid::from_raw(uid));
        work()
    };
    std::thread::scope(|scope| scope.spawn(work).join().unwrap())
}

fn ask_by_tcp(from: From, target: SocketAddr) -> io::Result<String> {
    ask_by_tcp_within(PATIENCE, from, target)
}

fn ask_by_tcp_within(patience: Duration, from: From, target: SocketAddr) -> io::Result<String> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
    let source = match from {
        From::Delivery => Some(["127.0.0.6:0", "[::6]:0"]),
        From::Outside => Some(["10.77.0.1:0", "[fd77::1]:0"]),
        _ => None,
    };
    if let Some([v4, v6]) = source {
        let source: SocketAddr = if target.is_ipv4() { v4 } else { v6 }.parse().unwrap();
        socket.bind(&source.into())?;
    }
    socket.connect_timeout(&target.into(), patience)?;
    socket.set_read_timeout(Some(patience))?;
    let mut answer = String::new();
    TcpStream::from(socket).read_to_string(&mut answer)?;
    Ok(answer)
}

/// Asks from a given address and port, or any. Connected, so that an answer from elsewhere would not be taken.
pub fn ask_by_udp(source: Option<SocketAddr>, target: SocketAddr) -> io::Result<String> {
    let socket = Socket::new(Domain::for_address(target), Type::DGRAM, None)?;
    socket.set_reuse_address(true)?;
    if let Some(source) = source {
        socket.bind(&source.into())?;
    }
    socket.connect(&target.into())?;
    let socket = UdpSocket::from(socket);
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(b"?")?;
    let mut answer = [0; 64];
    let length = socket.recv(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

/// Every listening socket of one machine.
struct Servers {
    streams: Vec<(Role, Socket)>,
    datagrams: Vec<(&'static str, UdpSocket)>,
}

impl Servers {
    fn of_pod() -> Self {
        let mut servers = Self { streams: vec![], datagrams: vec![] };
        for wildcard in [IpAddr::from(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()] {
            servers.streams.extend(POD_PORTS.iter().map(|(role, port)| (*role, listen(SocketAddr::new(wildcard, *port)))));
        }
        for localhost in ["127.0.0.1:15053", "[::1]:15053"] {
            servers.datagrams.push(("dns-proxy", datagrams(localhost)));
        }
        servers
    }

    fn of_peer() -> Self {
        let mut servers = Self { streams: vec![], datagrams: vec![] };
        for wildcard in [IpAddr::from(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()] {
            servers.streams.extend(PEER_PORTS.iter().map(|(role, port)| (*role, listen(SocketAddr::new(wildcard, *port)))));
        }
        for resolver in ["10.77.0.53:53", "10.77.0.54:53", "[fd77::53]:53", "[fd77::54]:53"] {
            servers.datagrams.push(("peer", datagrams(resolver)));
        }
        servers
    }

    fn serve(&self, done: &AtomicBool) {
        let sockets: Vec<BorrowedFd<'_>> =
            self.streams.iter().map(|(_, socket)| socket.as_fd()).chain(self.datagrams.iter().map(|(_, socket)| socket.as_fd())).collect();
        while !done.load(Ordering::Relaxed) {
            let mut polled: Vec<PollFd<'_>> = sockets.iter().map(|socket| PollFd::new(*socket, PollFlags::POLLIN)).collect();
            poll(&mut polled, PollTimeout::from(50_u8)).unwrap();
            for (role, socket) in &self.streams {
                while let Ok((stream, from)) = socket.accept() {
                    let _ = answer(*role, stream, from.as_socket().unwrap());
                }
            }
            for (who, socket) in &self.datagrams {
                while let Ok((_, from)) = socket.recv_from(&mut [0; 64]) {
                    let _ = socket.send_to(who.as_bytes(), from);
                }
            }
        }
    }
}

/// Transparent, as the proxy's listeners are with TPROXY; it changes nothing for others.
fn listen(at: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Transport::TCP)).unwrap();
    if at.is_ipv6() {
        socket.set_only_v6(true).unwrap();
    }
    make_transparent(&socket);
    socket.set_reuse_address(true).unwrap();
    socket.bind(&at.into()).unwrap_or_else(|error| panic!("{at}: {error}"));
    socket.listen(64).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// The option of IPv4 counts for IPv6 sockets as well.
fn make_transparent(socket: &Socket) {
    setsockopt(socket, sockopt::IpTransparent, &true).unwrap();
}

fn datagrams(at: &str) -> UdpSocket {
    let socket = UdpSocket::bind(at).unwrap_or_else(|error| panic!("{at}: {error}"));
    socket.set_nonblocking(true).unwrap();
    socket
}

fn answer(role: Role, stream: Socket, from: SocketAddr) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    let mut stream = TcpStream::from(stream);
    let headed = original_destination(&stream)?;
    let text = match role {
        Role::Outbound => format!("outbound {headed}"),
        // A local address that is not the proxy's port means TPROXY: nothing was rewritten.
        Role::Inbound if stream.local_addr()? == headed && is_outside(from.ip()) => {
            std::thread::spawn(move || {
                let seen = deliver(from, headed).unwrap_or_else(|error| error.to_string());
                let _ = stream.write_all(format!("inbound {headed} {seen}").as_bytes());
            });
            return Ok(());
        }
        Role::Inbound => format!("inbound {headed}"),
        Role::App => format!("app {}", from.ip()),
        Role::DnsProxy => "dns-proxy".to_owned(),
        Role::Peer => "peer".to_owned(),
    };
    stream.write_all(text.as_bytes())
}

fn is_outside(address: IpAddr) -> bool {
    ["10.77.0.1", "fd77::1"].iter().any(|text| text.parse() == Ok(address))
}

/// What the proxy does with TPROXY: calls the application from the client's address, with the mark; and what the application says.
fn deliver(client: SocketAddr, target: SocketAddr) -> io::Result<String> {
    as_owner(0, 1337, || {
        let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
        make_transparent(&socket);
        socket.set_mark(1337)?;
        socket.bind(&SocketAddr::new(client.ip(), 0).into())?;
        socket.connect_timeout(&target.into(), PATIENCE)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut answer = String::new();
        TcpStream::from(socket).read_to_string(&mut answer)?;
        Ok(answer)
    })
}

/// Where the client was headed before any rewriting; without rewriting, where it arrived.
fn original_destination(stream: &TcpStream) -> io::Result<SocketAddr> {
    let local = stream.local_addr()?;
    Ok(match local {
        SocketAddr::V4(_) => match getsockopt(stream, sockopt::OriginalDst) {
            Ok(address) => SocketAddr::new(Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr)).into(), u16::from_be(address.sin_port)),
            Err(_) => local,
        },
        SocketAddr::V6(_) => match getsockopt(stream, sockopt::Ip6tOriginalDst) {
            Ok(address) => SocketAddr::new(Ipv6Addr::from(address.sin6_addr.s6_addr).into(), u16::from_be(address.sin6_port)),
            Err(_) => local,
        },
    })
}
