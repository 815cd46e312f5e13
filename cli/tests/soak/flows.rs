//! The mesh of the soak and what is sent through it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use outrigger_loadtests::{Amount, Cause, Plan, Report};

use crate::bed::Bed;
use crate::churn;
use crate::manifest::{self, App};

/// A client and two servers with sidecars that speak mTLS to each other, and a gateway.
pub async fn bed() -> Result<Bed> {
    let server = App::new("shop", "server").replicas(2).env("STAND_IN_PORTS", "8080,9090/grpc,9000/tcp");
    let ports = "{name: http, port: 80, targetPort: 8080}, {name: grpc, port: 50051, targetPort: 9090}, {name: tcp, port: 9000}";
    let pods = App::new("shop", "client").yaml() + &server.yaml();
    let services = manifest::service("shop", "server", "server", ports, "") + &manifest::subsets("shop", "server", &["v1"]);
    let routes = manifest::gateway("shop") + &manifest::split("shop", "web", "shop.example.com", "gateway", "server", &[("v1", 100)]);
    let strict = manifest::peer_authentication("shop", "STRICT") + "---\n";
    let text = manifest::meshed("shop") + &pods + &services + &routes + &strict + &churn::service();
    let bed = Bed::start("soak", &[("all.yaml", text)]).await?;
    churn::write(&bed, 0)?;
    Ok(bed)
}

/// Where a flow begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    /// Outside the mesh, through the gateway.
    Host,
    /// The client's pod, through its sidecar.
    Client,
}

/// Requests of one kind.
#[derive(Debug)]
pub struct Flow {
    name: &'static str,
    from: From,
    plan: Plan,
}

/// Requests and connections of all rounds so far, all of them answered well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// HTTP through the gateway.
    pub gateway: u64,
    /// HTTP from the client.
    pub client: u64,
    /// TCP connections from the client.
    pub tcp: u64,
}

impl Sent {
    pub fn add(&mut self, other: &Sent) {
        self.gateway += other.gateway;
        self.client += other.client;
        self.tcp += other.tcp;
    }

    pub fn all(&self) -> u64 {
        self.gateway + self.client + self.tcp
    }
}

impl Flow {
    /// One round of every kind. A build without optimisation, as `make test` makes it, gets a fifth of the load.
    pub fn all(bed: &Bed, length: Duration) -> Result<Vec<Flow>> {
        let share = if cfg!(debug_assertions) { 0.2 } else { 1.0 };
        let gateway = bed.gateway()?;
        let flow = |name, from, url: &str, rate: f64, change: &dyn Fn(&mut Plan)| {
            let mut plan = Plan::new(url, 0);
            (plan.amount, plan.rate, plan.concurrency, plan.keep_answers) = (Amount::For(length), Some(rate * share), 4, false);
            if from == From::Host {
                plan.connect = Some(gateway);
            }
            change(&mut plan);
            Flow { name, from, plan }
        };
        let shop = "http://shop.example.com/";
        Ok(vec![
            flow("HTTP/1 through the gateway", From::Host, shop, 150.0, &|plan| plan.concurrency = 16),
            flow("a connection per request through the gateway", From::Host, shop, 30.0, &|plan| plan.new_connections = true),
            flow("HTTP/2 through the gateway", From::Host, shop, 100.0, &|plan| (plan.http2, plan.connections) = (true, 2)),
            flow("HTTP/1 under mTLS", From::Client, "http://server/", 100.0, &|plan| plan.concurrency = 8),
            flow("a connection per request under mTLS", From::Client, "http://server/", 20.0, &|plan| plan.new_connections = true),
            flow("HTTP/2 under mTLS", From::Client, "http://server/", 50.0, &|plan| plan.http2 = true),
            flow("bodies of 1 MB under mTLS", From::Client, "http://server/bytes/1000000", 3.0, &|plan| plan.concurrency = 2),
            flow("gRPC under mTLS", From::Client, "http://server:50051/shop.Cart/Add", 50.0, &|plan| {
                (plan.grpc, plan.body) = (true, b"three apples".to_vec());
            }),
            flow("TCP under mTLS", From::Client, "tcp://server:9000", 20.0, &|plan| plan.body = b"ping\n".to_vec()),
            flow("HTTP/1 to endpoints that come and go", From::Client, churn::URL, 50.0, &|plan| plan.concurrency = 4),
        ])
    }

    async fn run(self, bed: &Bed) -> Result<Sent> {
        let report = match self.from {
            From::Host => outrigger_loadtests::run(self.plan.clone()).await,
            From::Client => bed.load("client", &self.plan).await,
        };
        let requests = answered(&report.context(self.name)?).context(self.name)?;
        Ok(match self.from {
            From::Host => Sent { gateway: requests, ..Sent::default() },
            From::Client if self.plan.url.starts_with("tcp") => Sent { tcp: requests, ..Sent::default() },
            From::Client => Sent { client: requests, ..Sent::default() },
        })
    }
}

/// How many requests were answered. Every one that was sent must have been, and well; those that a busy machine kept the
/// generator from sending at all tell nothing about the proxies.
fn answered(report: &Report) -> Result<u64> {
    let unsent = report.errors.get(&Cause::NotSent).copied().unwrap_or_default();
    let (failed, answered) = (report.failed_count() - unsent, report.requests - unsent);
    let grpc: u64 = report.grpc_statuses.iter().filter(|(status, _)| *status != "0").map(|(_, count)| count).sum();
    ensure!(
        answered > 0 && failed == 0 && grpc == 0,
        "{failed} of {answered} failed: {:?} gRPC {:?} {:?}",
        report.statuses,
        report.grpc_statuses,
        report.error_examples
    );
    Ok(answered)
}

/// All flows at once.
pub async fn carry_out(bed: &Bed, flows: Vec<Flow>) -> Result<Sent> {
    let mut sum = Sent::default();
    for sent in try_join_all(flows.into_iter().map(|flow| flow.run(bed))).await? {
        sum.add(&sent);
    }
    Ok(sum)
}
