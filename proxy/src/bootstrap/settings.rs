//! Everything the process needs to know before it binds a port, resolved once.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use outrigger_config::api::mesh::InterceptionMode;
use outrigger_config::model::{AccessLogSettings, Node, ProxyType};

use super::{Args, Environment, PodInfo, ProxyConfigOverrides, node};
use crate::telemetry::access_log;
use crate::upstream::transparent;

const DEFAULT_CERTS: &str = "/var/run/secrets/workload-spiffe-credentials";
const DEFAULT_POD_INFO: &str = "/etc/istio/pod";
const DEFAULT_MESH_FILE: &str = "/etc/istio/config/mesh";

/// What the process obeys.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The workload.
    pub node: Node,
    /// Folders, files and globs of manifests.
    pub config: Vec<PathBuf>,
    /// Folder of the workload's certificate.
    pub certs: PathBuf,
    /// Somebody named that folder: the process is not ready without a certificate in it.
    pub certs_required: bool,
    /// Refuse to start on invalid objects and unenforced policies.
    pub strict: bool,
    /// `--concurrency`.
    pub concurrency: Option<u32>,
    /// Merged ProxyConfig.
    pub proxy_config: ProxyConfigOverrides,
    /// ISTIO_CPU_LIMIT in cores.
    pub cpu_limit: Option<f64>,
    /// Ports to bind.
    pub ports: Ports,
    /// How traffic comes in: ISTIO_META_INTERCEPTION_MODE, else annotation, else ProxyConfig; default REDIRECT.
    pub interception_mode: InterceptionMode,
    /// Mark of packets to the application with TPROXY: ISTIO_INBOUND_TPROXY_MARK, as for the init step; default 1337.
    pub tproxy_mark: u32,
    /// OUTRIGGER_EXIT_WITH_APPLICATION: end when the processes of the pod's other containers have, as a Job needs it.
    pub exit_with_application: bool,
    /// Containers of the pod beside this one, as ISTIO_META_APP_CONTAINERS lists them; 0 = not told.
    pub application_containers: usize,
    /// How to end.
    pub drain: DrainSettings,
    /// Access log asked for on the command line; overrides the mesh configuration.
    pub access_log: Option<AccessLogSettings>,
    /// `--proxyLogLevel` and `--proxyComponentLogLevel`, joined by commas.
    pub log_level: String,
    /// `--log_as_json`.
    pub log_as_json: bool,
    /// ISTIO_PROMETHEUS_ANNOTATIONS as written.
    pub prometheus_annotations: Option<String>,
    /// ISTIO_KUBE_APP_PROBERS as written.
    pub app_probers: Option<String>,
    /// Probes are sent to localhost instead of the pod's address (REWRITE_PROBE_LEGACY_LOCALHOST_DESTINATION).
    pub probe_localhost: bool,
    /// Probes over HTTPS may use HTTP/2 (ISTIO_ENABLE_HTTP2_PROBING, default true).
    pub probe_http2: bool,
    /// METRICS_LOCALHOST_ACCESS_ONLY.
    pub metrics_localhost_only: bool,
    /// ISTIO_META_ISTIO_VERSION, the `tag` of istio_build.
    pub istio_version: Option<String>,
}

/// Ports of the process itself (sidecar contract section 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Outbound capture, default 15001.
    pub outbound: u16,
    /// Inbound capture, default 15006.
    pub inbound: u16,
    /// Admin on loopback, default 15000.
    pub admin: u16,
    /// Status server, default 15020; 0 = none.
    pub status: u16,
    /// Readiness, default 15021.
    pub health: u16,
    /// Prometheus, default 15090.
    pub prometheus: u16,
}

/// How the process ends (sidecar contract 6.6 and difference 3 of its section 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainSettings {
    /// End as soon as no connection is left (EXIT_ON_ZERO_ACTIVE_CONNECTIONS; our default is true, Istio's false).
    pub exit_on_zero_connections: bool,
    /// Time that draining lasts at least, so that news of the pod's end can reach its clients: MINIMUM_DRAIN_DURATION,
    /// else `terminationDrainDuration`, default 5 s.
    pub minimum: Option<Duration>,
}

