//! Following one object by name: whatever happens to the connection, the newest version seen is there for whoever asks.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, pin_mut};
use kube::runtime::watcher;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::Instant;

use super::request::{self, Pauses};

/// Seconds after which the API server ends a watch and it is begun anew from where it was.
const WATCH: u32 = 60;
/// A watch that has lasted this long, or told something, works. Those that end sooner are begun anew ever more slowly.
const PROOF: Duration = Duration::from_secs(2);

/// What is known of an object.
#[derive(Debug)]
pub struct Seen<K> {
    /// `None`: never seen yet. `Some(None)`: it does not exist.
    pub object: Option<Option<Arc<K>>>,
    /// Why it cannot be followed at the moment. Then `object` may be old; if only watching it fails, it is as new as the last list.
    pub problem: Option<String>,
}

impl<K> Default for Seen<K> {
    fn default() -> Self {
        Self { object: None, problem: None }
    }
}

impl<K> Clone for Seen<K> {
    fn clone(&self) -> Self {
        Self { object: self.object.clone(), problem: self.problem.clone() }
    }
}

/// Follows the object for as long as somebody listens. Spawns a task.
pub fn follow<K>(api: Api<K>, name: &str) -> watch::Receiver<Seen<K>>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let (sender, receiver) = watch::channel(Seen::default());
    let config = watcher::Config::default().fields(&format!("metadata.name={name}")).timeout(WATCH);
    tokio::spawn(Follower::new(sender).run(api, config));
    receiver
}

/// A watch that the API server can no longer resume begins anew with a list.
struct Follower<K> {
    sender: watch::Sender<Seen<K>>,
    pauses: Pauses,
    /// While a watch has yet to prove that it works.
    proof_due: Option<Instant>,
    /// The last watch failed before it had proved anything: that a list succeeds does not end the problem.
    is_in_doubt: bool,
}

impl<K> Follower<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    fn new(sender: watch::Sender<Seen<K>>) -> Self {
        Self { sender, pauses: Pauses::default(), proof_due: None, is_in_doubt: false }
    }

    /// Until nobody listens.
    async fn run(mut self, api: Api<K>, config: watcher::Config) {
        let listeners = self.sender.clone();
        tokio::select! {
            () = self.read(api, config) => {}
            () = listeners.closed() => {}
        }
    }

    async fn read(&mut self, api: Api<K>, config: watcher::Config) {
        loop {
            let failure = self.read_until_failure(api.clone(), config.clone()).await;
            let is_unproved = self.proof_due.take().is_some();
            if !is_expired(&failure) {
                self.is_in_doubt |= is_unproved;
                let problem = describe(&failure);
                self.sender.send_if_modified(|seen| seen.problem.replace(problem.clone()).as_ref() != Some(&problem));
            }
            tokio::time::sleep(self.pauses.lengthen()).await;
        }
    }

    async fn read_until_failure(&mut self, api: Api<K>, config: watcher::Config) -> watcher::Error {
        let events = watcher(api, config);
        pin_mut!(events);
        let mut found = None;
        loop {
            let event = match self.proof_due {
                Some(due) => match tokio::time::timeout_at(due, events.next()).await {
                    Ok(event) => event,
                    Err(_) => {
                        self.prove();
                        continue;
                    }
                },
                None => events.next().await,
            };
            match event {
                Some(Ok(watcher::Event::Apply(object))) => self.watched(Some(object)),
                Some(Ok(watcher::Event::Delete(_))) => self.watched(None),
                // A list: what it does not contain does not exist.
                Some(Ok(watcher::Event::Init)) => found = None,
                Some(Ok(watcher::Event::InitApply(object))) => found = Some(object),
                Some(Ok(watcher::Event::InitDone)) => self.listed(found.take()),
                Some(Err(error)) => return error,
                // The stream has no end; if it had, it would begin anew.
                None => return watcher::Error::NoResourceVersion,
            }
        }
    }

    fn listed(&mut self, object: Option<K>) {
        self.proof_due = Some(Instant::now() + PROOF);
        let is_in_doubt = self.is_in_doubt;
        self.sender.send_modify(|seen| {
            seen.object = Some(object.map(Arc::new));
            seen.problem.take_if(|_| !is_in_doubt);
        });
    }

    fn watched(&mut self, object: Option<K>) {
        self.sender.send_modify(|seen| seen.object = Some(object.map(Arc::new)));
        self.prove();
    }

    /// The watch works.
    fn prove(&mut self) {
        (self.proof_due, self.is_in_doubt) = (None, false);
        self.pauses.reset();
        self.sender.send_if_modified(|seen| seen.problem.take().is_some());
    }
}

/// 410 is how an API server says that it has forgotten what happened since; nothing is wrong.
fn is_expired(failure: &watcher::Error) -> bool {
    match failure {
        watcher::Error::WatchStartFailed(kube::Error::Api(status)) | watcher::Error::WatchError(status) => status.code == 410,
        _ => false,
    }
}

fn describe(failure: &watcher::Error) -> String {
    match failure {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => format!("the API server says {}: {}", status.code, status.message),
        failure => request::describe(failure),
    }
}
