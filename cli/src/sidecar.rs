//! The proxy beside a program that comes and goes, as in a Job: waited for at its begin, told to end at its end.
//!
//! Source: sidecar contract section 0.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::bail;

use crate::{request, stdio};

/// Where a proxy says whether it is ready, and where it takes orders.
const HEALTH: u16 = 15021;
const STATUS: u16 = 15020;
/// Time for one question, and between two.
const QUESTION: Duration = Duration::from_secs(1);
const PERIOD: Duration = Duration::from_millis(100);

/// Waits until this pod's proxy is ready.
///
/// # Errors
/// It is not within that time; the message has the last reason.
pub fn wait(time: Duration) -> anyhow::Result<()> {
    let deadline = Instant::now() + time;
    loop {
        let reason = match request::send("GET", HEALTH, "healthz/ready", "", QUESTION) {
            Ok(answer) if answer.status == 200 => return Ok(()),
            Ok(answer) => format!("status {}: {}", answer.status, answer.body.trim_end()),
            Err(error) => format!("{error:#}"),
        };
        if Instant::now() >= deadline {
            bail!("this pod's proxy is not ready after {time:?}: {reason}");
        }
        thread::sleep(PERIOD);
    }
}

/// Tells this pod's proxy to end when dropped, however the program's work went.
pub struct Quit;

impl Drop for Quit {
    fn drop(&mut self) {
        let told = request::send("POST", STATUS, "quitquitquit", "", QUESTION);
        match told {
            Ok(answer) if answer.status < 400 => {}
            Ok(answer) => stdio::warn(&format!("outrigger: the proxy does not end: it answered {} to POST /quitquitquit", answer.status)),
            Err(error) => stdio::warn(&format!("outrigger: the proxy was not told to end: {error:#}")),
        }
    }
}
