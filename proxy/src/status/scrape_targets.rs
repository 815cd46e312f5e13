//! Which application metrics are merged: ISTIO_PROMETHEUS_ANNOTATIONS (sidecar contract 1.2).

use anyhow::{Context, bail};
use outrigger_config::model::ProxyType;
use serde::Deserialize;

use crate::bootstrap::Settings;

/// Application endpoints to scrape along with the proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScrapeTargets(pub Vec<ScrapeTarget>);

/// One endpoint on localhost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScrapeTarget {
    /// Port on localhost.
    pub port: u16,
    /// Path with query.
    pub path: String,
}

/// As the injector writes it; every value is a string.
#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    scrape: String,
    #[serde(default)]
    path: String,
    #[serde(default)]
    port: String,
    #[serde(default)]
    targets: Vec<WrittenTarget>,
}

#[derive(Deserialize)]
struct WrittenTarget {
    #[serde(default)]
    port: String,
    #[serde(default)]
    path: String,
}

/// Ports that belong to the proxy, whatever an application says.
const RESERVED: [u16; 9] = [15000, 15001, 15004, 15006, 15008, 15020, 15021, 15053, 15090];

impl ScrapeTargets {
    /// Reads the settings. No targets on a router, without the variable, or with `scrape: "false"`.
    ///
    /// # Errors
    /// Text that is not the expected JSON, a port that is no number, a port of the proxy itself.
    pub fn parse(settings: &Settings) -> anyhow::Result<ScrapeTargets> {
        match &settings.prometheus_annotations {
            Some(text) if settings.node.proxy_type == ProxyType::Sidecar => parse(text, settings.ports.status),
            _ => Ok(ScrapeTargets::default()),
        }
    }
}

fn parse(text: &str, status_port: u16) -> anyhow::Result<ScrapeTargets> {
    let written: Written = serde_json::from_str(text).context("expected a JSON object of strings")?;
    if written.scrape == "false" {
        return Ok(ScrapeTargets::default());
    }
    let single = WrittenTarget { port: written.port, path: written.path };
    let all = if written.targets.is_empty() { vec![single] } else { written.targets };
    all.into_iter().map(|target| convert(target, status_port)).collect::<anyhow::Result<_>>().map(ScrapeTargets)
}

fn convert(written: WrittenTarget, status_port: u16) -> anyhow::Result<ScrapeTarget> {
    let port = match written.port.as_str() {
        "" => 80,
        port => port.parse().with_context(|| format!("port {port:?}: expected a number"))?,
    };
    if port == status_port || RESERVED.contains(&port) {
        bail!("port {port} is the proxy's own; name the application's metrics port");
    }
    let path = match written.path.as_str() {
        "" => "/metrics".to_owned(),
        path if path.starts_with('/') => path.to_owned(),
        path => format!("/{path}"),
    };
    Ok(ScrapeTarget { port, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(port: u16, path: &str) -> ScrapeTarget {
        ScrapeTarget { port, path: path.into() }
    }

    #[test]
    fn annotations_become_targets() {
        for (text, expected) in [
            (r#"{"scrape":"true","path":"/stats","port":"9080"}"#, vec![target(9080, "/stats")]),
            (r#"{"scrape":"true"}"#, vec![target(80, "/metrics")]),
            (r#"{"scrape":"false","port":"9080"}"#, vec![]),
            (r#"{"targets":[{"port":"1"},{"port":"2","path":"m"}]}"#, vec![target(1, "/metrics"), target(2, "/m")]),
        ] {
            assert_eq!(parse(text, 15020).expect(text), ScrapeTargets(expected), "{text}");
        }
    }

    #[test]
    fn the_proxys_own_ports_and_texts_that_name_no_port_are_refused() {
        for text in [r#"{"port":"15090"}"#, r#"{"port":"16020"}"#, r#"{"port":"http"}"#, r#"{"port":80}"#, "no"] {
            assert!(parse(text, 16020).is_err(), "{text}");
        }
    }
}
