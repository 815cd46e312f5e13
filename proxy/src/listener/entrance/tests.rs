//! Which entrances tell by themselves what address a connection came in on, and which must be asked.

use std::net::{TcpListener, TcpStream};

use super::*;
use crate::listener::bind::bind_entrance;

fn gateway(bind: Option<IpAddr>, port: u16) -> Entrance {
    Entrance { kind: EntranceKind::Gateway, bind, port, own_ports: Arc::new([]), transparent: false }
}

/// Our address as the kernel tells it to whoever accepts a connection to `dialled`, an address of the first socket of an entrance.
fn told(entrance: &Entrance, dialled: IpAddr) -> SocketAddr {
    let sockets = bind_entrance(entrance).expect("a free port");
    let _client = TcpStream::connect((dialled, entrance.port)).expect("connected");
    sockets[0].set_nonblocking(false).expect("a socket");
    let (stream, _) = sockets[0].accept().expect("a connection");
    canonical(stream.local_addr().expect("an address"))
}

fn free_port(ip: IpAddr) -> u16 {
    TcpListener::bind((ip, 0)).and_then(|listener| listener.local_addr()).expect("an address").port()
}

#[test]
fn connections_to_a_port_bound_to_one_address_have_that_address() {
    for ip in ["127.0.0.1", "127.0.0.7", "::1"] {
        let ip = ip.parse().expect("ip");
        let entrance = gateway(Some(ip), free_port(ip));
        assert_eq!(entrance.address(), Some(told(&entrance, ip)));
    }
}

#[test]
fn connections_to_a_port_of_all_addresses_or_of_tproxy_must_be_asked_for_theirs() {
    let [unspecified, dialled] = ["0.0.0.0", "127.0.0.7"].map(|ip| ip.parse::<IpAddr>().expect("ip"));
    for bind in [None, Some(unspecified)] {
        let entrance = gateway(bind, free_port(unspecified));
        assert_eq!(entrance.address(), None);
        assert_eq!(told(&entrance, dialled).ip(), dialled);
    }
    let transparent = Entrance { transparent: true, ..gateway(Some(dialled), 15006) };
    assert_eq!(transparent.address(), None);
}
