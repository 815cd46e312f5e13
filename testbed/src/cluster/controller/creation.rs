//! Making a pod: object, injection, network, processes.

use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Result;
use outrigger_config::api::kubernetes::ServicePort;
use outrigger_config::object::ObjectId;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Controller;
use crate::ca::Identity;
use crate::cluster::injection;
use crate::cluster::pods::{self, INITIALIZING, PodRecord};
use crate::cluster::services::PodView;
use crate::cluster::workload::{NODE_NAME, PodKey, Workload};
use crate::network::address::PODS;
use crate::network::{Network, namespace_prefix};
use crate::pod::PodPlan;
use crate::pod::build::{Blueprint, build};
use crate::pod::facts::Facts;
use crate::pod::life::Life;
use crate::pod::supervise::Status;

impl Controller {
    /// Makes a pod. One that the injector refuses or that lacks something is made all the same, without processes, so
    /// that it shows up with the reason.
    pub(super) fn create(&mut self, workload: &Workload, key: &PodKey, ordinal: u32) -> Result<()> {
        let created = SystemTime::now();
        let stamp = OffsetDateTime::from(created).format(&Rfc3339)?;
        let written = workload.pod_object(&key.name, ordinal, &stamp);
        let labels = self.inventory.namespaces.get(&key.namespace).cloned().unwrap_or_default();
        let admitted = injection::admit(written.clone(), &key.namespace, labels, &self.inventory.mesh);
        let (json, injected, refused) = match admitted {
            Ok(admitted) => {
                self.say_once(&workload.id, admitted.warnings);
                (admitted.pod, admitted.injected, None)
            }
            Err(error) => (written.clone(), false, Some(format!("{error:#}"))),
        };
        let mut record = self.record(workload, key, created, &json, injected)?;
        record.plan = match refused {
            Some(reason) => Err(reason),
            None => self.start(&mut record, &written).map_err(|error| format!("{error:#}")),
        };
        if let Err(reason) = &record.plan {
            self.messages.push_back(format!("pod {key} does not run: {reason}"));
        }
        self.pods.insert(key.clone(), record);
        Ok(())
    }

    fn record(&mut self, workload: &Workload, key: &PodKey, created: SystemTime, json: &Value, injected: bool) -> Result<PodRecord> {
        let (object, pod) = pods::typed(json)?;
        let identity = Identity {
            trust_domain: self.inventory.mesh.trust_domain.clone(),
            namespace: key.namespace.clone(),
            service_account: pod.spec.account().to_owned(),
        };
        let number = self.free_number();
        Ok(PodRecord {
            key: key.clone(),
            workload: workload.id.clone(),
            hash: workload.hash.clone(),
            object,
            pod,
            public: pods::public_part(json),
            injected,
            address: self.network.pod_address(number),
            created,
            identity,
            renew_at: None,
            plan: Err(String::new()),
            statuses: Vec::new(),
            life: None,
            deleting: false,
            ended: None,
        })
    }

    /// Replicas have the same warnings.
    fn say_once(&mut self, workload: &ObjectId, warnings: Vec<String>) {
        for warning in warnings {
            let message = format!("{workload}: {warning}");
            if self.said.insert(message.clone()) {
                self.messages.push_back(message);
            }
        }
    }

    fn free_number(&mut self) -> u16 {
        let taken = |number: u16| self.pods.values().any(|pod| pod.address.number == number);
        // An address is not used again until all others were: late packets for the dead must not reach the living.
        let number = (0..PODS).map(|step| (self.next_number + step) % PODS).find(|number| !taken(*number));
        let number = number.unwrap_or(0);
        self.next_number = (number + 1) % PODS;
        number
    }

    fn start(&mut self, record: &mut PodRecord, written: &Value) -> Result<Arc<PodPlan>> {
        let key = record.key.clone();
        let folder = self.folder.pod(&key.namespace, &key.name);
        std::fs::create_dir_all(&folder)?;
        let netns = self.network.attach_pod(&self.netns_name(&key), record.address)?;
        let facts = record.facts(&self.network);
        let (_, original) = pods::typed(written)?;
        let ports = self.service_ports(&record.view());
        let plan = build(&Blueprint {
            spec: &record.pod.spec,
            written: &original.spec,
            injected: record.injected,
            facts: &facts,
            sources: &self.inventory.sources,
            services: &ports,
            images: &self.images,
            program: self.launcher.program(),
            configuration: &self.configuration,
            folder: &folder,
            netns: &netns,
            name_server: self.network.subnet.node_v4().into(),
        })?;
        if record.injected {
            self.certify(record)?;
        }
        let broken = plan.containers.iter().find_map(|container| container.spec.as_ref().err());
        if let Some(reason) = broken {
            self.messages.push_back(format!("pod {key}: {reason}"));
        }
        record.statuses = vec![Status::waiting(INITIALIZING); plan.containers.len()];
        let plan = Arc::new(plan);
        record.life = Some(Life::begin(self.launcher.clone(), plan.clone(), key, self.reporter.clone()));
        Ok(plan)
    }

    pub(super) fn netns_name(&self, key: &PodKey) -> String {
        format!("{}{}.{}", namespace_prefix(self.folder.name()), key.namespace, key.name)
    }

    fn service_ports(&self, pod: &PodView) -> Vec<ServicePort> {
        let selecting = self.inventory.services.iter().filter(|service| service.selects(&pod.key.namespace, &pod.labels));
        selecting.flat_map(|service| service.service.spec.ports.iter().cloned()).collect()
    }
}

impl PodRecord {
    /// What the pod may know about itself.
    pub(super) fn facts(&self, network: &Network) -> Facts {
        Facts {
            meta: self.object.meta.clone(),
            node_name: NODE_NAME.to_owned(),
            service_account: self.identity.service_account.clone(),
            addresses: self.addresses(),
            host: network.subnet.node_v4().into(),
        }
    }

    /// Whether it has no process because something was missing.
    pub(super) fn cannot_start(&self) -> bool {
        let broken = |plan: &Arc<PodPlan>| plan.containers.iter().any(|container| container.spec.is_err());
        !self.deleting && self.plan.as_ref().map_or(true, broken)
    }
}
