//! Keeps the serving certificate, the Secret with the authority, and `caBundle` in agreement. Every replica serves a leaf of the authority in
//! the Secret; the holder of the Lease writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio::time::Instant;

use super::authority::{Authority, Step, Times};
use super::bundle::{self, Service, Standing};
use super::follow::{Seen, follow};
use super::request::{Failure, Pauses, bounded};
use crate::webhook::{Part, State};

/// Conflicts in a row that need not be mentioned.
const CONFLICTS: u32 = 5;
/// Repairs of `caBundle` in a row, each within a minute of the last, after which a rival writer is mentioned.
const REPAIRS: u32 = 10;
const CALM: std::time::Duration = std::time::Duration::from_secs(60);
/// However far away the next step is: clocks are set, machines sleep.
const LONGEST_WAIT: std::time::Duration = std::time::Duration::from_secs(60);
/// However overdue it is: what one round did not achieve, the next does not either at once.
const SHORTEST_WAIT: std::time::Duration = std::time::Duration::from_secs(1);

/// Names of the objects involved.
#[derive(Clone, Debug)]
pub struct Names {
    /// Of the Secret, the Lease and the Service.
    pub namespace: String,
    /// Keeps the authority.
    pub secret: String,
    /// In front of the webhook.
    pub service: String,
    /// MutatingWebhookConfigurations that call the Service.
    pub webhooks: Vec<String>,
}

/// The controller of one replica.
pub struct Certificates {
    secrets: Api<Secret>,
    webhooks: Api<MutatingWebhookConfiguration>,
    names: Names,
    times: Times,
    state: Arc<State>,
    /// The authority the leaf in force was signed by, and when to renew it.
    served: Option<(String, OffsetDateTime)>,
    conflicts: u32,
    repairs: Repairs,
}

/// Two writers who disagree must not chase each other as fast as the network allows.
#[derive(Default)]
struct Repairs {
    pauses: Pauses,
    in_a_row: u32,
    last: Option<Instant>,
    due: Option<Instant>,
}

impl Repairs {
    /// Whether one may be made now; makes a note of it then.
    fn may_begin(&mut self) -> bool {
        let now = Instant::now();
        if self.due.is_some_and(|due| now < due) {
            return false;
        }
        if self.last.is_none_or(|last| now - last > CALM) {
            (self.pauses, self.in_a_row) = (Pauses::default(), 0);
        }
        self.in_a_row += 1;
        self.last = Some(now);
        self.due = Some(now + self.pauses.lengthen());
        true
    }

    /// Until the next one may be made.
    fn pause(&self) -> std::time::Duration {
        self.due.map(|due| due.saturating_duration_since(Instant::now())).filter(|pause| !pause.is_zero()).unwrap_or(LONGEST_WAIT)
    }
}

type Configurations = Vec<watch::Receiver<Seen<MutatingWebhookConfiguration>>>;

impl Certificates {
    /// Nothing is asked yet.
    pub fn new(client: &Client, names: Names, times: Times, state: Arc<State>) -> Self {
        Self {
            secrets: Api::namespaced(client.clone(), &names.namespace),
            webhooks: Api::all(client.clone()),
            names,
            times,
            state,
            served: None,
            conflicts: 0,
            repairs: Repairs::default(),
        }
    }

