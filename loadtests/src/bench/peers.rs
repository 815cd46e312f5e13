//! The proxies: where their programs are, how each is started, and which modes it can play.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::certificates::Certificates;
use super::machine;
use super::process::Process;
use super::template::{self, Rendered, Values};

/// What a proxy does in a test; see `loadtests/peers/README.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mode {
    /// Its name.
    pub name: &'static str,
    /// What its templates are told.
    pub flags: &'static [&'static str],
}

/// Every mode.
pub const MODES: [Mode; 12] = [
    Mode { name: "http", flags: &["http"] },
    Mode { name: "http_log", flags: &["http", "log"] },
    Mode { name: "http_weighted", flags: &["http", "weighted"] },
    Mode { name: "http_istio", flags: &["http", "log", "weighted", "istio"] },
    Mode { name: "http_big", flags: &["http", "big"] },
    Mode { name: "h2h1", flags: &["http", "h2in"] },
    Mode { name: "h2h2", flags: &["http", "h2in", "h2out"] },
    Mode { name: "mtls_a", flags: &["http", "tls_out"] },
    Mode { name: "mtls_b", flags: &["http", "tls_in"] },
    Mode { name: "mtls_a_close", flags: &["http", "tls_out", "noreuse"] },
    Mode { name: "mtls_b_close", flags: &["http", "tls_in"] },
    Mode { name: "tcp", flags: &["tcp"] },
];

/// The mode of this name.
pub fn mode(name: &str) -> Option<Mode> {
    MODES.into_iter().find(|mode| mode.name == name)
}

/// Virtual hosts of `http_big`.
pub const BIG: usize = 1000;

/// Which proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Ours.
    Outrigger,
    /// Envoy.
    Envoy,
    /// HAProxy.
    Haproxy,
    /// nginx.
    Nginx,
}

impl Kind {
    /// Every proxy, in the order of the tables.
    pub const ALL: [Kind; 4] = [Kind::Outrigger, Kind::Envoy, Kind::Haproxy, Kind::Nginx];

    /// The name in tables and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Outrigger => "outrigger",
            Kind::Envoy => "envoy",
            Kind::Haproxy => "haproxy",
            Kind::Nginx => "nginx",
        }
    }

    /// Its template in `loadtests/peers`.
    pub fn template(self) -> &'static str {
        match self {
            Kind::Outrigger => "outrigger.yaml",
            Kind::Envoy => "envoy.yaml",
            Kind::Haproxy => "haproxy.cfg",
            Kind::Nginx => "nginx.conf",
        }
    }

    /// Whether it can do this. nginx does not speak HTTP/2 to origins.
    pub fn plays(self, mode: &str) -> bool {
        self != Kind::Nginx || mode != "h2h2"
    }

    fn version_argument(self) -> &'static str {
        match self {
            Kind::Outrigger | Kind::Envoy => "--version",
            Kind::Haproxy | Kind::Nginx => "-v",
        }
    }
}

/// A proxy with its program.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Which.
    pub kind: Kind,
    /// The program.
    pub program: PathBuf,
}

impl Peer {
    /// What the program says about its version.
    pub fn version(&self) -> String {
        let text = machine::version(&self.program, self.kind.version_argument());
        match self.kind {
            // "PROGRAM  version: COMMIT/1.40.0/Clean/RELEASE/BoringSSL"
            Kind::Envoy => {
                text.rsplit("version: ").next().and_then(|rest| rest.split('/').nth(1)).map_or(text.clone(), |v| format!("Envoy {v}"))
            }
            _ => text.split(" - ").next().unwrap_or(&text).replace("nginx version: ", ""),
        }
    }
}

