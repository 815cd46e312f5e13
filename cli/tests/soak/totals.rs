//! What the proxies counted against what was sent.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::bed::Bed;
use crate::exposition::samples;
use crate::flows::Sent;

/// How long counts may take to become right: a TCP connection is reported once both ends have closed.
const PATIENCE: Duration = Duration::from_secs(10);

/// A sum over the series of a metric at some proxies, and what it should be.
struct Total {
    metric: &'static str,
    reporter: &'static str,
    pods: Vec<String>,
    sent: u64,
}

/// Compares; tells what differs. A request lost or repeated between two proxies shows as a difference of the two.
pub async fn compare(bed: &Bed, sent: &Sent) -> Result<Vec<String>> {
    let begin = Instant::now();
    loop {
        let mut problems = Vec::new();
        for total in all(bed, sent) {
            let counted = total.counted(bed).await?;
            if counted != total.sent {
                let Total { metric, reporter, pods, sent } = total;
                problems.push(format!("{metric} (reporter {reporter}) of {} says {counted}; {sent} were sent", pods.join(" and ")));
            }
        }
        if problems.is_empty() || begin.elapsed() > PATIENCE {
            return Ok(problems);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn all(bed: &Bed, sent: &Sent) -> Vec<Total> {
    let pods =
        |name: &str, value: &str| -> Vec<String> { bed.testbed.pods_labelled(name, value).into_iter().map(|pod| pod.name).collect() };
    let (gateway, client, servers) = (pods("istio", "ingressgateway"), pods("app", "client"), pods("app", "server"));
    let total = |metric, reporter, pods: &Vec<String>, sent| Total { metric, reporter, pods: pods.clone(), sent };
    vec![
        total("istio_requests_total", "source", &gateway, sent.gateway),
        total("istio_requests_total", "source", &client, sent.client),
        total("istio_requests_total", "destination", &servers, sent.gateway + sent.client),
        total("istio_tcp_connections_opened_total", "source", &client, sent.tcp),
        total("istio_tcp_connections_closed_total", "source", &client, sent.tcp),
        total("istio_tcp_connections_opened_total", "destination", &servers, sent.tcp),
        total("istio_tcp_connections_closed_total", "destination", &servers, sent.tcp),
    ]
}

impl Total {
    async fn counted(&self, bed: &Bed) -> Result<u64> {
        let mut sum = 0.0;
        for pod in &self.pods {
            let text = bed.page(pod, 15090, "/stats/prometheus").await?;
            let ours = samples(&text, self.metric).into_iter().filter(|sample| sample.label("reporter") == self.reporter);
            sum += ours.map(|sample| sample.value).sum::<f64>();
        }
        Ok(sum as u64)
    }
}
