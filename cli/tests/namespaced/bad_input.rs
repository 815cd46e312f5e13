//! Input that is wrong: what is said about it, and that the rest keeps working.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use outrigger_loadtests::Plan;
use outrigger_testbed::ca::Identity;

use crate::bed::{Bed, PATIENCE, Turn, bounded, replace, until};
use crate::exposition::samples;
use crate::manifest::{self, App};
use crate::program::{Traces, Up, outrigger};

#[test]
fn an_empty_folder_is_said_and_waited_on() {
    blocking(30, || {
        let folder = tempfile::tempdir()?;
        let mut up = Up::start("empty", folder.path())?;
        up.wait_for("nothing to run yet")?;
        // What comes later is taken up.
        let text = manifest::outside("shop") + &App::new("shop", "late").yaml();
        replace(&folder.path().join("late.yaml"), &text)?;
        up.wait("the late pod is ready", || Ok(up.state()?.settled))?;
        up.interrupt()
    });
}

#[test]
fn a_folder_that_does_not_exist_is_refused_by_name() {
    blocking(30, || {
        let (status, said) = outrigger(&["up", "-f", "/nonexistent/manifests"])?;
        ensure!(status.code() == Some(1) && said.contains("/nonexistent/manifests"), "{status}: {said}");
        Ok(())
    });
}

const SYNTAX: &str = "apiVersion: v1\nkind: Service\nmetadata:\n  name: broken\n   namespace: shop\n";

const IMAGELESS: &str = "apiVersion: v1
kind: Pod
metadata: {name: imageless, namespace: shop}
spec:
  containers:
  - name: main
    ports: [{containerPort: 8080}]
";

/// The second container wants the port of the first.
const CLASH: &str = "apiVersion: v1
kind: Pod
metadata: {name: clash, namespace: shop}
spec:
  containers:
  - {name: one, image: example.com/one, ports: [{containerPort: 8080}]}
  - {name: two, image: example.com/two, env: [{name: STAND_IN_PORTS, value: '8080'}]}
";

/// Everything that is wrong in one folder: each is named with file and line, and what is right runs.
#[test]
fn what_is_wrong_is_named_with_file_and_line_and_the_rest_serves() {
    blocking(60, || {
        let folder = tempfile::tempdir()?;
        let pods = App::new("shop", "client").yaml() + &App::new("shop", "server").yaml() + &manifest::http_service("shop", "server");
        let subset = manifest::split("shop", "subset", "subset.example.com", "", "server", &[("nowhere", 100)]);
        let weights = manifest::split("shop", "weights", "weights.example.com", "", "server", &[("v1", 0), ("v2", 0)]);
        let good = manifest::meshed("shop") + &pods + &manifest::subsets("shop", "server", &["v1"]);
        let files = [("good", good.as_str()), ("syntax", SYNTAX), ("subset", &subset), ("weights", &weights)];
        for (name, text) in files.into_iter().chain([("imageless", IMAGELESS), ("clash", CLASH)]) {
            std::fs::write(folder.path().join(name).with_extension("yaml"), text)?;
        }
        let mut up = Up::start("wrong", folder.path())?;
        let ready = |pod: &str| up.state().is_ok_and(|state| state.pod(pod).is_ok_and(|pod| pod.ready));
        up.wait("client and server are ready", || Ok(ready("client") && ready("server")))?;
        let expected = [
            ("syntax.yaml:5:", "syntax error"),
            ("subset.yaml:8:", "subset \"nowhere\""),
            ("weights.yaml:7:", "sum to 0"),
            ("imageless.yaml:6:", "no image"),
        ];
        for (place, message) in expected {
            let said = || up.said().lines().any(|line| line.contains(place) && line.contains(message));
            up.wait(&format!("{place} {message}"), || Ok(said()))?;
        }
        up.wait_for("cannot listen on port 8080: Address already in use")?;
        let served = up.statuses("client", "http://server/", 3)?;
        ensure!(served == ["200"; 3], "the good part answered {served:?}");

        // Worse while running: the last good version of what a broken file held stays.
        std::fs::write(folder.path().join("good.yaml"), SYNTAX)?;
        up.wait_for("good.yaml:5:")?;
        let served = up.statuses("client", "http://server/", 3)?;
        ensure!(served == ["200"; 3], "after the file broke: {served:?}");
        let traces = Traces::of(&up)?;
        up.interrupt()?;
        traces.gone()
    });
}

