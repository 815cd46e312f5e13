//! Real connections through the rules: a pod's namespace joined by a veth pair to a peer's.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::{Gid, Uid, gettid, setfsgid, setfsuid};
use outrigger_iptables_init::{Error, Family, Outcome, run};
use socket2::{Domain, Socket, Type};

use crate::programs::run_as;
use crate::support::{apply, in_namespace, sh, sidecar};

const PATIENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(2);

/// Addresses of one family: the pod, its peer, somewhere that does not exist, localhost, and where the proxy delivers from.
struct Net {
    family: Family,
    pod: IpAddr,
    peer: IpAddr,
    elsewhere: IpAddr,
    localhost: IpAddr,
    passthrough: IpAddr,
}

fn nets() -> [Net; 2] {
    let v4 = |text: &str| IpAddr::V4(text.parse::<Ipv4Addr>().unwrap());
    let v6 = |text: &str| IpAddr::V6(text.parse::<Ipv6Addr>().unwrap());
    [
        Net {
            family: Family::V4,
            pod: v4("10.77.0.2"),
            peer: v4("10.77.0.1"),
            elsewhere: v4("203.0.113.7"),
            localhost: v4("127.0.0.1"),
            passthrough: v4("127.0.0.6"),
        },
        Net {
            family: Family::V6,
            pod: v6("fd77::2"),
            peer: v6("fd77::1"),
            elsewhere: v6("2001:db8::7"),
            localhost: v6("::1"),
            passthrough: v6("::6"),
        },
    ]
}

/// A peer namespace: does what it is sent, one piece of work after the other, until the sender is dropped.
type Work = Box<dyn FnOnce() + Send>;

/// Runs `test` in a pod's namespace, with the default rules of `flavour`, joined to a peer's namespace.
fn pod(flavour: &str, test: impl FnOnce(&Sender<Work>) + Send) {
    in_namespace(|| {
        let (work, todo) = channel::<Work>();
        let (ready, tid) = channel();
        std::thread::scope(|scope| {
            scope.spawn(move || peer(ready, todo));
            join_with(tid.recv_timeout(PATIENCE).unwrap());
            let setup: Work = Box::new(|| {
                sh("ip link set peer up; ip addr add 10.77.0.1/24 dev peer; ip addr add fd77::1/64 dev peer nodad");
            });
            work.send(setup).unwrap();
            apply(sidecar(flavour));
            test(&work);
            drop(work);
        });
    });
}

fn peer(ready: Sender<i32>, todo: Receiver<Work>) {
    in_namespace(move || {
        ready.send(gettid().as_raw()).unwrap();
        todo.iter().for_each(|work| work());
    });
}

fn join_with(peer: i32) {
    sh(&format!(
        "ip link add eth0 type veth peer name peer netns {peer}
         ip addr add 10.77.0.2/24 dev eth0; ip addr add fd77::2/64 dev eth0 nodad; ip link set eth0 up
         ip route add default via 10.77.0.1; ip -6 route add default via fd77::1"
    ));
}

/// A closed listener can live on for a moment in a child that another test has forked but not executed yet, so a taken port
/// is tried again.
fn listen(at: SocketAddr) -> TcpListener {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match TcpListener::bind(at) {
            Ok(listener) => {
                listener.set_nonblocking(true).unwrap();
                return listener;
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => std::thread::sleep(PAUSE),
            Err(error) => panic!("{at}: {error}"),
        }
    }
}

/// A listener on every address of the family, as the proxy's capture listeners are.
fn listen_wide(net: &Net, port: u16) -> TcpListener {
    let any = match net.family {
        Family::V4 => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        Family::V6 => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    listen(SocketAddr::new(any, port))
}

fn accept(listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Ok(accepted) = listener.accept() {
            return Some(accepted);
        }
        std::thread::sleep(PAUSE);
    }
    None
}

fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    TcpStream::connect_timeout(&to, PATIENCE)
}