    /// Works for ever; returns only if an object is not followed any more, which is a program error.
    pub async fn run(mut self, mut leads: watch::Receiver<bool>) {
        let mut secret = follow(self.secrets.clone(), &self.names.secret);
        let mut webhooks: Configurations = self.names.webhooks.iter().map(|name| follow(self.webhooks.clone(), name)).collect();
        let mut pauses = Pauses::default();
        loop {
            let is_leader = *leads.borrow_and_update();
            let seen = secret.borrow_and_update().clone();
            let configurations: Vec<_> = webhooks.iter_mut().map(|receiver| receiver.borrow_and_update().clone()).collect();
            let wait = match self.reconcile(is_leader, &seen, &configurations).await {
                Ok(until) => {
                    pauses.reset();
                    self.conflicts = 0;
                    bounded_wait(until, OffsetDateTime::now_utc()).min(self.repairs.pause())
                }
                Err((part, failure)) => {
                    self.mention(part, &failure);
                    pauses.lengthen()
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                Ok(()) = leads.changed() => {}
                changed = secret.changed() => if changed.is_err() { return },
                is_followed = any_changed(&mut webhooks) => if !is_followed { return },
            }
        }
    }

    fn mention(&mut self, part: Part, failure: &Failure) {
        self.conflicts += 1;
        if *failure != Failure::Conflict || self.conflicts > CONFLICTS {
            self.state.trouble(part, failure.to_string());
        }
    }

    /// One round; when the next one is due at the latest.
    async fn reconcile(
        &mut self,
        is_leader: bool,
        secret: &Seen<Secret>,
        configurations: &[Seen<MutatingWebhookConfiguration>],
    ) -> Result<OffsetDateTime, (Part, Failure)> {
        let now = OffsetDateTime::now_utc();
        let name = self.names.secret.clone();
        let certificate = |problem: String| (Part::Certificate, Failure::Other(format!("Secret {name}: {problem}")));
        let Some(object) = &secret.object else {
            return secret.problem.clone().map_or(Ok(now + time::Duration::MINUTE), |problem| Err(certificate(problem)));
        };
        let authority = object.as_deref().map_or(Ok(None), read).map_err(certificate)?;
        let Some(authority) = authority else {
            if is_leader {
                let first = Authority::new(now, &self.times).map_err(certificate)?;
                self.write(object.as_deref(), &first, "a certificate authority is made").await?;
            }
            return Ok(now + time::Duration::MINUTE);
        };
        if let Some(end) = authority.ended(now) {
            if !is_leader {
                let waits_for = "the replica that holds the Lease makes a new one";
                return Err(certificate(format!("its certificate authority ended {end}; {waits_for}")));
            }
            if let Step::Write(new, why) = authority.step(now, &self.times, false).map_err(certificate)? {
                return self.write(object.as_deref(), &new, why).await.map(|()| now + time::Duration::MINUTE);
            }
        }
        let renewal = self.serve(&authority, now).map_err(|problem| (Part::Certificate, Failure::Other(problem)))?;
        if let Some(problem) = &secret.problem {
            self.state.trouble(Part::Certificate, format!("Secret {}: {problem}", self.names.secret));
        }
        let is_published = self.publish(is_leader, &authority, configurations).await?;
        if !is_leader {
            return Ok(renewal);
        }
        match authority.step(now, &self.times, is_published).map_err(|problem| (Part::Certificate, Failure::Other(problem)))? {
            Step::Wait(until) => Ok(until.min(renewal)),
            Step::Write(new, why) => self.write(object.as_deref(), &new, why).await.map(|()| renewal),
        }
    }

    /// Serves a leaf of the authority; when that has to be renewed.
    fn serve(&mut self, authority: &Authority, now: OffsetDateTime) -> Result<OffsetDateTime, String> {
        let Names { namespace, secret, service, .. } = &self.names;
        match &self.served {
            Some((signer, renewal)) if signer == authority.current() && now < *renewal => {}
            _ => {
                let names = [format!("{service}.{namespace}.svc"), format!("{service}.{namespace}"), service.clone()];
                let leaf = authority.issue(&names, now, &self.times)?;
                let not_after = leaf.not_after;
                self.served = Some((authority.current().to_owned(), now + (not_after - now) * 2 / 3));
                self.state.metrics.certificate_expiry.set(not_after.unix_timestamp());
                self.state.serving.replace(leaf);
            }
        }
        let not_after = self.state.serving.not_after().unwrap_or(now);
        self.state.settled(Part::Certificate, format!("signed by the authority of Secret {secret}, ends {not_after}"));
        Ok(self.served.as_ref().map_or(now, |(_, renewal)| *renewal))
    }

    /// Whether no webhook configuration lacks the bundle; the leader writes it where one does. One that does not exist, or calls somebody
    /// else, trusts nobody and so holds no renewal up.
    async fn publish(
        &mut self,
        is_leader: bool,
        authority: &Authority,
        configurations: &[Seen<MutatingWebhookConfiguration>],
    ) -> Result<bool, (Part, Failure)> {
        let service = Service { name: self.names.service.clone(), namespace: self.names.namespace.clone() };
        let bundle = authority.bundle();
        let (mut is_published, mut carrying, mut problems) = (true, 0, Vec::new());
        for (name, seen) in self.names.webhooks.iter().zip(configurations) {
            let problem = |text: &str| format!("MutatingWebhookConfiguration {name}: {text}");
            problems.extend(seen.problem.as_deref().map(problem));
            match &seen.object {
                None => is_published = false,
                Some(None) => problems.push(problem("not found; no pod is injected through it")),
                Some(Some(configuration)) => match bundle::compare(configuration, &service, &bundle) {
                    Standing::Published(webhooks) => carrying += webhooks,
                    Standing::NotOurs => {
                        problems
                            .push(problem(&format!("no webhook in it calls Service {} of namespace {}", service.name, service.namespace)));
                    }
                    Standing::Differs(patch) => {
                        is_published = false;
                        if is_leader && self.repairs.may_begin() {
                            self.patch(name, patch).await?;
                        }
                        if self.repairs.in_a_row > REPAIRS {
                            problems.push(problem("somebody else writes its caBundle again and again"));
                        }
                    }
                },
            }
        }
        if !problems.is_empty() {
            self.state.trouble(Part::CaBundle, problems.join("; "));
        } else if is_published {
            self.state.settled(Part::CaBundle, format!("{carrying} webhooks trust our certificate"));
        }
        Ok(is_published)
    }

    async fn patch(&self, name: &str, patch: json_patch::Patch) -> Result<(), (Part, Failure)> {
        let patch = Patch::<MutatingWebhookConfiguration>::Json(patch);
        bounded(self.webhooks.patch(name, &PatchParams::default(), &patch)).await.map_err(|failure| match failure {
            Failure::Conflict => (Part::CaBundle, failure),
            failure => (Part::CaBundle, Failure::Other(format!("MutatingWebhookConfiguration {name}: {failure}"))),
        })?;
        self.state.metrics.ca_bundle_patches.inc();
        tracing::info!(target: "injector", "caBundle of MutatingWebhookConfiguration {name} written");
        Ok(())
    }

    /// Conditional on the version read: of several writers one succeeds.
    async fn write(&self, seen: Option<&Secret>, authority: &Authority, why: &str) -> Result<(), (Part, Failure)> {
        let name = &self.names.secret;
        let (mut data, mut annotations) = (BTreeMap::new(), BTreeMap::new());
        let mut secret = seen.cloned().unwrap_or_else(|| Secret {
            metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() },
            type_: Some("Opaque".to_owned()),
            ..Secret::default()
        });
        data.extend(secret.data.take().into_iter().flatten().map(|(key, value)| (key, value.0)));
        annotations.extend(secret.metadata.annotations.take().into_iter().flatten());
        authority.write(&mut data, &mut annotations);
        secret.data = Some(data.into_iter().map(|(key, value)| (key, ByteString(value))).collect());
        secret.metadata.annotations = Some(annotations);
        let parameters = PostParams::default();
        let written = match seen {
            Some(_) => bounded(self.secrets.replace(name, &parameters, &secret)).await,
            None => bounded(self.secrets.create(&parameters, &secret)).await,
        };
        written.map_err(|failure| match failure {
            Failure::Conflict => (Part::Certificate, failure),
            failure => (Part::Certificate, Failure::Other(format!("Secret {name}: {failure}"))),
        })?;
        tracing::info!(target: "injector", "Secret {name}: {why}");
        Ok(())
    }
}

