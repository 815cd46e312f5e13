//! Which replica writes: the holder of a Lease in `coordination.k8s.io`, taken, renewed and given back as Kubernetes' own controllers do.
//!
//! Clocks are never compared between machines: a holder has gone when its Lease did not change for the Lease's duration as this process saw
//! it. Two holders at once are possible for a moment, as with any lease; every write they make is conditional on the version they read, so
//! that the second one fails.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use tokio::sync::watch;
use tokio::time::Instant;

use super::request::{Failure, bounded};
use crate::webhook::{Part, State};

/// How long things last. Kubernetes' own controllers have the same.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// After which a holder that says nothing has gone. Default 15 s.
    pub duration: Duration,
    /// After which a holder that could not renew stops writing. Default 10 s.
    pub deadline: Duration,
    /// Between two attempts. Default 2 s.
    pub retry: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self { duration: Duration::from_secs(15), deadline: Duration::from_secs(10), retry: Duration::from_secs(2) }
    }
}

/// What to do about a Lease as seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Move {
    /// It is ours: renew.
    Renew,
    /// Nobody holds it, or whoever did has gone.
    Take,
    /// Somebody else's.
    Wait,
}

fn choose(spec: &LeaseSpec, identity: &str, unchanged: Duration) -> Move {
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    let duration = Duration::from_secs(spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or_default());
    match holder {
        holder if holder == identity => Move::Renew,
        "" => Move::Take,
        _ if unchanged >= duration => Move::Take,
        _ => Move::Wait,
    }
}

async fn lapsed(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn tell(leads: &watch::Sender<bool>, state: &State, is_leader: bool) {
    leads.send_if_modified(|leads| std::mem::replace(leads, is_leader) != is_leader);
    state.metrics.leader.set(i64::from(is_leader));
}

/// One replica's view of the Lease.
pub struct Elector {
    api: Api<Lease>,
    name: String,
    identity: String,
    times: Times,
    seen: Option<(LeaseSpec, Instant)>,
}

impl Elector {
    /// `identity` must be this process' alone.
    pub fn new(api: Api<Lease>, name: String, identity: String, times: Times) -> Self {
        Self { api, name, identity, times, seen: None }
    }

    /// Tries for ever and tells `leads`; when `end` becomes true, gives the Lease back.
    pub async fn run(mut self, state: &State, leads: &watch::Sender<bool>, mut end: watch::Receiver<bool>) {
        let Times { deadline, retry, .. } = self.times;
        let mut renewed: Option<Instant> = None;
        loop {
            let outcome = {
                let lapse = renewed.map(|since| since + deadline);
                let mut attempt = std::pin::pin!(self.attempt());
                tokio::select! {
                    outcome = &mut attempt => outcome,
                    // Whoever cannot renew in time stops writing, however long the answer takes.
                    () = lapsed(lapse) => {
                        tell(leads, state, false);
                        attempt.await
                    }
                }
            };
            match outcome {
                Ok((holder, since)) => {
                    renewed = (holder == self.identity).then_some(since);
                    let holder = if renewed.is_some() { "this replica".to_owned() } else { holder };
                    state.settled(Part::Lease, format!("Lease {} is held by {holder}", self.name));
                }
                Err(Failure::Conflict) => renewed = None,
                Err(failure) => state.trouble(Part::Lease, format!("Lease {}: {failure}", self.name)),
            }
            tell(leads, state, renewed.is_some_and(|since| since.elapsed() < deadline));
            tokio::select! {
                () = tokio::time::sleep(retry) => {}
                _ = end.wait_for(|end| *end) => break,
            }
        }
        tell(leads, state, false);
        if renewed.is_some() {
            self.release().await;
        }
    }

    /// Who holds the Lease after this attempt, since when at least.
    async fn attempt(&mut self) -> Result<(String, Instant), Failure> {
        let since = Instant::now();
        let Some(mut lease) = bounded(self.api.get_opt(&self.name)).await? else {
            let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
            let lease = Lease { metadata, spec: Some(self.renewal(&LeaseSpec::default())) };
            bounded(self.api.create(&PostParams::default(), &lease)).await?;
            return Ok((self.identity.clone(), since));
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let unchanged = self.unchanged(&spec);
        match choose(&spec, &self.identity, unchanged) {
            Move::Wait => Ok((spec.holder_identity.unwrap_or_default(), since)),
            Move::Renew | Move::Take => {
                lease.spec = Some(self.renewal(&spec));
                bounded(self.api.replace(&self.name, &PostParams::default(), &lease)).await?;
                Ok((self.identity.clone(), since))
            }
        }
    }

    /// For how long this process has seen the Lease as it is.
    fn unchanged(&mut self, spec: &LeaseSpec) -> Duration {
        match &self.seen {
            Some((seen, since)) if seen == spec => since.elapsed(),
            _ => {
                self.seen = Some((spec.clone(), Instant::now()));
                Duration::ZERO
            }
        }
    }

    fn renewal(&self, spec: &LeaseSpec) -> LeaseSpec {
        let now = Some(MicroTime(Timestamp::now()));
        let is_ours = spec.holder_identity.as_deref() == Some(self.identity.as_str());
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(i32::try_from(self.times.duration.as_secs().max(1)).unwrap_or(i32::MAX)),
            acquire_time: if is_ours { spec.acquire_time.clone() } else { now.clone() },
            renew_time: now,
            lease_transitions: Some(spec.lease_transitions.unwrap_or_default() + i32::from(!is_ours)),
            ..spec.clone()
        }
    }

    /// So that the next replica need not wait until this one counts as gone.
    async fn release(&self) {
        let Ok(Some(mut lease)) = bounded(self.api.get_opt(&self.name)).await else { return };
        let Some(spec) = lease.spec.as_mut().filter(|spec| spec.holder_identity.as_deref() == Some(self.identity.as_str())) else { return };
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        // If it cannot be written, the Lease runs out by itself.
        let _ = bounded(self.api.replace(&self.name, &PostParams::default(), &lease)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use k8s_openapi::api::coordination::v1::LeaseSpec;

    use super::{Move, choose};

    #[test]
    fn a_lease_is_renewed_by_its_holder_and_taken_from_who_has_gone() {
        let held =
            |holder: &str| LeaseSpec { holder_identity: Some(holder.to_owned()), lease_duration_seconds: Some(15), ..LeaseSpec::default() };
        let seconds = Duration::from_secs;
        assert_eq!(choose(&held("a"), "a", seconds(100)), Move::Renew);
        assert_eq!(choose(&held("b"), "a", seconds(14)), Move::Wait);
        assert_eq!(choose(&held("b"), "a", seconds(15)), Move::Take);
        assert_eq!(choose(&held(""), "a", seconds(0)), Move::Take, "given back");
        assert_eq!(choose(&LeaseSpec::default(), "a", seconds(0)), Move::Take, "made empty by a chart");
    }
}
