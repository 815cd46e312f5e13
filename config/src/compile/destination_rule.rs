//! DestinationRules: which one applies to a service for this client, and how several become one.
//!
//! Source: Istio semantics 2.2 (selection) and 2.3 (merging).

use std::collections::BTreeSet;

use foldhash::{HashMap, HashMapExt};

use super::host;
use crate::api::destination_rule::{DestinationRule, Subset, TrafficPolicy};
use crate::matcher::HostMap;
use crate::model::Node;
use crate::registry::Resource;
use crate::string_map::StringMap;
use crate::visibility::Visibility;

/// One rule, or several for the same host that became one.
#[derive(Clone)]
pub(super) struct MergedRule<'r> {
    /// `exportTo` as written; rules merge only when these sets agree.
    export_to: BTreeSet<&'r str>,
    visibility: Visibility,
    selector: Option<&'r StringMap>,
    /// Top-level policy: that of the first rule which has one.
    pub(super) policy: Option<&'r TrafficPolicy>,
    /// Subsets of all rules; of equal names the first.
    pub(super) subsets: Vec<&'r Subset>,
    /// Whether the rule is bound to workloads by a selector.
    pub(super) selects_workloads: bool,
}

/// The rules of one namespace, by host.
#[derive(Default)]
struct NamespaceRules<'r> {
    hosts: Vec<Vec<MergedRule<'r>>>,
    map: HostMap,
    positions: HashMap<String, usize>,
}

/// All rules that can matter to one client.
pub(super) struct DestinationRules<'r> {
    client: &'r Node,
    root_namespace: &'r str,
    /// Step 1: rules of the client's namespace that the client sees.
    own: NamespaceRules<'r>,
    /// Steps 2 and 3: rules that leave their namespace.
    exported: HashMap<&'r str, NamespaceRules<'r>>,
}

impl<'r> DestinationRules<'r> {
    /// Files the rules, given oldest first.
    pub(super) fn new(
        rules: impl Iterator<Item = &'r Resource<DestinationRule>>,
        client: &'r Node,
        root_namespace: &'r str,
        default_export_to: &[String],
    ) -> Self {
        let mut filed = DestinationRules { client, root_namespace, own: NamespaceRules::default(), exported: HashMap::new() };
        let (with_selector, without): (Vec<_>, Vec<_>) = rules.partition(|rule| rule.spec.workload_selector.is_some());
        for rule in with_selector.into_iter().chain(without) {
            filed.file(rule, default_export_to);
        }
        filed
    }

    fn file(&mut self, rule: &'r Resource<DestinationRule>, default_export_to: &[String]) {
        let namespace: &'r str = rule.namespace();
        let merged = MergedRule::new(rule, default_export_to);
        let host = host::expand(&rule.spec.host, namespace, &self.client.cluster_domain);
        let private = merged.visibility == Visibility::Private;
        // In the root namespace step 1 takes private rules only; the others are found by step 3.
        let for_own = namespace == self.client.namespace
            && merged.visibility.admits(namespace, namespace)
            && (private || namespace != self.root_namespace);
        if for_own {
            self.own.add(&host, merged.clone());
        }
        if !private {
            self.exported.entry(namespace).or_default().add(&host, merged);
        }
    }

    /// The rule for a service, by the host and namespace of that service.
    pub(super) fn find(&self, service_host: &str, service_namespace: &str) -> Option<&MergedRule<'r>> {
        let seen = |namespace: &str| {
            let rules = self.exported.get(namespace)?.find(service_host)?;
            let visible = rules.iter().filter(|rule| rule.visibility.admits(namespace, &self.client.namespace));
            self.choose(visible)
        };
        let own = self.own.find(service_host).and_then(|rules| self.choose(rules.iter()));
        own.or_else(|| seen(service_namespace)).or_else(|| seen(self.root_namespace))
    }

    /// Among the rules of one host: one that selects the client, else the newest without selector.
    fn choose<'a>(&self, rules: impl Iterator<Item = &'a MergedRule<'r>> + Clone) -> Option<&'a MergedRule<'r>>
    where
        'r: 'a,
    {
        let selects = |rule: &&MergedRule<'r>| {
            let selector = rule.selector;
            selector.is_some_and(|labels| labels.iter().all(|(key, value)| self.client.labels.get(key) == Some(value)))
        };
        rules.clone().find(selects).or_else(|| rules.filter(|rule| rule.selector.is_none()).last())
    }
}

impl<'r> NamespaceRules<'r> {
    fn add(&mut self, host: &str, rule: MergedRule<'r>) {
        let next = self.hosts.len();
        let position = *self.positions.entry(host.to_owned()).or_insert(next);
        if position == next {
            self.map.insert(host, position);
            self.hosts.push(Vec::new());
        }
        let Some(rules) = self.hosts.get_mut(position) else { return };
        let mut keep = true;
        for existing in rules.iter_mut() {
            keep &= !existing.absorb(&rule);
        }
        if keep {
            rules.push(rule);
        }
    }

    fn find(&self, host: &str) -> Option<&Vec<MergedRule<'r>>> {
        self.hosts.get(self.map.find(host)?)
    }
}

impl<'r> MergedRule<'r> {
    fn new(rule: &'r Resource<DestinationRule>, default_export_to: &[String]) -> Self {
        let spec = &*rule.spec;
        let selector = spec.workload_selector.as_ref().map(|selector| &selector.match_labels);
        // A rule with a selector never leaves its namespace.
        let (export_to, visibility) = match selector {
            Some(_) => (BTreeSet::from(["."]), Visibility::Private),
            None => {
                (spec.export_to.iter().map(String::as_str).collect(), Visibility::of(&spec.export_to, default_export_to, rule.namespace()))
            }
        };
        let mut merged = MergedRule {
            export_to,
            visibility,
            selector,
            policy: spec.traffic_policy.as_deref(),
            subsets: Vec::new(),
            selects_workloads: selector.is_some(),
        };
        merged.add_subsets(spec.subsets.iter());
        merged
    }

    fn add_subsets(&mut self, subsets: impl Iterator<Item = &'r Subset>) {
        for subset in subsets {
            if self.subset(&subset.name).is_none() {
                self.subsets.push(subset);
            }
        }
    }

    /// Takes over what `later` adds, if the two may merge; returns whether `later` is used up by that.
    fn absorb(&mut self, later: &MergedRule<'r>) -> bool {
        let same_set = self.export_to == later.export_to;
        let selectors_fit = self.selector == later.selector || later.selector.is_none();
        if !(same_set || later.export_to.is_superset(&self.export_to) && self.selector.is_none()) || !selectors_fit {
            return false;
        }
        self.add_subsets(later.subsets.iter().copied());
        self.policy = self.policy.or(later.policy);
        same_set && self.selector == later.selector
    }

    /// The subset of a name.
    pub(super) fn subset(&self, name: &str) -> Option<&'r Subset> {
        self.subsets.iter().find(|subset| subset.name == name).copied()
    }
}
