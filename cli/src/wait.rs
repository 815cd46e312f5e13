//! `outrigger wait`: block until the pod's proxy is ready, as the postStart hook of `holdApplicationUntilProxyStarts` does.
//!
//! Source: sidecar contract section 0.

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::failure::WrongUsage;
use crate::request;

/// How to wait; the flags are pilot-agent's.
#[derive(clap::Args)]
pub struct WaitArgs {
    /// Give up after so long
    #[arg(long = "timeoutSeconds", default_value_t = 60)]
    timeout_seconds: u64,
    /// Time for one look
    #[arg(long = "requestTimeoutMillis", default_value_t = 500)]
    request_timeout_millis: u64,
    /// Time between two looks
    #[arg(long = "periodMillis", default_value_t = 500)]
    period_millis: u64,
    /// What must answer 200
    #[arg(long, default_value = "http://localhost:15021/healthz/ready")]
    url: String,
}

/// Polls until the answer is 200.
///
/// # Errors
/// The time is over (with the last reason), or the URL is not one of this machine.
pub fn run(args: &WaitArgs) -> anyhow::Result<ExitCode> {
    let Some((port, path)) = local(&args.url) else {
        bail!(WrongUsage::new(format!("--url {}: expected http://localhost:PORT/PATH", args.url)));
    };
    let patience = Duration::from_secs(args.timeout_seconds);
    let begin = Instant::now();
    loop {
        let reason = match request::send("GET", port, path, "", Duration::from_millis(args.request_timeout_millis)) {
            Ok(answer) if answer.status == 200 => return Ok(ExitCode::SUCCESS),
            Ok(answer) => format!("status {}: {}", answer.status, answer.body.trim_end()),
            Err(error) => format!("{error:#}"),
        };
        if begin.elapsed() >= patience {
            bail!("the proxy is not ready after {} s: {reason}", args.timeout_seconds);
        }
        thread::sleep(Duration::from_millis(args.period_millis));
    }
}

/// Port and path of a URL on this machine.
fn local(url: &str) -> Option<(u16, &str)> {
    let rest = url.strip_prefix("http://")?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (host, port) = authority.rsplit_once(':').unwrap_or((authority, "80"));
    let is_local = ["localhost", "127.0.0.1", "[::1]"].contains(&host);
    Some((port.parse().ok()?, path)).filter(|_| is_local)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn any_number_of_seconds_is_waited_for() {
        let proxy = TcpListener::bind("127.0.0.1:0").expect("bound");
        let url = format!("http://localhost:{}/ready", proxy.local_addr().expect("an address").port());
        let answer = thread::spawn(move || {
            let (mut stream, _) = proxy.accept().expect("asked");
            let _ = stream.read(&mut [0; 1024]);
            stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n").expect("answered");
        });
        let args = WaitArgs { timeout_seconds: u64::MAX, request_timeout_millis: 10_000, period_millis: 1, url };
        assert_eq!(run(&args).expect("ready"), ExitCode::SUCCESS);
        answer.join().expect("answered");
    }

    #[test]
    fn only_this_machine_is_waited_for() {
        assert_eq!(local("http://localhost:15021/healthz/ready"), Some((15021, "healthz/ready")));
        assert_eq!(local("http://127.0.0.1:80"), Some((80, "")));
        assert_eq!(local("http://elsewhere:80/"), None);
        assert_eq!(local("https://localhost:80/"), None);
    }
}
