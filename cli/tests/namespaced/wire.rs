//! What an eavesdropper between two pods sees.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use outrigger_loadtests::Plan;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::bed::{Bed, Turn, bounded, until};
use crate::manifest::{self, App};

const PATH: &str = "/path-hush-5f1d";
const HEADER: &str = "header-hush-9c3e";
const BODY: &str = "body-hush-2a7b";
const REQUESTS: u64 = 10;

#[test]
fn no_plaintext_on_the_wire_under_mtls() {
    bounded(Turn::Shared, 90, async {
        let service6 = manifest::service(
            "shop",
            "server6",
            "server",
            "{name: http, port: 80, targetPort: 8080}",
            ", ipFamilies: [IPv6], ipFamilyPolicy: SingleStack",
        );
        let pods = App::new("shop", "client").yaml() + &App::new("shop", "server").yaml();
        let text = manifest::meshed("shop") + &pods + &manifest::http_service("shop", "server") + &service6;
        let bed = Bed::start("wire", &[("all.yaml", text)]).await?;
        let hosts: &[&str] = if bed.address_v6("server").is_ok() { &["server", "server6"] } else { &["server"] };
        for host in hosts {
            let seen = eavesdrop(&bed, host).await.with_context(|| format!("calling {host}"))?;
            for secret in [PATH, HEADER, BODY] {
                ensure!(!contains(&seen, secret), "{host}: {secret} is readable between the pods");
            }
            // Handshakes and application data of TLS were there to be read.
            ensure!(contains_bytes(&seen, &[0x17, 0x03, 0x03]), "{host}: no TLS records among {} bytes", seen.len());
        }
        // The control: the same eavesdropper reads all of it once the server speaks plaintext.
        std::fs::write(bed.path("disable.yaml"), manifest::peer_authentication("shop", "DISABLE"))?;
        for host in hosts {
            until("readable under DISABLE", Duration::from_secs(10), || async {
                let seen = eavesdrop(&bed, host).await?;
                Ok([PATH, HEADER, BODY].iter().all(|secret| contains(&seen, secret)))
            })
            .await?;
        }
        bed.end().await
    });
}

/// Everything that passes the server's network interface while the client sends its secrets.
async fn eavesdrop(bed: &Bed, host: &str) -> Result<Vec<u8>> {
    let file = tempfile::NamedTempFile::new()?;
    let dump = dump(&bed.testbed.pod("server")?.netns, file.path()).await?;
    let mut plan = Plan::new(format!("http://{host}{PATH}"), REQUESTS).header("x-secret", HEADER)?;
    plan.method = "POST".parse()?;
    plan.body = BODY.as_bytes().to_vec();
    let report = bed.load_well("client", &plan).await?;
    ensure!(report.status(200) == REQUESTS, "{:?}", report.statuses);
    finish(dump).await?;
    Ok(std::fs::read(file.path())?)
}

/// Starts tcpdump in a network namespace and waits until it listens.
async fn dump(netns: &str, file: &std::path::Path) -> Result<Child> {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", netns, "tcpdump", "-i", "eth0", "-s", "0", "-U", "--immediate-mode", "-Z", "root", "-w"]);
    command.arg(file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().context("tcpdump (`make test` installs it)")?;
    let mut lines = BufReader::new(child.stderr.take().context("piped")?).lines();
    loop {
        let line = lines.next_line().await?.context("tcpdump ended at once")?;
        if line.contains("listening on") {
            // Kept open: tcpdump reports its counts there when it ends.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Ok(child);
        }
    }
}

async fn finish(mut dump: Child) -> Result<()> {
    let pid = dump.id().context("tcpdump has ended early")?;
    kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGINT)?;
    dump.wait().await?;
    Ok(())
}

fn contains(bytes: &[u8], text: &str) -> bool {
    contains_bytes(bytes, text.as_bytes())
}

fn contains_bytes(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}
