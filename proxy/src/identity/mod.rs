//! The workload's certificate and trust bundle, and the TLS configurations built from them.
//!
//! Certificates come from a folder (`cert-chain.pem`, `key.pem`, `root-cert.pem`; sidecar contract 4.3) that somebody else
//! keeps up to date. Whatever is read becomes one immutable [`Generation`] with finished TLS configurations; rotation
//! replaces it as a whole, so a handshake sees one consistent set and established connections live on. A folder that does
//! not hold usable certificates never replaces one that did.

pub(crate) mod certificate;
pub mod client;
mod gateway;
mod generation;
mod kept;
mod origination;
mod pem;
mod secret;
mod session;
mod verifier;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;

pub use certificate::CertificateFacts;
pub use client::{MeshAlpn, MeshTarget, PeerInfo};
pub use generation::Generation;
pub use secret::{Secret, SecretError, SecretFiles};
pub use session::Session;

use gateway::ServerConfigs;
use origination::ClientConfigs;

/// Why a TLS session could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Mesh mTLS was asked for, and there is no usable workload certificate.
    #[error("TLS_error: no workload certificate: {0}")]
    NoIdentity(String),
    /// Key material or settings from the configuration cannot be used.
    #[error("TLS_error: {0}")]
    Configuration(String),
    /// The handshake failed; the text says at which check.
    #[error("TLS_error: {reason}", reason = handshake_reason(.0))]
    Handshake(#[from] std::io::Error),
}

/// Why a handshake failed, in words: rustls shows the reasons of our own verifiers in their `Debug` form.
pub fn handshake_reason(error: &std::io::Error) -> String {
    use rustls::{CertificateError, Error};
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::InvalidCertificate(CertificateError::Other(reason))) => reason.to_string(),
        Some(reason) => reason.to_string(),
        None => error.to_string(),
    }
}

/// The workload identity behind every mesh TLS handshake, replaced as a whole on rotation.
#[derive(Debug)]
pub struct Identity {
    folder: Option<PathBuf>,
    optional: bool,
    current: ArcSwapOption<Generation>,
    state: Mutex<State>,
    pub(crate) originations: ClientConfigs,
    pub(crate) gateways: ServerConfigs,
}

#[derive(Debug)]
struct State {
    trust_domains: Arc<[String]>,
    files: Option<SecretFiles>,
    generations: u64,
    problem: Option<String>,
}

/// What [`Identity::reload`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// The files say what they said before.
    Unchanged,
    /// A new generation is in force.
    Replaced,
}

/// The state of the workload certificate, for readiness, metrics and dumps. Holds no key material.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentityStatus {
    /// False when no certificate folder was configured, or an optional one is empty; mesh mTLS is then impossible and nothing
    /// waits for it.
    pub configured: bool,
    /// Own SPIFFE URI; `None` until a certificate was loaded.
    pub spiffe_id: Option<String>,
    /// Serial number of the leaf, lower-case hex.
    pub serial: Option<String>,
    /// Start of validity of the leaf.
    pub not_before: Option<SystemTime>,
    /// When the first certificate of the chain in force expires.
    pub expires_at: Option<SystemTime>,
    /// Counts up with each replacement, 0 = none yet.
    pub generation: u64,
    /// Why the folder's present content is not in force, if it is not; names the file.
    pub problem: Option<String>,
}

impl IdentityStatus {
    /// Whether mesh handshakes can succeed at `now`, or are not wanted at all.
    pub fn is_ready(&self, now: SystemTime) -> bool {
        !self.configured || self.expires_at.is_some_and(|end| end > now)
    }
}

impl Identity {
    /// An identity read from `folder` (`None` = mesh mTLS is off) on the first [`Identity::reload`].
    /// `trust_domains`: the own one first, then its aliases.
    pub fn new(folder: Option<PathBuf>, trust_domains: &[String]) -> Self {
        let state = State { trust_domains: trust_domains.into(), files: None, generations: 0, problem: None };
        Identity {
            folder,
            optional: false,
            current: ArcSwapOption::empty(),
            state: Mutex::new(state),
            originations: ClientConfigs::default(),
            gateways: ServerConfigs::default(),
        }
    }

    /// Nothing waits for certificates until the folder holds something: an injected pod has an empty one where nobody issues
    /// any.
    pub fn optional(self) -> Self {
        Identity { optional: true, ..self }
    }