/// Connects in a thread whose file system user and group, which is what owner rules see, are these.
fn connect_as(uid: u32, gid: u32, to: SocketAddr) -> io::Result<TcpStream> {
    let work = move || {
        setfsgid(Gid::from_raw(gid));
        setfsuid(Uid::from_raw(uid));
        connect(to)
    };
    std::thread::scope(|scope| scope.spawn(work).join().unwrap())
}

fn original_destination(stream: &TcpStream, family: Family) -> SocketAddr {
    match family {
        Family::V4 => {
            let address = getsockopt(stream, sockopt::OriginalDst).unwrap();
            SocketAddr::new(Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr)).into(), u16::from_be(address.sin_port))
        }
        Family::V6 => {
            let address = getsockopt(stream, sockopt::Ip6tOriginalDst).unwrap();
            SocketAddr::new(Ipv6Addr::from(address.sin6_addr.s6_addr).into(), u16::from_be(address.sin6_port))
        }
    }
}

#[test]
fn what_the_application_sends_anywhere_arrives_at_15001_and_remembers_where_it_was_headed() {
    for flavour in ["legacy", "nft"] {
        pod(flavour, |_| {
            for net in nets() {
                let proxy = listen_wide(&net, 15001);
                let target = SocketAddr::new(net.elsewhere, 8080);
                let _client = connect_as(1000, 1000, target).unwrap();
                let (captured, _) = accept(&proxy).expect("the connection was captured");
                assert_eq!(original_destination(&captured, net.family), target);
            }
        });
    }
}

#[test]
fn what_the_proxys_user_or_group_sends_is_left_alone() {
    for flavour in ["legacy", "nft"] {
        pod(flavour, |peer| {
            for (net, (uid, gid)) in nets().iter().flat_map(|net| [(net, (1337, 1000)), (net, (0, 1337))]) {
                let proxy = listen_wide(net, 15001);
                let target = SocketAddr::new(net.peer, 9000);
                let (bound, is_bound) = channel();
                let (arrived, has_arrived) = channel();
                let serve: Work = Box::new(move || {
                    let listener = listen(target);
                    bound.send(()).unwrap();
                    arrived.send(accept(&listener).map(|(_, from)| from.ip())).unwrap();
                });
                peer.send(serve).unwrap();
                is_bound.recv_timeout(PATIENCE).unwrap();
                let _client = connect_as(uid, gid, target).unwrap();
                assert_eq!(has_arrived.recv_timeout(PATIENCE * 2).unwrap(), Some(net.pod));
                assert!(proxy.accept().is_err(), "uid {uid} gid {gid} was captured");
            }
        });
    }
}

#[test]
fn the_application_talks_to_itself_directly_by_localhost_and_by_pod_address() {
    for flavour in ["legacy", "nft"] {
        pod(flavour, |_| {
            for net in nets() {
                let (outbound, inbound) = (listen_wide(&net, 15001), listen_wide(&net, 15006));
                for address in [net.localhost, net.pod] {
                    let application = listen(SocketAddr::new(address, 9001));
                    let _client = connect_as(1000, 1000, SocketAddr::new(address, 9001)).unwrap();
                    assert!(accept(&application).is_some(), "{address}");
                }
                assert!(outbound.accept().is_err() && inbound.accept().is_err());
            }
        });
    }
}

#[test]
fn the_proxy_calling_its_own_pod_goes_through_the_inbound_side_but_delivery_from_6_does_not() {
    for flavour in ["legacy", "nft"] {
        pod(flavour, |_| {
            for net in nets() {
                let inbound = listen_wide(&net, 15006);
                let target = SocketAddr::new(net.pod, 9002);
                let application = listen(target);
                let _self_call = connect_as(1337, 1337, target).unwrap();
                let (captured, _) = accept(&inbound).expect("the self call was captured");
                assert_eq!(original_destination(&captured, net.family), target);

                let delivery = connect_from(net.passthrough, target);
                assert_eq!(accept(&application).map(|(_, from)| from.ip()), Some(net.passthrough));
                drop(delivery);
            }
        });
    }
}

