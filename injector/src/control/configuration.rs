//! The injector's configuration from ConfigMaps or files, read anew when it changes. One that cannot be read leaves the last good one in force,
//! which log, metric and `/readyz` say.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use tokio::sync::watch;
use tokio::time::Instant;

use super::files::{self, Changes};
use super::follow::{Seen, follow};
use crate::configuration::Configuration;
use crate::webhook::{Part, State};

/// A change takes effect once nothing has changed for this long (contract 3.3) ...
const QUIET: Duration = Duration::from_millis(100);
/// ... or for this long something always has.
const LONGEST: Duration = Duration::from_secs(2);

/// Where the texts come from.
pub enum Source {
    /// ConfigMap with `config` and `values`, and one with `mesh` that may be missing.
    ConfigMaps {
        /// Of the injector's namespace.
        api: Box<Api<ConfigMap>>,
        /// Name of the first.
        config: String,
        /// Name of the second.
        mesh: String,
    },
    /// One file each.
    Files {
        /// `config`.
        config: PathBuf,
        /// `values`.
        values: Option<PathBuf>,
        /// `mesh`.
        mesh: Option<PathBuf>,
    },
}

/// The three texts and where they were found.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Texts {
    config: String,
    values: Option<String>,
    mesh: Option<String>,
    origin: String,
}

/// Keeps the state's configuration up to date, for ever; returns only if it is not told of changes any more, which is a program error. `revision` is what this injector was started as, whatever the texts say.
pub async fn keep(source: Source, revision: String, state: Arc<State>) {
    let mut keeper = Keeper { revision, state, read: None, is_in_trouble: false };
    match source {
        Source::ConfigMaps { api, config, mesh } => {
            let mut maps = Maps { config: follow(Api::clone(&api), &config), mesh: follow(*api, &mesh) };
            loop {
                // Marked as seen before it is looked at: what comes later wakes us again.
                let seen = (maps.config.borrow_and_update().clone(), maps.mesh.borrow_and_update().clone());
                let texts = of_config_maps(&seen.0, &config, &seen.1, &mesh);
                keeper.take(texts, trouble_following(&[(&seen.0, &config), (&seen.1, &mesh)]));
                if !settled(&mut maps).await {
                    return;
                }
            }
        }
        Source::Files { config, values, mesh } => {
            let paths = [Some(&config), values.as_ref(), mesh.as_ref()];
            let mut changes = Changes::of(paths.into_iter().flatten().map(PathBuf::as_path));
            loop {
                keeper.take(of_files(&config, values.as_ref(), mesh.as_ref()).map(Some), None);
                if !settled(&mut changes).await {
                    return;
                }
            }
        }
    }
}

/// Something that tells when it is worth reading again.
trait Changing {
    /// False if it tells nothing any more.
    fn changed(&mut self) -> impl Future<Output = bool> + Send;
}

struct Maps {
    config: watch::Receiver<Seen<ConfigMap>>,
    mesh: watch::Receiver<Seen<ConfigMap>>,
}

impl Changing for Maps {
    async fn changed(&mut self) -> bool {
        tokio::select! {
            changed = self.config.changed() => changed.is_ok(),
            changed = self.mesh.changed() => changed.is_ok(),
        }
    }
}

impl Changing for Changes {
    async fn changed(&mut self) -> bool {
        self.next().await;
        true
    }
}

/// Waits for a change, and until nothing changes any more or it has gone on for too long. False if nothing is told any more.
async fn settled(source: &mut impl Changing) -> bool {
    let mut is_telling = source.changed().await;
    let end = Instant::now() + LONGEST;
    while is_telling && Instant::now() < end {
        match tokio::time::timeout(QUIET, source.changed()).await {
            Ok(still) => is_telling = still,
            Err(_) => break,
        }
    }
    is_telling
}

struct Keeper {
    revision: String,
    state: Arc<State>,
    /// What was read last, good or not, and what came of it: read once.
    read: Option<(Texts, Outcome)>,
    /// Whether something else than the texts was wrong the last time, so that what came of them has to be told again.
    is_in_trouble: bool,
}

/// Of good texts the notes, of others the problem; both without the origin, which may change while the texts do not.
type Outcome = Result<String, String>;

impl Keeper {
    /// Takes texts into force if they are news and good. `trouble`: whatever was found, it may be old.
    fn take(&mut self, found: Result<Option<Texts>, String>, trouble: Option<String>) {
        let found = found.and_then(|texts| self.complete(texts));
        let trouble = match found {
            Err(problem) => trouble.or(Some(problem)),
            Ok(None) => trouble,
            Ok(Some(texts)) => {
                self.take_texts(texts, trouble.is_some());
                trouble
            }
        };
        self.is_in_trouble = trouble.is_some();
        if let Some(trouble) = trouble {
            self.keep_last_good(&trouble);
        }
    }