/// The proxies of this machine: Outrigger and Envoy as built and installed in this working copy, the others by `PATH`.
/// `OUTRIGGER`, `ENVOY`, `HAPROXY` and `NGINX` in the environment name other programs.
pub fn find(root: &Path) -> Vec<Peer> {
    let own = |path: &str| Some(root.join(path)).filter(|path| path.is_file());
    let found = |kind: Kind| {
        std::env::var_os(kind.name().to_uppercase()).map(PathBuf::from).or_else(|| match kind {
            Kind::Outrigger => own("target/release/outrigger"),
            Kind::Envoy => own("target/envoy/envoy/_bin/envoy"),
            Kind::Haproxy | Kind::Nginx => in_path(kind.name()),
        })
    };
    Kind::ALL.into_iter().filter_map(|kind| Some(Peer { kind, program: found(kind)? })).collect()
}

/// A program by `PATH`, or where administrators' programs are.
pub fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Where a proxy stands.
#[derive(Debug, Clone)]
pub struct Place<'a> {
    /// Its port; Outrigger takes others that follow from it.
    pub port: u16,
    /// Ports of its origins.
    pub origins: &'a [u16],
    /// A scratch folder of its own.
    pub work: &'a Path,
    /// For TLS.
    pub certificates: &'a Certificates,
    /// Worker threads.
    pub threads: usize,
}

impl Place<'_> {
    fn values(&self) -> Values {
        let path = |path: &Path| path.display().to_string();
        let origin = |index: usize| self.origins.get(index).or(self.origins.last()).copied().unwrap_or_default().to_string();
        let mut values: Values = BTreeMap::from([
            ("PORT", self.port.to_string()),
            ("UPORTS", self.origins.iter().map(u16::to_string).collect::<Vec<_>>().join(",")),
            ("WORK", path(self.work)),
            ("CERT", path(&self.certificates.certificate)),
            ("KEY", path(&self.certificates.key)),
            ("PEM", path(&self.certificates.both)),
            ("CA", path(&self.certificates.authority)),
            ("THREADS", self.threads.to_string()),
            ("NBIG", BIG.to_string()),
        ])
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        values.extend((0..4).map(|index| (format!("UPORT{index}"), origin(index))));
        values
    }
}

/// The configuration of a proxy; `folder` is `loadtests/peers`.
///
/// # Errors
/// A template that cannot be read or rendered.
pub fn render(kind: Kind, mode: Mode, place: &Place<'_>, folder: &Path) -> Result<Rendered> {
    let file = folder.join(kind.template());
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    template::render(&text, mode.flags, &place.values()).with_context(|| file.display().to_string())
}

/// Starts a proxy, on one CPU if that is given, with its configuration in the place's scratch folder.
///
/// # Errors
/// Those of [`render`], and when the program cannot be started.
pub fn start(peer: &Peer, mode: Mode, place: &Place<'_>, folder: &Path, cpu: Option<usize>) -> Result<Process> {
    let rendered = render(peer.kind, mode, place, folder)?;
    let configuration = place.work.join(peer.kind.template());
    fs::write(&configuration, rendered.text)?;
    for (name, text) in rendered.files {
        fs::write(place.work.join(name), text)?;
    }
    let mut command = command(peer, mode, place, folder, &configuration);
    Ok(Process::start(&mut command, cpu, &place.work.join("log"))?)
}

fn command(peer: &Peer, mode: Mode, place: &Place<'_>, folder: &Path, configuration: &Path) -> Command {
    let mut command = Command::new(&peer.program);
    match peer.kind {
        Kind::Outrigger => {
            command = Command::new(folder.join("run-outrigger"));
            command.arg(&peer.program).arg(configuration);
            command.args([place.port.to_string(), place.threads.to_string(), mode.name.to_owned()]).arg(place.work);
        }
        Kind::Envoy => {
            command.arg("-c").arg(configuration).arg("--concurrency").arg(place.threads.to_string());
            command.args(["--log-level", "error", "--disable-hot-restart"]);
        }
        Kind::Haproxy => _ = command.arg("-db").arg("-f").arg(configuration),
        Kind::Nginx => _ = command.arg("-c").arg(configuration),
    }
    command
}
