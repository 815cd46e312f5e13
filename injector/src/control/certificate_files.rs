//! A serving certificate from files, as cert-manager's or a Secret's mounted in the pod: served, and exchanged when the files change.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::files::{self, Changes};
use crate::webhook::certificate::Identity;
use crate::webhook::{Part, State};

/// A certificate and its key are two files; between their two writings they do not fit.
const GATHER: Duration = Duration::from_millis(100);

/// Serves what the files hold, for ever. Files that do not fit leave the last good certificate in force.
pub async fn keep(certificate: PathBuf, key: PathBuf, state: Arc<State>) {
    let mut changes = Changes::of([certificate.as_path(), key.as_path()]);
    let mut served: Option<(Files, String)> = None;
    loop {
        let outcome = read(&certificate, &key).and_then(|found| match &served {
            // Told again: meanwhile they may have been unreadable, or have not fitted.
            Some((files, fact)) if *files == found => Ok(fact.clone()),
            _ => {
                let identity = Identity::from_pem(&found.0, &found.1)
                    .map_err(|problem| format!("{} and {}: {problem}", certificate.display(), key.display()))?;
                let fact = format!("{}, ends {}", certificate.display(), identity.not_after);
                state.metrics.certificate_expiry.set(identity.not_after.unix_timestamp());
                state.serving.replace(identity);
                served = Some((found, fact.clone()));
                Ok(fact)
            }
        });
        match outcome {
            Ok(fact) => state.settled(Part::Certificate, fact),
            Err(problem) => state.trouble(Part::Certificate, problem),
        }
        changes.next().await;
        tokio::time::sleep(GATHER).await;
    }
}

/// Certificate and key.
type Files = (Vec<u8>, Vec<u8>);

fn read(certificate: &Path, key: &Path) -> Result<Files, String> {
    Ok((files::read(certificate)?, files::read(key)?))
}
