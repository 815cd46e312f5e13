//! Prometheus scrapes the proxy, and the proxy the application (contract 3.8): what the pod's annotations say about the application moves
//! into a variable of the proxy, and the annotations point at the proxy.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::complaints::Complaints;

/// Name of the variable that tells the proxy where the application's metrics are.
pub(crate) const VARIABLE: &str = "ISTIO_PROMETHEUS_ANNOTATIONS";

const TARGETS: &str = "prometheus.istio.io/scrape-targets";
/// Ports the proxy listens on; an application's collide with them.
pub(crate) const RESERVED: [u16; 9] = [15000, 15001, 15004, 15006, 15008, 15020, 15021, 15053, 15090];

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Scrape {
    scrape: String,
    path: String,
    port: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    targets: Vec<Target>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Target {
    port: String,
    path: String,
}

/// What changes: annotations to remove and to add, and the variable's value if the application has metrics of its own.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Merged {
    pub remove: Vec<String>,
    pub add: BTreeMap<String, String>,
    pub variable: Option<String>,
}

/// Plans the change. `None` if the pod does not want to be scraped or already points at the proxy.
pub(crate) fn merge(annotations: &BTreeMap<String, String>, status_port: u16, complaints: &mut Complaints) -> Option<Merged> {
    let find = |wanted: &str| annotations.iter().find(|(name, _)| plain(name) == wanted).map(|(_, value)| value.as_str());
    let port = find("prometheus_io_port");
    let unwanted = find("prometheus_io_scrape").is_some_and(|value| matches!(value, "0" | "f" | "F" | "false" | "False" | "FALSE"));
    if status_port == 0 || unwanted || port == Some(status_port.to_string().as_str()) {
        return None;
    }
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    let mut scrape = Scrape {
        scrape: text(find("prometheus_io_scrape")),
        path: text(find("prometheus_io_path")),
        port: text(port),
        targets: annotations.get(TARGETS).map(|list| targets(list)).unwrap_or_default(),
    };
    drop_unusable(&mut scrape, status_port, complaints);
    let value = |text: &str| text.to_owned();
    Some(Merged {
        remove: annotations.keys().filter(|name| is_prometheus(name)).cloned().collect(),
        add: [
            (value("prometheus.io/scrape"), value("true")),
            (value("prometheus.io/port"), status_port.to_string()),
            (value("prometheus.io/path"), value("/stats/prometheus")),
        ]
        .into(),
        variable: (scrape != Scrape::default()).then(|| serde_json::to_string(&scrape).unwrap_or_default()),
    })
}

/// `port:path,port:path`; the path is `/metrics` if left out.
fn targets(list: &str) -> Vec<Target> {
    let items = list.split(',').map(str::trim).filter(|item| !item.is_empty());
    items
        .map(|item| {
            let (port, path) = item.split_once(':').unwrap_or((item, "/metrics"));
            Target { port: port.to_owned(), path: path.to_owned() }
        })
        .collect()
}

/// A target on a port the proxy itself uses would have the proxy scrape itself, round and round; one that is no port, it would not start with.
fn drop_unusable(scrape: &mut Scrape, status_port: u16, complaints: &mut Complaints) {
    let mut unusable = |name: &str, port: &str| {
        let reason = match port.parse::<u16>() {
            Ok(number) if number == status_port || RESERVED.contains(&number) => "this one is the proxy's own",
            Ok(_) => return false,
            Err(_) => "this is no port number",
        };
        complaints
            .add(format!("annotation {name}: expected a port of the application; {reason} (got `{port}`)"), "nothing is scraped there");
        true
    };
    scrape.targets.retain(|target| !unusable(TARGETS, &target.port));
    if !scrape.port.is_empty() && unusable("prometheus.io/port", &scrape.port) {
        (scrape.port, scrape.path) = (String::new(), String::new());
        if scrape.targets.is_empty() {
            scrape.scrape = "false".to_owned();
        }
    }
}

fn is_prometheus(name: &str) -> bool {
    matches!(plain(name).as_str(), "prometheus_io_scrape" | "prometheus_io_port" | "prometheus_io_path")
}

/// Prometheus itself sees annotation names with everything but letters and digits replaced.
fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}
