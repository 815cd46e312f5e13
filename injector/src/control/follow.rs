//! Following one object by name: whatever happens to the connection, the newest version seen is there for whoever asks.

use std::fmt::Debug;
use std::sync::Arc;

use futures_util::{StreamExt as _, pin_mut};
use kube::runtime::watcher;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::request::{self, Pauses};

/// Seconds after which the API server ends a watch and it is begun anew from where it was.
const WATCH: u32 = 60;

/// What is known of an object.
#[derive(Debug)]
pub struct Seen<K> {
    /// `None`: never seen yet. `Some(None)`: it does not exist.
    pub object: Option<Option<Arc<K>>>,
    /// Why it cannot be followed at the moment. Then `object` may be old.
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
    tokio::spawn(async move {
        tokio::select! {
            () = read(api, config, &sender) => {}
            () = sender.closed() => {}
        }
    });
    receiver
}

/// A watch that the API server can no longer resume begins anew with a list.
async fn read<K>(api: Api<K>, config: watcher::Config, sender: &watch::Sender<Seen<K>>)
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let mut pauses = Pauses::default();
    loop {
        let failure = read_until_failure(api.clone(), config.clone(), sender, &mut pauses).await;
        if !is_expired(&failure) {
            let problem = describe(&failure);
            sender.send_if_modified(|seen| seen.problem.replace(problem.clone()).as_ref() != Some(&problem));
        }
        tokio::time::sleep(pauses.lengthen()).await;
    }
}

async fn read_until_failure<K>(api: Api<K>, config: watcher::Config, sender: &watch::Sender<Seen<K>>, pauses: &mut Pauses) -> watcher::Error
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let events = watcher(api, config);
    pin_mut!(events);
    let mut found = None;
    loop {
        let now = match events.next().await {
            Some(Ok(watcher::Event::Apply(object))) => Some(Arc::new(object)),
            Some(Ok(watcher::Event::Delete(_))) => None,
            // A list: what it does not contain does not exist.
            Some(Ok(watcher::Event::Init)) => {
                found = None;
                continue;
            }
            Some(Ok(watcher::Event::InitApply(object))) => {
                found = Some(Arc::new(object));
                continue;
            }
            Some(Ok(watcher::Event::InitDone)) => found.take(),
            Some(Err(error)) => return error,
            // The stream has no end; if it had, it would begin anew.
            None => return watcher::Error::NoResourceVersion,
        };
        pauses.reset();
        sender.send_replace(Seen { object: Some(now), problem: None });
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
