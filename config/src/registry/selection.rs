//! Endpoints that labels select: WorkloadEntries behind Services and ServiceEntries, pods behind ServiceEntries.
//!
//! Source: Istio semantics 4.6. Both act within a namespace only.

use std::collections::HashMap;
use std::sync::Arc;

use super::endpoints::{Address, Endpoint, Health, of_written};
use super::table::Resource;
use super::{Tables, Workload};
use crate::api::service_entry::WorkloadEntry;
use crate::string_map::StringMap;

type Labels = StringMap;

/// What can be selected, by namespace.
pub(super) struct Selection<'t> {
    entries: HashMap<&'t str, Vec<(&'t Resource<WorkloadEntry>, Labels)>>,
    pods: HashMap<&'t str, Vec<&'t Arc<Workload>>>,
}

impl<'t> Selection<'t> {
    pub(super) fn new(tables: &'t Tables, workloads: &'t [Arc<Workload>]) -> Self {
        let mut entries: HashMap<&'t str, Vec<_>> = HashMap::new();
        for entry in &tables.workload_entries {
            // Labels of the metadata win over those of the spec.
            let mut labels = entry.spec.labels.clone();
            labels.extend(entry.object.meta.labels.clone());
            entries.entry(entry.namespace()).or_default().push((entry, labels));
        }
        let mut pods: HashMap<&'t str, Vec<_>> = HashMap::new();
        for pod in workloads {
            pods.entry(&pod.namespace).or_default().push(pod);
        }
        Selection { entries, pods }
    }

    /// WorkloadEntries that carry all labels of a selector. Their port is the one they give under the port's name, else
    /// `target`. An empty selector selects nothing.
    pub(super) fn entries(&self, namespace: &str, selector: &Labels, port: &str, target: u16) -> Vec<Endpoint> {
        let carries = |labels: &Labels| !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value));
        let entries = self.entries.get(namespace).into_iter().flatten().filter(|(_, labels)| carries(labels));
        let endpoint = |(entry, labels): &(&Resource<WorkloadEntry>, Labels)| {
            let own = entry.ports.get(port).and_then(|number| u16::try_from(*number).ok());
            let written = WorkloadEntry { labels: labels.clone(), ..WorkloadEntry::clone(&entry.spec) };
            of_written(namespace, &written, own.unwrap_or(target))
        };
        entries.map(endpoint).collect()
    }

    /// Pods that carry all labels of a selector, at their first address.
    pub(super) fn pods(&self, namespace: &str, selector: &Labels, target: u16) -> Vec<Endpoint> {
        let pods = self.pods.get(namespace).into_iter().flatten();
        let endpoint = |pod: &&Arc<Workload>| {
            let address = *pod.addresses.first()?;
            Some(Endpoint {
                address: Address::Ip(address),
                port: target,
                health: if pod.ready { Health::Ready } else { Health::NotReady },
                weight: 1,
                locality: pod.locality.clone(),
                hostname: None,
                node: pod.node.clone(),
                workload: Arc::clone(pod),
            })
        };
        pods.filter(|pod| !selector.is_empty() && pod.has_labels(selector)).filter_map(endpoint).collect()
    }
}