/// From `now` until the time given, within bounds.
fn bounded_wait(until: OffsetDateTime, now: OffsetDateTime) -> std::time::Duration {
    std::time::Duration::try_from(until - now).unwrap_or_default().clamp(SHORTEST_WAIT, LONGEST_WAIT)
}

fn read(secret: &Secret) -> Result<Option<Authority>, String> {
    let data = secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect();
    Authority::read(&data, &secret.metadata.annotations.clone().unwrap_or_default())
        .map_err(|problem| format!("holds no usable certificate authority: {problem}; delete its data to have a new one made"))
}

/// Whether all are still followed.
async fn any_changed(receivers: &mut Configurations) -> bool {
    let changes: Vec<_> = receivers.iter_mut().map(|receiver| Box::pin(receiver.changed())).collect();
    if changes.is_empty() {
        return future::pending().await;
    }
    future::select_all(changes).await.0.is_ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use time::OffsetDateTime;

    use super::{LONGEST_WAIT, SHORTEST_WAIT, Seen, any_changed, bounded_wait};

    #[tokio::test]
    async fn an_object_that_is_not_followed_any_more_is_told() {
        let (sender, receiver) = tokio::sync::watch::channel(Seen::default());
        sender.send_replace(Seen::default());
        let mut receivers = vec![receiver];
        assert!(any_changed(&mut receivers).await);
        drop(sender);
        assert!(!any_changed(&mut receivers).await);
    }

    #[test]
    fn a_step_that_is_overdue_is_not_tried_without_a_pause() {
        let now = OffsetDateTime::UNIX_EPOCH;
        assert_eq!(bounded_wait(now - time::Duration::DAY, now), SHORTEST_WAIT);
        assert_eq!(bounded_wait(now + time::Duration::seconds(5), now), Duration::from_secs(5));
        assert_eq!(bounded_wait(now + time::Duration::DAY, now), LONGEST_WAIT);
    }
}