const AUTHORIZATION: &str = "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: nobody, namespace: shop}
spec: {}
";

#[test]
fn an_authorization_policy_is_reported_loudly_and_strict_refuses_to_start() {
    blocking(30, || {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("policy.yaml"), AUTHORIZATION)?;
        let path = folder.path().to_str().context("UTF-8")?;
        let (status, said) = outrigger(&["proxy", "router", "--strict", "--config", path])?;
        ensure!(!status.success(), "started with an AuthorizationPolicy that it does not enforce");
        ensure!(said.contains("policy.yaml:") && said.contains("NOT ENFORCED"), "{said}");
        let up = Up::start("unenforced", folder.path())?;
        up.wait("the policy is named", || Ok(up.said().contains("policy.yaml:") && up.said().contains("NOT ENFORCED")))
    });
}

#[test]
fn a_peer_whose_certificate_has_expired_is_refused_and_both_sides_say_so() {
    bounded(Turn::Shared, 60, async {
        let pods = App::new("shop", "client").yaml() + &App::new("shop", "good").of("server", "v1").yaml();
        let pods = pods + &App::new("shop", "other").yaml() + &manifest::http_service("shop", "other");
        let log = manifest::access_log("answer %RESPONSE_CODE% %UPSTREAM_TRANSPORT_FAILURE_REASON%");
        let text = manifest::meshed("shop") + &log + &pods + &manifest::http_service("shop", "server");
        let strict = manifest::peer_authentication("shop", "STRICT");
        let bed = Bed::start("expired", &[("all.yaml", text), ("strict.yaml", strict)]).await?;
        let server = bed.testbed.pods_labelled("app", "server").first().context("a server")?.name.clone();
        let says = |pod: String| async { Ok(bed.proxy_log(&{ pod })?.lines().any(|line| line.contains("expired"))) };
        let call = || Plan::new("http://server/", 3);

        // Replaced by one that is over already: said, and the one that is still good stays.
        issue(&bed, &server, time::Duration::minutes(-1)).await?;
        until("the server names the file", PATIENCE, || says(server.clone())).await?;
        bed.load_well("client", &call()).await?;

        // One that ends while it is in use: a client that has no connection yet cannot make one.
        issue(&bed, &server, time::Duration::seconds(3)).await?;
        tokio::time::sleep(Duration::from_secs(4)).await;
        let report = bed.load("other", &call()).await?;
        ensure!(report.status(503) == 3, "{:?}", report.statuses);
        until("the client says why", PATIENCE, || says("other".to_owned())).await?;
        let metrics = bed.page(&server, 15090, "/stats/prometheus").await?;
        let days = samples(&metrics, "envoy_server_days_until_first_cert_expiring");
        ensure!(days.first().is_some_and(|days| days.value <= 0.0), "{days:?}");
        bed.load_well("client", &Plan::new("http://other/", 5)).await.context("between others")?;

        issue(&bed, &server, time::Duration::hours(1)).await?;
        until("mended", PATIENCE, || async { Ok(bed.load("other", &call()).await?.status(200) == 3) }).await?;
        bed.end().await
    });
}

/// A certificate for the server's own identity.
async fn issue(bed: &Bed, server: &str, lifetime: time::Duration) -> Result<()> {
    let (trust_domain, namespace, service_account) = ("cluster.local".to_owned(), "shop".to_owned(), "good".to_owned());
    bed.testbed.issue(server, Identity { trust_domain, namespace, service_account }, lifetime).await
}

/// For tests that drive the program and its child processes.
fn blocking(seconds: u64, test: impl FnOnce() -> Result<()> + Send + 'static) {
    bounded(Turn::Shared, seconds, async { tokio::task::spawn_blocking(test).await? });
}