    /// Nobody has asked for a certificate so far.
    fn is_unused(&self) -> bool {
        let is_empty = |folder: &PathBuf| std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
        self.folder.as_ref().is_none_or(|folder| self.optional && self.current.load().is_none() && is_empty(folder))
    }

    /// The folder that is read.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// The generation in force.
    pub fn current(&self) -> Option<Arc<Generation>> {
        self.current.load_full()
    }

    /// The generation in force, or why there is none.
    pub fn require(&self) -> Result<Arc<Generation>, TlsError> {
        self.current().ok_or_else(|| TlsError::NoIdentity(self.missing_reason()))
    }

    /// Reads the folder and puts its content in force if it is usable and new. Blocking file I/O: call it from the
    /// control thread. On error the generation in force stays.
    ///
    /// # Errors
    /// Names the file, what was expected, and what happens now.
    pub fn reload(&self) -> Result<Reload, SecretError> {
        let Some(folder) = self.folder.as_ref().filter(|_| !self.is_unused()) else { return Ok(Reload::Unchanged) };
        let result = SecretFiles::read(folder).and_then(|files| self.install(files, SystemTime::now()));
        if let Err(error) = &result {
            self.state().problem = Some(error.to_string());
        }
        result
    }

    /// Replaces the trust domains (own one first, then aliases) whose peers are accepted.
    pub fn set_trust_domains(&self, trust_domains: &[String]) {
        let mut state = self.state();
        if *state.trust_domains == *trust_domains {
            return;
        }
        state.trust_domains = trust_domains.into();
        if let Some(current) = self.current() {
            let published = self.publish(&mut state, Arc::clone(current.secret()));
            state.problem = published.err().map(|error| error.to_string());
        }
    }

    /// The state of the certificate in force and of the folder.
    pub fn status(&self) -> IdentityStatus {
        let problem = self.state().problem.clone();
        let mut status = IdentityStatus { configured: !self.is_unused(), problem, ..IdentityStatus::default() };
        if let Some(current) = self.current() {
            let secret = current.secret();
            status.spiffe_id = Some(secret.spiffe_id().to_string());
            status.serial = Some(secret.serial().to_owned());
            status.not_before = Some(secret.not_before());
            status.expires_at = Some(secret.expires_at());
            status.generation = current.number();
        }
        status
    }

    /// Reloads whenever the folder's content changes, looking every `interval`, and says so in the log. Symlink swaps as
    /// in mounted Secrets are noticed because the content is compared, not the links. Never returns.
    pub async fn watch(self: Arc<Self>, interval: Duration) {
        let mut last_problem = self.status().problem;
        loop {
            tokio::time::sleep(interval).await;
            let identity = Arc::clone(&self);
            let result = tokio::task::spawn_blocking(move || identity.reload()).await;
            last_problem = self.report(result.ok(), last_problem);
        }
    }

    fn report(&self, result: Option<Result<Reload, SecretError>>, last_problem: Option<String>) -> Option<String> {
        match result {
            Some(Err(error)) => {
                let text = error.to_string();
                if last_problem.as_ref() != Some(&text) {
                    tracing::warn!("{text}");
                }
                Some(text)
            }
            Some(Ok(Reload::Replaced)) => {
                let status = self.status();
                tracing::info!(generation = status.generation, spiffe_id = status.spiffe_id, "workload certificate replaced");
                None
            }
            Some(Ok(Reload::Unchanged)) => None,
            None => last_problem,
        }
    }

    fn install(&self, files: SecretFiles, now: SystemTime) -> Result<Reload, SecretError> {
        let mut state = self.state();
        if state.files.as_ref() == Some(&files) {
            state.problem = None;
            return Ok(Reload::Unchanged);
        }
        let secret = Secret::parse(&files, now)?;
        if let Some(warning) = secret.warning(&state.trust_domains) {
            tracing::warn!("{warning}");
        }
        self.publish(&mut state, Arc::new(secret))?;
        state.files = Some(files);
        state.problem = None;
        Ok(Reload::Replaced)
    }

    fn publish(&self, state: &mut State, secret: Arc<Secret>) -> Result<(), SecretError> {
        let generation = Generation::build(state.generations + 1, secret, &state.trust_domains)?;
        state.generations += 1;
        self.current.store(Some(Arc::new(generation)));
        Ok(())
    }

    fn missing_reason(&self) -> String {
        let no_reason = || match self.folder {
            Some(_) => "not loaded yet".to_owned(),
            None => "no certificate folder is configured (--certs)".to_owned(),
        };
        self.state().problem.clone().unwrap_or_else(no_reason)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
