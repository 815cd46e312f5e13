//! The `nameserver` lines of resolv.conf(5).

use std::net::IpAddr;
use std::path::Path;

/// Where the pod's resolvers are named.
pub(super) const FILE: &str = "/etc/resolv.conf";

/// The servers in order, each once. A file that cannot be read names none; a zone (`fe80::1%eth0`) is cut off.
pub(super) fn read(file: &Path) -> Vec<IpAddr> {
    match std::fs::read_to_string(file) {
        Ok(text) => parse(&text),
        Err(error) => {
            tracing::warn!("{}: {error}", file.display());
            vec![]
        }
    }
}

fn parse(text: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let server = words.next().filter(|word| *word == "nameserver").and(words.next());
        let address = server.and_then(|server| server.split('%').next()).and_then(|server| server.parse().ok());
        if let Some(address) = address.filter(|address| !found.contains(address)) {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn servers_are_read_in_order_and_everything_else_is_passed_over() {
        let text = "# nameserver 9.9.9.9\nsearch default.svc\nnameserver 10.96.0.10\n nameserver\tfd00::a # the other\n\
                    nameserver fe80::1%eth0\nnameserver 10.96.0.10\nnameserver not-an-address\nnameserver\noptions ndots:5\n";
        assert_eq!(parse(text).iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.96.0.10", "fd00::a", "fe80::1"]);
    }
}
