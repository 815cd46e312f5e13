//! How much of a pod is looked at: what no API server would store, or no kubelet run, is refused before any work is done for it.

use serde_json::Value;

use crate::{InjectError, pod};

/// All annotations of an object with their names: Kubernetes' own limit, in bytes.
const ANNOTATIONS: usize = 256 << 10;
/// Entries of one list of `spec`. Kubernetes' limit is that of the whole object; pods that run are far below.
const ENTRIES: usize = 1000;

/// Refuses what is too large.
pub(crate) fn check(pod: &Value) -> Result<(), InjectError> {
    let annotations = pod.pointer("/metadata/annotations").and_then(Value::as_object);
    let lengths = annotations.into_iter().flatten().map(|(name, value)| name.len() + value.as_str().map_or(0, str::len));
    let found: usize = lengths.sum();
    if found > ANNOTATIONS {
        let expected = format!("at most {ANNOTATIONS} bytes in total, as the API server does");
        return Err(InjectError::TooLarge { field: "metadata.annotations", expected, found });
    }
    for (list, field) in [
        ("containers", "spec.containers"),
        ("initContainers", "spec.initContainers"),
        ("volumes", "spec.volumes"),
        ("imagePullSecrets", "spec.imagePullSecrets"),
    ] {
        let found = pod::list(pod, list).len();
        if found > ENTRIES {
            return Err(InjectError::TooLarge { field, expected: format!("at most {ENTRIES} entries"), found });
        }
    }
    Ok(())
}