impl Settings {
    /// Joins command line, environment and pod information. Reads the downward API and the mesh file; whatever is odd
    /// but survivable goes to `warnings`.
    ///
    /// # Errors
    /// No `--config` and no OUTRIGGER_CONFIG, or an access-log format that cannot be parsed.
    pub fn resolve(args: Args, environment: &Environment, interfaces: &[IpAddr], warnings: &mut Vec<String>) -> anyhow::Result<Settings> {
        warnings.extend(args.unknown.iter().map(|flag| format!("{flag} is not known to this version and ignored")));
        let pod_info = args.pod_info.clone().unwrap_or_else(|| DEFAULT_POD_INFO.into());
        let pod = PodInfo::read(&pod_info, environment, warnings);
        let proxy_config = proxy_config(&args, environment, &pod, warnings);
        let environment = &environment.clone().over(proxy_config.proxy_metadata.iter());
        Ok(Settings {
            config: manifests(&args.config, environment)?,
            interception_mode: interception_mode(environment, &pod, &proxy_config, warnings),
            tproxy_mark: environment.parse("ISTIO_INBOUND_TPROXY_MARK", warnings).map_or(transparent::DEFAULT_MARK, NonZeroU32::get),
            exit_with_application: environment.parse("OUTRIGGER_EXIT_WITH_APPLICATION", warnings).unwrap_or(false),
            application_containers: application_containers(environment),
            node: node::resolve(args.proxy_type, environment, &pod, args.domain.as_deref(), interfaces),
            ports: Ports::resolve(environment, &pod, &proxy_config, warnings),
            drain: DrainSettings::resolve(environment, warnings),
            access_log: access_log::settings_from_flags(
                args.access_log.as_deref(),
                args.access_log_format.as_deref(),
                args.access_log_json,
            )?,
            log_level: log_level(&args),
            log_as_json: args.log_as_json,
            certs_required: args.certs.is_some(),
            certs: args.certs.unwrap_or_else(|| DEFAULT_CERTS.into()),
            strict: args.strict,
            concurrency: args.concurrency,
            proxy_config,
            cpu_limit: environment.parse("ISTIO_CPU_LIMIT", warnings),
            prometheus_annotations: environment.get("ISTIO_PROMETHEUS_ANNOTATIONS").map(str::to_owned),
            app_probers: environment.get("ISTIO_KUBE_APP_PROBERS").map(str::to_owned),
            probe_localhost: environment.get("REWRITE_PROBE_LEGACY_LOCALHOST_DESTINATION") == Some("true"),
            probe_http2: environment.get("ISTIO_ENABLE_HTTP2_PROBING") != Some("false"),
            metrics_localhost_only: environment.get("METRICS_LOCALHOST_ACCESS_ONLY") == Some("true"),
            istio_version: environment.get("ISTIO_META_ISTIO_VERSION").map(str::to_owned),
        })
    }
}

/// What the command line names, else the folders, files and globs in OUTRIGGER_CONFIG, separated by colons. An injected
/// pod gets the latter through `proxyMetadata`.
fn manifests(args: &[PathBuf], environment: &Environment) -> anyhow::Result<Vec<PathBuf>> {
    let named = environment.get("OUTRIGGER_CONFIG").unwrap_or_default().split(':').filter(|path| !path.is_empty());
    let config: Vec<PathBuf> = if args.is_empty() { named.map(PathBuf::from).collect() } else { args.to_vec() };
    anyhow::ensure!(
        !config.is_empty(),
        "no configuration: name the manifests with --config DIR or environment variable OUTRIGGER_CONFIG (colons between several); \
         configuration from a control plane is not supported yet"
    );
    Ok(config)
}

/// Names between commas, each once.
fn application_containers(environment: &Environment) -> usize {
    let names = environment.get("ISTIO_META_APP_CONTAINERS").unwrap_or_default().split(',').map(str::trim);
    names.filter(|name| !name.is_empty()).collect::<BTreeSet<_>>().len()
}

/// An unknown mode is reported and counts as unset.
fn interception_mode(
    environment: &Environment,
    pod: &PodInfo,
    config: &ProxyConfigOverrides,
    warnings: &mut Vec<String>,
) -> InterceptionMode {
    let variable = environment.get("ISTIO_META_INTERCEPTION_MODE").map(|mode| ("environment variable ISTIO_META_INTERCEPTION_MODE", mode));
    let annotation = pod
        .annotations
        .get("sidecar.istio.io/interceptionMode")
        .map(|mode| ("annotation sidecar.istio.io/interceptionMode", mode.as_str()));
    let written = [variable, annotation].into_iter().flatten().find_map(|(origin, text)| {
        let known = [InterceptionMode::Redirect, InterceptionMode::Tproxy, InterceptionMode::None];
        let mode = known.into_iter().find(|mode| mode.as_str() == text);
        if mode.is_none() {
            warnings.push(format!("{origin}: {text:?} is ignored; expected REDIRECT, TPROXY or NONE"));
        }
        mode
    });
    written.or(config.interception_mode).unwrap_or_default()
}