/// Connects as uid and gid 1337 from a given source address, as the proxy delivers inbound traffic.
fn connect_from(source: IpAddr, to: SocketAddr) -> Socket {
    let work = move || {
        setfsgid(Gid::from_raw(1337));
        setfsuid(Uid::from_raw(1337));
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(source, 0).into()).unwrap();
        socket.connect_timeout(&to.into(), PATIENCE).unwrap();
        socket
    };
    std::thread::scope(|scope| scope.spawn(work).join().unwrap())
}

#[test]
fn what_arrives_from_outside_reaches_15006_except_the_proxys_own_ports() {
    for flavour in ["legacy", "nft"] {
        pod(flavour, |peer| {
            for net in nets() {
                let (inbound, health) = (listen_wide(&net, 15006), listen_wide(&net, 15021));
                let (application, own) = (SocketAddr::new(net.pod, 8080), SocketAddr::new(net.pod, 15021));
                let (kept, keep) = channel();
                let call: Work = Box::new(move || {
                    kept.send((connect(application), connect(own))).unwrap();
                });
                peer.send(call).unwrap();
                let (captured, from) = accept(&inbound).expect("port 8080 was captured");
                assert_eq!(original_destination(&captured, net.family), application);
                assert_eq!(from.ip(), net.peer);
                assert!(accept(&health).is_some(), "15021 is reached directly");
                let (first, second) = keep.recv_timeout(PATIENCE).unwrap();
                assert!(first.is_ok() && second.is_ok());
            }
        });
    }
}

#[test]
fn validation_succeeds_with_the_rules_and_fails_with_126_without() {
    let probing = |flavour: &str, timeout: &str| {
        let mut args = sidecar(flavour);
        args.run_validation = Some("true".to_owned());
        args.probe_timeout = Some(timeout.to_owned());
        args
    };
    for flavour in ["legacy", "nft"] {
        in_namespace(|| assert_eq!(run(probing(flavour, "10s")).unwrap(), Outcome::Applied));
    }
    in_namespace(|| {
        let mut args = probing("nft", "300ms");
        args.skip_rule_apply = Some("true".to_owned());
        let error = run(args).unwrap_err();
        assert!(matches!(error, Error::Validation { family: Family::V4, .. }), "{error}");
        assert_eq!(error.exit_code(), 126);
    });
}

#[test]
fn rules_of_istios_cni_plugin_are_proven_for_the_families_that_it_captures() {
    in_namespace(|| {
        sh("ip link add eth0 type veth peer name other; ip addr add 10.0.0.1/24 dev eth0; ip addr add fd00::1/64 dev eth0 nodad");
        let mut args = sidecar("nft");
        args.like_istio = Some("ipv6-detection".to_owned());
        apply(args);
        let mut args = sidecar("nft");
        args.skip_rule_apply = Some("true".to_owned());
        args.run_validation = Some("true".to_owned());
        args.probe_timeout = Some("2s".to_owned());
        assert_eq!(run(args.clone()).unwrap(), Outcome::Skipped);
        args.dual_stack = Some("true".to_owned());
        let error = run(args).unwrap_err();
        assert!(matches!(error, Error::Validation { family: Family::V6, .. }), "{error}");
    });
}

#[test]
fn without_setuid_rules_that_were_written_are_not_called_wrong_and_those_of_others_not_proven() {
    const DROPPED: &str = "setpriv --bounding-set=-all,+net_admin,+net_raw --inh-caps=-all";
    in_namespace(|| {
        let outcome = |line: &str| run_as(DROPPED, &[], &format!("-u 1337 -i * -b * --run-validation --probe-timeout 2s {line}")).unwrap();
        assert_eq!(outcome(""), "Ok(Applied)");
        assert_eq!(outcome(""), "Ok(AlreadyInPlace)");
        let skipped = outcome("--skip-rule-apply");
        assert!(skipped.contains("IPv4: validation failed: cannot become uid 1337") && skipped.contains("SETUID"), "{skipped}");
    });
}
