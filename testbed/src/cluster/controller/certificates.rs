//! Certificates in pods: issued, renewed at half of their life, exchanged by tests.

use anyhow::{Context, Result};
use time::OffsetDateTime;

use super::Controller;
use crate::ca::{Identity, LIFETIME};
use crate::cluster::naming;
use crate::cluster::pods::PodRecord;
use crate::cluster::workload::PodKey;

impl Controller {
    /// Puts the certificate of the pod's service account into the pod.
    pub(super) fn certify(&mut self, record: &mut PodRecord) -> Result<()> {
        let now = OffsetDateTime::now_utc();
        let fresh = |issued_at: OffsetDateTime| now < issued_at + LIFETIME / 2;
        let known = self.certificates.get(&record.identity).filter(|(issued_at, _)| fresh(*issued_at)).cloned();
        let (issued_at, issued) = match known {
            Some(known) => known,
            None => (now, self.ca.issue(&record.identity, now, LIFETIME)?),
        };
        self.certificates.insert(record.identity.clone(), (issued_at, issued.clone()));
        record.renew_at = Some(issued_at + LIFETIME / 2);
        issued.save(&self.folder.pod(&record.key.namespace, &record.key.name).join("certs"))
    }

    /// Replaces the certificates that have passed half of their life.
    ///
    /// # Errors
    /// When a certificate cannot be issued or written.
    pub fn renew_certificates(&mut self, now: OffsetDateTime) -> Result<()> {
        let due = |record: &PodRecord| record.renew_at.is_some_and(|at| at <= now);
        let keys: Vec<PodKey> = self.pods.values().filter(|record| due(record)).map(|record| record.key.clone()).collect();
        for key in keys {
            if let Some(mut record) = self.pods.remove(&key) {
                let outcome = self.certify(&mut record);
                self.pods.insert(key, record);
                outcome?;
            }
        }
        Ok(())
    }

    /// Puts a certificate of another identity, or one that ends sooner, into a pod; it stays until replaced so again.
    ///
    /// # Errors
    /// When there is no such pod or the identity is no valid URI.
    pub fn issue(&mut self, key: &PodKey, identity: &Identity, lifetime: time::Duration) -> Result<()> {
        let issued = self.ca.issue(identity, OffsetDateTime::now_utc(), lifetime)?;
        let record = self.pods.get_mut(key).with_context(|| format!("no pod {key}"))?;
        record.renew_at = None;
        issued.save(&self.folder.pod(&key.namespace, &key.name).join("certs"))
    }

    /// Name of a run's certificate authority.
    pub fn organization(run: &str) -> String {
        format!("outrigger testbed {run} {}", naming::suffix())
    }
}
