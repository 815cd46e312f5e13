//! The names of a run and their addresses: what cluster DNS knows. Pure.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

/// The domain of all Services.
pub const CLUSTER_DOMAIN: &str = "cluster.local";

/// What a name leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    Addresses(Vec<IpAddr>),
    Alias(String),
}

/// An answer to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The name exists; the list may be empty for the family asked.
    Addresses(Vec<IpAddr>),
    /// The name stands for another one (a Service of type ExternalName).
    Alias(String),
    /// The name is ours and does not exist.
    NoSuchName,
    /// The name is not ours.
    Foreign,
}

/// All names of a run at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Zone {
    entries: HashMap<String, Entry>,
}

impl Zone {
    /// Adds a Service: its cluster addresses, or for a headless one those of its ready pods.
    pub fn add_service(&mut self, namespace: &str, service: &str, addresses: Vec<IpAddr>) {
        self.entries.insert(service_name(namespace, service), Entry::Addresses(addresses));
    }

    /// Adds pods that have names of their own below a headless Service.
    pub fn add_hosts(&mut self, namespace: &str, service: &str, hosts: &BTreeMap<String, Vec<IpAddr>>) {
        for (host, addresses) in hosts {
            let name = format!("{}.{}", host.to_ascii_lowercase(), service_name(namespace, service));
            self.entries.insert(name, Entry::Addresses(addresses.clone()));
        }
    }

    /// Adds a Service that is only another name.
    pub fn add_alias(&mut self, namespace: &str, service: &str, target: &str) {
        let target = target.trim_end_matches('.').to_owned();
        self.entries.insert(service_name(namespace, service), Entry::Alias(target));
    }

    /// Looks a full name up, with or without the final dot, in any case.
    pub fn find(&self, name: &str) -> Answer {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        match self.entries.get(&name) {
            Some(Entry::Addresses(addresses)) => Answer::Addresses(addresses.clone()),
            Some(Entry::Alias(target)) => Answer::Alias(target.clone()),
            None if is_ours(&name) => self.inside(&name),
            None => Answer::Foreign,
        }
    }

    /// A name in the middle of the tree exists, without addresses (RFC 8020): saying otherwise would let a resolver
    /// conclude that nothing exists below it.
    fn inside(&self, name: &str) -> Answer {
        let below = format!(".{name}");
        let exists = self.entries.keys().any(|key| key.ends_with(&below));
        if exists { Answer::Addresses(Vec::new()) } else { Answer::NoSuchName }
    }
}

fn service_name(namespace: &str, service: &str) -> String {
    format!("{service}.{namespace}.svc.{CLUSTER_DOMAIN}").to_ascii_lowercase()
}

/// Single labels too: no resolver outside could know them.
fn is_ours(name: &str) -> bool {
    name == CLUSTER_DOMAIN || name.ends_with(&format!(".{CLUSTER_DOMAIN}")) || !name.contains('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone() -> Zone {
        let mut zone = Zone::default();
        zone.add_service("shop", "front", vec!["10.0.0.1".parse().unwrap()]);
        zone.add_service("shop", "db", vec!["10.0.0.2".parse().unwrap()]);
        zone.add_hosts("shop", "db", &BTreeMap::from([("db-0".into(), vec!["10.0.0.2".parse().unwrap()])]));
        zone.add_alias("shop", "outside", "example.org.");
        zone
    }

    #[test]
    fn services_and_their_pods_are_found_in_any_case_and_with_a_final_dot() {
        let addresses = |text: &str| Answer::Addresses(vec![text.parse().unwrap()]);
        assert_eq!(zone().find("Front.shop.svc.cluster.local."), addresses("10.0.0.1"));
        assert_eq!(zone().find("db-0.db.shop.svc.cluster.local"), addresses("10.0.0.2"));
        assert_eq!(zone().find("outside.shop.svc.cluster.local"), Answer::Alias("example.org".into()));
    }

    #[test]
    fn unknown_names_of_the_cluster_do_not_exist_and_others_are_foreign() {
        assert_eq!(zone().find("front.other.svc.cluster.local"), Answer::NoSuchName);
        assert_eq!(zone().find("front"), Answer::NoSuchName);
        assert_eq!(zone().find("front.shop"), Answer::Foreign);
        assert_eq!(zone().find("example.org"), Answer::Foreign);
    }

    #[test]
    fn a_name_between_two_others_exists_without_addresses() {
        assert_eq!(zone().find("svc.cluster.local"), Answer::Addresses(Vec::new()));
    }
}