impl Ports {
    /// The contract's numbers.
    pub const DEFAULT: Ports = Ports { outbound: 15001, inbound: 15006, admin: 15000, status: 15020, health: 15021, prometheus: 15090 };

    /// Those of the proxy in this pod, for a command that is run beside it: read from the same environment and files.
    pub fn of_this_pod() -> Ports {
        let (environment, mut warnings) = (Environment::of_process(), Vec::new());
        let pod = PodInfo::read(Path::new(DEFAULT_POD_INFO), &environment, &mut warnings);
        let config = proxy_config(&Args::for_role(ProxyType::Sidecar), &environment, &pod, &mut warnings);
        Ports::resolve(&environment, &pod, &config, &mut warnings)
    }

    fn resolve(environment: &Environment, pod: &PodInfo, config: &ProxyConfigOverrides, warnings: &mut Vec<String>) -> Ports {
        let annotation = pod.annotations.get("status.sidecar.istio.io/port").and_then(|port| port.parse().ok());
        let default = Ports::DEFAULT;
        Ports {
            admin: config.admin_port.unwrap_or(default.admin),
            status: annotation.or(config.status_port).unwrap_or(default.status),
            health: environment.parse("ENVOY_STATUS_PORT", warnings).unwrap_or(default.health),
            prometheus: environment.parse("ENVOY_PROMETHEUS_PORT", warnings).unwrap_or(default.prometheus),
            ..default
        }
    }
}

impl DrainSettings {
    fn resolve(environment: &Environment, warnings: &mut Vec<String>) -> DrainSettings {
        DrainSettings {
            exit_on_zero_connections: environment.parse("EXIT_ON_ZERO_ACTIVE_CONNECTIONS", warnings).unwrap_or(true),
            minimum: environment.duration("MINIMUM_DRAIN_DURATION", warnings),
        }
    }
}

fn proxy_config(args: &Args, environment: &Environment, pod: &PodInfo, warnings: &mut Vec<String>) -> ProxyConfigOverrides {
    let mut config = ProxyConfigOverrides::default();
    let mesh_file = args.mesh_config.clone().unwrap_or_else(|| DEFAULT_MESH_FILE.into());
    overlay_mesh_file(&mut config, &mesh_file, warnings);
    if let Some(text) = environment.get("PROXY_CONFIG") {
        config.overlay("environment variable PROXY_CONFIG", text, warnings);
    }
    if let Some(text) = pod.annotations.get("proxy.istio.io/config") {
        config.overlay("annotation proxy.istio.io/config", text, warnings);
    }
    config
}

/// The mesh file is optional; injected pods of today carry its content in PROXY_CONFIG.
fn overlay_mesh_file(config: &mut ProxyConfigOverrides, file: &Path, warnings: &mut Vec<String>) {
    let Ok(text) = std::fs::read_to_string(file) else { return };
    config.overlay_mesh(&file.display().to_string(), &text, warnings);
}

