//! A pod from its init containers to its last process.
//!
//! Init containers run one after the other; the proxy and native sidecars start next and are waited for, so that the
//! application's first call already finds the mesh; then the applications start together. On termination all
//! containers get SIGTERM at the same time, as Kubernetes does for containers that are no native sidecars.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::plan::{ContainerPlan, PodPlan, Role};
use super::supervise::{Status, Supervisor};
use crate::container::process::Launcher;

/// How long applications wait for a sidecar that does not become ready. Then they start all the same: the pod is
/// not ready anyway, and a person can look into it.
const SIDECAR_PATIENCE: Duration = Duration::from_secs(30);

/// One news item of a pod.
#[derive(Clone, Debug)]
pub enum News {
    /// Container number `index` changed.
    Container {
        /// Position in [`PodPlan::containers`].
        index: usize,
        /// How it stands now.
        status: Status,
    },
    /// All containers ended for good; true if each application succeeded.
    Ended(bool),
}

/// Who tells what happened, and how to stop it.
#[derive(Debug)]
pub struct Life {
    stop: watch::Sender<bool>,
}

impl Life {
    /// Starts the pod; `news` receives every change, tagged by `tag`.
    pub fn begin<T>(launcher: Launcher, plan: Arc<PodPlan>, tag: T, news: mpsc::UnboundedSender<(T, News)>) -> Life
    where
        T: Clone + Send + 'static,
    {
        let (stop, stopped) = watch::channel(false);
        let tell = move |item: News| drop(news.send((tag.clone(), item)));
        tokio::spawn(async move {
            let success = Runner { launcher, plan, tell, stopped, tasks: JoinSet::new() }.run().await;
            (success.1)(News::Ended(success.0));
        });
        Life { stop }
    }

    /// Begins the termination; [`News::Ended`] tells when it is over.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }
}

struct Runner<F> {
    launcher: Launcher,
    plan: Arc<PodPlan>,
    tell: F,
    stopped: watch::Receiver<bool>,
    /// One task per running container; the value says whether it was an application and whether it succeeded.
    tasks: JoinSet<(Role, bool)>,
}

impl<F: Fn(News) + Clone + Send + 'static> Runner<F> {
    async fn run(mut self) -> (bool, F) {
        let plan = self.plan.clone();
        let mut success = true;
        // Stopping the sidecars alone, when the applications are done, needs a switch of its own.
        let (stop_sidecars, sidecars_stopped) = watch::channel(false);
        forward(self.stopped.clone(), stop_sidecars.clone());
        for (index, container) in plan.containers.iter().enumerate() {
            if *self.stopped.borrow() {
                break;
            }
            match container.role {
                Role::Init => success = self.init(index, container).await,
                Role::Sidecar => self.sidecar(index, container, sidecars_stopped.clone()).await,
                Role::App => drop(self.spawn(index, container, self.stopped.clone())),
            }
            if !success {
                break;
            }
        }
        let mut apps = plan.containers.iter().filter(|container| container.role == Role::App).count();
        while let Some(ended) = self.tasks.join_next().await {
            let Ok((Role::App, app_success)) = ended else { continue };
            success &= app_success;
            apps = apps.saturating_sub(1);
            if apps == 0 {
                stop_sidecars.send_replace(true);
            }
        }
        (success, self.tell)
    }

    async fn init(&mut self, index: usize, container: &ContainerPlan) -> bool {
        drop(self.spawn(index, container, self.stopped.clone()));
        loop {
            match self.tasks.join_next().await {
                Some(Ok((Role::Init, success))) => return success,
                Some(_) => {}
                None => return false,
            }
        }
    }

    async fn sidecar(&mut self, index: usize, container: &ContainerPlan, stop: watch::Receiver<bool>) {
        let mut status = self.spawn(index, container, stop);
        let mut stopped = self.stopped.clone();
        tokio::select! {
            _ = tokio::time::timeout(SIDECAR_PATIENCE, status.wait_for(|status| status.ready || status.is_terminated())) => {}
            _ = stopped.wait_for(|stop| *stop) => {}
        }
    }

    fn spawn(&mut self, index: usize, container: &ContainerPlan, stop: watch::Receiver<bool>) -> watch::Receiver<Status> {
        let (sender, status) = watch::channel(Status::waiting("ContainerCreating"));
        let supervisor = Supervisor::new(&self.launcher, &self.plan, container, sender, stop);
        let (tell, mut changes, role) = (self.tell.clone(), status.clone(), container.role);
        tokio::spawn(async move {
            while changes.changed().await.is_ok() {
                let status = changes.borrow_and_update().clone();
                tell(News::Container { index, status });
            }
        });
        self.tasks.spawn(async move { (role, supervisor.run().await) });
        status
    }
}

fn forward(mut from: watch::Receiver<bool>, to: watch::Sender<bool>) {
    tokio::spawn(async move {
        if from.wait_for(|stop| *stop).await.is_ok() {
            to.send_replace(true);
        }
    });
}
