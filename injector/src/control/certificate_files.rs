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
    let mut served = None;
    loop {
        match read(&certificate, &key) {
            Ok(found) if served.as_ref() == Some(&found) => {}
            Ok(found) => match Identity::from_pem(&found.0, &found.1) {
                Ok(identity) => {
                    let not_after = identity.not_after;
                    state.metrics.certificate_expiry.set(not_after.unix_timestamp());
                    state.serving.replace(identity);
                    state.settled(Part::Certificate, format!("{}, ends {not_after}", certificate.display()));
                    served = Some(found);
                }
                Err(problem) => state.trouble(Part::Certificate, format!("{} and {}: {problem}", certificate.display(), key.display())),
            },
            Err(problem) => state.trouble(Part::Certificate, problem),
        }
        changes.next().await;
        tokio::time::sleep(GATHER).await;
    }
}

fn read(certificate: &Path, key: &Path) -> Result<(Vec<u8>, Vec<u8>), String> {
    Ok((files::read(certificate)?, files::read(key)?))
}
