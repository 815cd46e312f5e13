//! Asking the API server: every request is bounded in time, and failures are told apart by what to do about them.

use std::time::Duration;

/// For one request.
const REQUEST: Duration = Duration::from_secs(10);

/// Why a request came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Somebody else wrote first: look again.
    #[error("somebody else wrote first")]
    Conflict,
    /// The service account may not do this: only somebody who changes its rights can help.
    #[error("{0}")]
    Forbidden(String),
    /// What the API server or the way to it said.
    #[error("{0}")]
    Other(String),
}

/// The outcome of `request`, at most ten seconds later.
///
/// # Errors
/// [`Failure`]; a write that lost against another, or whose condition no longer held, is a conflict.
pub async fn bounded<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
    match tokio::time::timeout(REQUEST, request).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(classify(error)),
        Err(_) => Err(Failure::Other(format!("the API server did not answer within {} s", REQUEST.as_secs()))),
    }
}

fn classify(error: kube::Error) -> Failure {
    match error {
        // 422: the `test` of a JSON Patch failed.
        kube::Error::Api(status) if matches!(status.code, 409 | 422) => Failure::Conflict,
        kube::Error::Api(status) => {
            let problem = format!("the API server says {}: {}", status.code, status.message);
            if status.code == 403 { Failure::Forbidden(problem) } else { Failure::Other(problem) }
        }
        error => Failure::Other(describe(&error)),
    }
}

/// An error with its causes.
pub fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// Pauses between attempts: from 100 ms, doubling, to 10 s, each shortened by up to a half at random so that replicas do not march in step.
#[derive(Debug, Default)]
pub struct Pauses(u32);

impl Pauses {
    /// The pause to make now; the next one is longer.
    pub fn lengthen(&mut self) -> Duration {
        let pause = Duration::from_millis(100 << self.0.min(7)).min(Duration::from_secs(10));
        self.0 = self.0.saturating_add(1);
        pause.mul_f64(1.0 - rand::random::<f64>() / 2.0)
    }

    /// After a success.
    pub fn reset(&mut self) {
        self.0 = 0;
    }
}