fn log_level(args: &Args) -> String {
    let level = args.log_level.as_deref().unwrap_or("warning");
    [Some(level), args.component_log_level.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(edit: impl FnOnce(&mut Args), environment: &Environment) -> (anyhow::Result<Settings>, Vec<String>) {
        let mut args = Args::for_role(ProxyType::Sidecar);
        args.config = vec!["manifests".into()];
        args.pod_info = Some("/nonexistent".into());
        args.mesh_config = Some("/nonexistent".into());
        edit(&mut args);
        let mut warnings = Vec::new();
        (Settings::resolve(args, environment, &[], &mut warnings), warnings)
    }

    #[test]
    fn without_flags_the_contracts_defaults_hold() {
        let (settings, warnings) = resolve(|_| {}, &Environment::default());
        let settings = settings.expect("resolves");
        assert_eq!(settings.ports, Ports::DEFAULT);
        assert_eq!(settings.certs, Path::new(DEFAULT_CERTS));
        assert_eq!(settings.log_level, "warning");
        assert!(settings.drain.exit_on_zero_connections && settings.access_log.is_none());
        assert!(warnings.is_empty(), "{warnings:?}");
    }

    #[test]
    fn environment_moves_ports_and_drain() {
        let environment = Environment::from([
            ("PROXY_CONFIG", r#"{"statusPort":16020,"proxyAdminPort":16000,"concurrency":3}"#),
            ("ENVOY_STATUS_PORT", "16021"),
            ("ENVOY_PROMETHEUS_PORT", "x"),
            ("EXIT_ON_ZERO_ACTIVE_CONNECTIONS", "false"),
            ("MINIMUM_DRAIN_DURATION", "2s"),
        ]);
        let (settings, warnings) = resolve(|_| {}, &environment);
        let settings = settings.expect("resolves");
        assert_eq!(settings.ports, Ports { admin: 16000, status: 16020, health: 16021, ..Ports::DEFAULT });
        assert_eq!(settings.drain, DrainSettings { exit_on_zero_connections: false, minimum: Some(Duration::from_secs(2)) });
        assert_eq!(settings.proxy_config.concurrency, Some(3));
        assert!(warnings[0].contains("ENVOY_PROMETHEUS_PORT"), "{warnings:?}");
    }

    #[test]
    fn the_applications_containers_are_counted_from_their_names() {
        let count = |environment: &Environment| resolve(|_| {}, environment).0.expect("resolves").application_containers;
        assert_eq!(count(&Environment::default()), 0);
        assert_eq!(count(&Environment::from([("ISTIO_META_APP_CONTAINERS", "shop,cache")])), 2);
        assert_eq!(count(&Environment::from([("ISTIO_META_APP_CONTAINERS", "shop, ,shop,")])), 1);
    }

    #[test]
    fn the_mark_of_tproxy_is_the_init_steps() {
        let mark = |text: &'static str| {
            let (settings, warnings) = resolve(|_| {}, &Environment::from([("ISTIO_INBOUND_TPROXY_MARK", text)]));
            (settings.expect("resolves").tproxy_mark, warnings.len())
        };
        assert_eq!(["", "77", "0", "0x5"].map(mark), [(1337, 0), (77, 0), (1337, 1), (1337, 1)]);
    }

    #[test]
    fn a_missing_config_says_which_flag_to_give() {
        let (settings, _) = resolve(|args| args.config.clear(), &Environment::default());
        assert!(settings.expect_err("refused").to_string().contains("--config DIR"));
    }

    #[test]
    fn manifests_are_named_by_flags_or_else_by_the_environment() {
        let environment = Environment::from([("OUTRIGGER_CONFIG", "/etc/mesh:/etc/more/*.yaml")]);
        let (settings, _) = resolve(|args| args.config.clear(), &environment);
        assert_eq!(settings.expect("resolves").config, ["/etc/mesh", "/etc/more/*.yaml"].map(PathBuf::from));
        let (settings, _) = resolve(|_| {}, &environment);
        assert_eq!(settings.expect("resolves").config, [PathBuf::from("manifests")]);
    }

    #[test]
    fn proxy_metadata_is_environment_that_the_processs_own_overrides() {
        let environment = Environment::from([
            ("PROXY_CONFIG", r#"{"proxyMetadata":{"OUTRIGGER_CONFIG":"/a","MINIMUM_DRAIN_DURATION":"1s"}}"#),
            ("MINIMUM_DRAIN_DURATION", "2s"),
        ]);
        let (settings, warnings) = resolve(|args| args.config.clear(), &environment);
        let settings = settings.expect("resolves");
        assert_eq!(settings.config, [PathBuf::from("/a")]);
        assert_eq!(settings.drain.minimum, Some(Duration::from_secs(2)));
        assert!(warnings.is_empty(), "{warnings:?}");
    }

    #[test]
    fn the_interception_mode_comes_from_the_environment_or_else_the_proxy_config() {
        let mode = |pairs: &[(&str, &str)]| {
            let environment = Environment::default().over(
                pairs
                    .iter()
                    .map(|(name, value)| (name.to_string(), value.to_string()))
                    .collect::<std::collections::BTreeMap<_, _>>()
                    .iter(),
            );
            let (settings, warnings) = resolve(|_| {}, &environment);
            (settings.expect("resolves").interception_mode, warnings.len())
        };
        let config = ("PROXY_CONFIG", "interceptionMode: TPROXY");
        assert_eq!(mode(&[]), (InterceptionMode::Redirect, 0));
        assert_eq!(mode(&[config]), (InterceptionMode::Tproxy, 0));
        assert_eq!(mode(&[config, ("ISTIO_META_INTERCEPTION_MODE", "REDIRECT")]), (InterceptionMode::Redirect, 0));
        assert_eq!(mode(&[config, ("ISTIO_META_INTERCEPTION_MODE", "tproxy")]), (InterceptionMode::Tproxy, 1));
    }

    #[test]
    fn unknown_flags_become_warnings() {
        let (_, warnings) = resolve(|args| args.unknown.push("--brandNew".into()), &Environment::default());
        assert_eq!(warnings, ["--brandNew is not known to this version and ignored"]);
    }
}