    /// A part that was there before is missed rather than replaced by defaults: most likely it is about to be written again.
    fn complete(&self, found: Option<Texts>) -> Result<Option<Texts>, String> {
        let (Some(texts), Some((before, _))) = (&found, &self.read) else { return Ok(found) };
        let missed = [("values", &before.values, &texts.values), ("mesh", &before.mesh, &texts.mesh)];
        match missed.iter().find(|(_, before, now)| before.is_some() && now.is_none()) {
            Some((key, ..)) => Err(format!(
                "{}: expected the key `{key}` that was there before, found none (restart the injector to go on without it)",
                texts.origin
            )),
            None => Ok(found),
        }
    }

    fn take_texts(&mut self, texts: Texts, is_in_trouble: bool) {
        let outcome = match self.read.take() {
            Some((read, outcome)) if read.same_as(&texts) => {
                if self.is_in_trouble && !is_in_trouble {
                    self.tell(&texts.origin, &outcome);
                }
                outcome
            }
            _ => {
                let outcome = self.put_in_force(&texts);
                self.tell(&texts.origin, &outcome);
                outcome
            }
        };
        self.read = Some((texts, outcome));
    }

    fn put_in_force(&self, texts: &Texts) -> Outcome {
        match Configuration::read(&texts.config, texts.values.as_deref(), texts.mesh.as_deref()) {
            Ok(Configuration { mut settings, warnings }) => {
                settings.revision.clone_from(&self.revision);
                for warning in &warnings {
                    tracing::warn!(target: "injector", "{}: {warning}", texts.origin);
                }
                self.state.metrics.reloads.inc();
                let notes = if warnings.is_empty() { String::new() } else { format!("; {}", warnings.join("; ")) };
                self.state.configure(settings, &format!("{}{notes}", texts.origin));
                Ok(notes)
            }
            Err(error) => {
                self.state.metrics.reload_failures.inc();
                Err(error.to_string())
            }
        }
    }

    fn tell(&self, origin: &str, outcome: &Outcome) {
        match outcome {
            Ok(notes) => self.state.settled(Part::Configuration, format!("{origin}{notes}")),
            Err(problem) => self.keep_last_good(&format!("{origin}: {problem}")),
        }
    }

    fn keep_last_good(&self, problem: &str) {
        let consequence =
            if self.state.settings().is_some() { "the last good configuration stays in force" } else { "no pod can be injected" };
        self.state.trouble(Part::Configuration, format!("{problem}; {consequence}"));
    }
}

impl Texts {
    /// A new version of a ConfigMap with the same texts is no news.
    fn same_as(&self, other: &Self) -> bool {
        (&self.config, &self.values, &self.mesh) == (&other.config, &other.values, &other.mesh)
    }
}

/// Why what is known of them may be old.
fn trouble_following(maps: &[(&Seen<ConfigMap>, &str)]) -> Option<String> {
    maps.iter().find_map(|(seen, name)| seen.problem.as_ref().map(|problem| format!("ConfigMap {name}: {problem}")))
}

/// `None` before both have been asked for.
fn of_config_maps(config: &Seen<ConfigMap>, config_name: &str, mesh: &Seen<ConfigMap>, mesh_name: &str) -> Result<Option<Texts>, String> {
    let (Some(config), Some(mesh)) = (&config.object, &mesh.object) else { return Ok(None) };
    let config = config.as_ref().ok_or_else(|| format!("ConfigMap {config_name}: not found"))?;
    let key = |map: &ConfigMap, key: &str| map.data.as_ref().and_then(|data| data.get(key).cloned());
    let version = config.metadata.resource_version.as_deref().unwrap_or("?");
    let beside = if mesh.is_some() { format!("ConfigMap {mesh_name}") } else { format!("no ConfigMap {mesh_name}") };
    Ok(Some(Texts {
        config: key(config, "config").ok_or_else(|| format!("ConfigMap {config_name}: expected a key `config`, found none"))?,
        values: key(config, "values"),
        mesh: mesh.as_ref().and_then(|mesh| key(mesh, "mesh")),
        origin: format!("ConfigMap {config_name} (version {version}) and {beside}"),
    }))
}

fn of_files(config: &PathBuf, values: Option<&PathBuf>, mesh: Option<&PathBuf>) -> Result<Texts, String> {
    let text = |file: &PathBuf| {
        let bytes = files::read(file)?;
        String::from_utf8(bytes).map_err(|_| format!("{}: expected text in UTF-8", file.display()))
    };
    let paths = [Some(config), values, mesh].into_iter().flatten();
    Ok(Texts {
        config: text(config)?,
        values: values.map(text).transpose()?,
        mesh: mesh.map(text).transpose()?,
        origin: paths.map(|path| path.display().to_string()).collect::<Vec<_>>().join(", "),
    })
}
