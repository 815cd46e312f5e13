//! From a Pod object to a pod as it runs: processes, volumes, probes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use outrigger_config::api::kubernetes::{Container, HttpGetAction, Lifecycle, PodSpec, Probe as WrittenProbe, ServicePort};
use outrigger_config::decode::IntOrString;

use super::env::{environment, expand};
use super::facts::{Facts, Sources};
use super::image::{self, ImageRule, Program};
use super::plan::{ContainerPlan, PodPlan, PreStop, RestartPolicy, Role};
use super::probe::{Check, Probe};
use super::{stand_in_ports, volume};
use crate::ca::PROXY_UID;
use crate::container::spec::{Mount, PROGRAM, Spec};
use crate::network::NetNs;
use crate::run::files;

/// Name of the proxy's container.
pub const PROXY: &str = "istio-proxy";
/// Containers that an injector adds and that this program itself is.
const OURS: [&str; 3] = ["istio-init", "istio-validation", PROXY];
/// Where a proxy finds its certificates (sidecar contract, 4.3).
const CERTIFICATES: &str = "/var/run/secrets/workload-spiffe-credentials";
/// The user of containers that name none. Never root: what an image would say is unknown, and an application with
/// the proxy's uid would bypass the mesh.
const APPLICATION_UID: u32 = 1000;

/// Everything a pod is built from.
#[derive(Debug)]
pub struct Blueprint<'a> {
    /// The pod's specification, after injection.
    pub spec: &'a PodSpec,
    /// The same before injection: the user's probes, before they were rewritten for a kubelet.
    pub written: &'a PodSpec,
    /// Whether the injector added the proxy.
    pub injected: bool,
    /// What the pod knows about itself.
    pub facts: &'a Facts,
    /// ConfigMaps and Secrets.
    pub sources: &'a Sources,
    /// Ports of the Services that select the pod.
    pub services: &'a [ServicePort],
    /// `--image` of the user.
    pub images: &'a [ImageRule],
    /// The `outrigger` program.
    pub program: &'a Path,
    /// What proxies watch: mounts and the arguments that name them.
    pub configuration: &'a (Vec<Mount>, Vec<String>),
    /// The pod's folder; exists.
    pub folder: &'a Path,
    /// The pod's namespace.
    pub netns: &'a NetNs,
    /// Cluster DNS.
    pub name_server: IpAddr,
}

/// Builds the plan and prepares the pod's folder: files, volumes, descriptions of the containers.
///
/// # Errors
/// When the folder cannot be written. A container that cannot run is part of the plan, with the reason.
pub fn build(blueprint: &Blueprint<'_>) -> Result<PodPlan> {
    let spec = blueprint.spec;
    files::make_folder(&blueprint.folder.join("root"))?;
    files::make_folder(&blueprint.certificates())?;
    let etc = blueprint.etc_files()?;
    let volumes = blueprint.volumes()?;
    let inits = spec.init_containers.iter().map(|container| {
        let role = if container.restart_policy == "Always" { Role::Sidecar } else { Role::Init };
        (container, role)
    });
    let role = |container: &Container| if container.name == PROXY { Role::Sidecar } else { Role::App };
    let mut mains: Vec<(&Container, Role)> = spec.containers.iter().map(|c| (c, role(c))).collect();
    mains.sort_by_key(|(_, role)| *role == Role::App);
    let containers: Vec<ContainerPlan> =
        inits.chain(mains).map(|(container, role)| blueprint.container(container, role, &etc, &volumes)).collect();
    for container in &containers {
        if let Ok(spec) = &container.spec {
            spec.write(blueprint.folder, &container.name)?;
        }
    }
    let grace = u64::try_from(spec.termination_grace_period_seconds.unwrap_or(30)).unwrap_or(30);
    Ok(PodPlan {
        netns: blueprint.netns.clone(),
        address: blueprint.primary_address(),
        folder: blueprint.folder.to_owned(),
        containers,
        grace: Duration::from_secs(grace),
    })
}

/// Volumes by name: the folder to mount, or why there is none.
type Volumes = BTreeMap<String, Result<PathBuf, String>>;

impl Blueprint<'_> {
    fn primary_address(&self) -> IpAddr {
        self.facts.addresses.first().copied().unwrap_or(IpAddr::from([127, 0, 0, 1]))
    }

    /// The folder with the pod's certificate.
    fn certificates(&self) -> PathBuf {
        self.folder.join("certs")
    }

    fn hostname(&self) -> &str {
        if self.spec.hostname.is_empty() { &self.facts.meta.name } else { &self.spec.hostname }
    }

    fn etc_files(&self) -> Result<Vec<Mount>> {
        let namespace = &self.facts.meta.namespace;
        let mut hosts = String::from("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
        for address in &self.facts.addresses {
            let host = self.hostname();
            match self.spec.subdomain.as_str() {
                "" => hosts.push_str(&format!("{address}\t{host}\n")),
                domain => hosts.push_str(&format!("{address}\t{host}.{domain}.{namespace}.svc.cluster.local\t{host}\n")),
            }
        }
        for alias in &self.spec.host_aliases {
            hosts.push_str(&format!("{}\t{}\n", alias.ip, alias.hostnames.join("\t")));
        }
        let resolv = format!(
            "search {namespace}.svc.cluster.local svc.cluster.local cluster.local\nnameserver {}\noptions ndots:5\n",
            self.name_server
        );
        let files = [("hosts", hosts), ("resolv.conf", resolv), ("hostname", format!("{}\n", self.hostname()))];
        let place = |(name, text): (&str, String)| -> Result<Mount> {
            let file = self.folder.join(name);
            files::write_atomic(&file, text.as_bytes())?;
            Ok(Mount::writable(file, Path::new("/etc").join(name)))
        };
        files.into_iter().map(place).collect()
    }

    fn volumes(&self) -> Result<Volumes> {
        let mut volumes = Volumes::new();
        for written in &self.spec.volumes {
            let folder = volume::folder(self.folder, &written.name);
            let source = match volume::backing(written, self.facts, self.sources, &self.spec.containers) {
                Ok(backing) => Ok(volume::provide(&folder, &backing).with_context(|| format!("volume {}", written.name))?),
                Err(reason) => Err(reason),
            };
            volumes.insert(written.name.clone(), source);
        }
        Ok(volumes)
    }

    fn is_ours(&self, container: &Container) -> bool {
        self.injected && OURS.contains(&container.name.as_str())
    }

    fn container(&self, container: &Container, role: Role, etc: &[Mount], volumes: &Volumes) -> ContainerPlan {
        let written = self.written.containers.iter().find(|original| original.name == container.name);
        let stood_in = self.stand_in_ports(container);
        let probe = match self.is_ours(container) {
            true => container.readiness_probe.as_deref(),
            false => written.unwrap_or(container).readiness_probe.as_deref(),
        };
        let readiness = match (probe, stood_in.as_deref()) {
            (Some(probe), _) => read_probe(probe, container),
            (None, Some([first, ..])) => Probe::new(Check::Tcp { port: port_number(first) }),
            (None, _) => Probe::new(Check::Running),
        };
        let restart = match (role, self.spec.restart_policy.as_str()) {
            (Role::Sidecar, _) => RestartPolicy::Always,
            (Role::Init, "Never") | (Role::App, "Never") => RestartPolicy::Never,
            (Role::Init, _) | (Role::App, "OnFailure") => RestartPolicy::OnFailure,
            (Role::App, _) => RestartPolicy::Always,
        };
        ContainerPlan {
            name: container.name.clone(),
            spec: self.spec_of(container, role, etc, volumes),
            readiness,
            role,
            restart,
            pre_stop: container.lifecycle.as_deref().and_then(pre_stop),
        }
    }

    /// Ports of the stand-in, if that is what stands for the container's image.
    fn stand_in_ports(&self, container: &Container) -> Option<Vec<String>> {
        let stood_in = !self.is_ours(container) && image::choose(container, self.images) == Ok(Program::StandIn);
        let apps: Vec<Container> = self.spec.containers.iter().filter(|other| !self.is_ours(other)).cloned().collect();
        let first = apps.first().is_some_and(|first| first.name == container.name);
        stood_in.then(|| stand_in_ports::ports(container, first, &apps, self.services))
    }

    fn spec_of(&self, container: &Container, role: Role, etc: &[Mount], volumes: &Volumes) -> Result<Spec, String> {
        let mut env = environment(container, self.facts, self.sources).map_err(|reason| format!("CreateContainerConfigError: {reason}"))?;
        let argv = self.argv(container, role, &env)?;
        env.entry("HOSTNAME".into()).or_insert_with(|| self.hostname().to_owned());
        let (uid, gid) = self.user(container);
        env.entry("HOME".into()).or_insert_with(|| if uid == 0 { "/root".into() } else { "/".into() });
        let security = container.security_context.clone().unwrap_or_default();
        Ok(Spec {
            netns: self.netns.name().to_owned(),
            hostname: self.hostname().to_owned(),
            argv: argv.iter().map(|word| expand(word, &env)).collect(),
            env,
            working_dir: Some(&container.working_dir).filter(|folder| !folder.is_empty()).map(PathBuf::from),
            uid,
            gid,
            groups: self.groups(),
            read_only_root: security.read_only_root_filesystem.unwrap_or(false),
            mounts: self.mounts(container, etc, volumes)?,
        })
    }

    fn argv(&self, container: &Container, role: Role, env: &BTreeMap<String, String>) -> Result<Vec<String>, String> {
        if self.is_ours(container) {
            let mut argv = vec![PROGRAM.to_owned()];
            argv.extend(container.args.iter().cloned());
            if container.name == PROXY {
                argv.extend(self.configuration.1.iter().cloned());
                argv.extend(["--certs".to_owned(), CERTIFICATES.to_owned()]);
            }
            return Ok(argv);
        }
        let stand_in = |ports: &[String]| {
            let mut argv: Vec<String> = [PROGRAM, "stand-in"].map(String::from).to_vec();
            argv.extend(ports.iter().flat_map(|port| ["--port".to_owned(), port.clone()]));
            if let Some(version) = self.facts.meta.labels.get("version") {
                argv.extend(["--version".to_owned(), version.clone()]);
            }
            argv
        };
        let asked_by_env = env.contains_key("STAND_IN_PORTS");
        match image::choose(container, self.images)? {
            Program::Command(argv) => Ok(argv),
            // Nothing is known of what it would have prepared; to wait for it would stop the pod for ever.
            Program::StandIn if role == Role::Init => Ok(vec!["true".into()]),
            Program::StandIn => match self.stand_in_ports(container).unwrap_or_default().as_slice() {
                [] if !asked_by_env => Ok(vec!["sleep".into(), "infinity".into()]),
                ports => Ok(stand_in(ports)),
            },
        }
    }

    fn user(&self, container: &Container) -> (u32, u32) {
        let own = container.security_context.clone().unwrap_or_default();
        let pod = self.spec.security_context.clone().unwrap_or_default();
        let id = |value: Option<i64>| value.and_then(|id| u32::try_from(id).ok());
        let fallback = if container.name == PROXY && self.injected { PROXY_UID } else { APPLICATION_UID };
        let fallback = if self.is_ours(container) && container.name != PROXY { 0 } else { fallback };
        let uid = id(own.run_as_user.or(pod.run_as_user)).unwrap_or(fallback);
        (uid, id(own.run_as_group.or(pod.run_as_group)).unwrap_or(uid))
    }

    fn groups(&self) -> Vec<u32> {
        let pod = self.spec.security_context.clone().unwrap_or_default();
        pod.fs_group.iter().chain(&pod.supplemental_groups).filter_map(|id| u32::try_from(*id).ok()).collect()
    }

    fn mounts(&self, container: &Container, etc: &[Mount], volumes: &Volumes) -> Result<Vec<Mount>, String> {
        let mut mounts = etc.to_vec();
        mounts.push(Mount::read_only(self.program, PROGRAM));
        for mount in &container.volume_mounts {
            if mount.mount_path == CERTIFICATES {
                continue;
            }
            let source = match volumes.get(&mount.name) {
                Some(Ok(folder)) if mount.sub_path.is_empty() => folder.clone(),
                Some(Ok(folder)) => sub_path(folder, &mount.sub_path)?,
                Some(Err(reason)) => return Err(format!("CreateContainerConfigError: volume {:?}: {reason}", mount.name)),
                None => return Err(format!("CreateContainerConfigError: the pod has no volume {:?}", mount.name)),
            };
            mounts.push(Mount { source, target: PathBuf::from(&mount.mount_path), read_only: mount.read_only });
        }
        if self.is_ours(container) && container.name == PROXY {
            mounts.push(Mount::read_only(self.certificates(), CERTIFICATES));
            mounts.extend(self.configuration.0.iter().cloned());
        }
        mounts.sort_by_key(|mount| mount.target.components().count());
        Ok(mounts)
    }
}

/// A part of a volume; a folder that is not there yet is made, as the kubelet does.
fn sub_path(volume: &Path, part: &str) -> Result<PathBuf, String> {
    let escapes = Path::new(part).components().any(|c| !matches!(c, std::path::Component::Normal(_)));
    if escapes {
        return Err(format!("CreateContainerConfigError: subPath {part:?} leads out of the volume"));
    }
    let path = volume.join(part);
    if !path.exists() {
        std::fs::create_dir_all(&path).map_err(|error| format!("CreateContainerConfigError: subPath {part:?}: {error}"))?;
        let _ = std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o777));
    }
    Ok(path)
}

fn port_number(argument: &str) -> u16 {
    argument.split('/').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn pre_stop(lifecycle: &Lifecycle) -> Option<PreStop> {
    let hook = lifecycle.pre_stop.as_ref()?;
    let exec = hook.exec.as_ref().map(|exec| PreStop::Exec(exec.command.clone()));
    let sleep = hook.sleep.as_ref().map(|sleep| PreStop::Sleep(seconds(sleep.seconds, 0)));
    exec.or(sleep)
}

/// A probe as written, with Kubernetes' defaults. gRPC and HTTPS are asked whether the port accepts.
fn read_probe(probe: &WrittenProbe, container: &Container) -> Probe {
    let port = |port: &IntOrString| match port {
        IntOrString::Int(number) => u16::try_from(*number).unwrap_or(0),
        IntOrString::String(name) => {
            let named = container.ports.iter().find(|port| port.name == *name).map(|port| port.container_port);
            named.or(name.parse().ok()).unwrap_or(0)
        }
    };
    let http = |get: &HttpGetAction| {
        let headers = get.http_headers.iter().map(|header| (header.name.clone(), header.value.clone())).collect();
        Check::Http { port: port(&get.port), path: get.path.clone(), headers }
    };
    let check = match probe {
        WrittenProbe { exec: Some(exec), .. } => Check::Exec { argv: exec.command.clone() },
        WrittenProbe { http_get: Some(get), .. } if get.scheme == "HTTPS" => Check::Tcp { port: port(&get.port) },
        WrittenProbe { http_get: Some(get), .. } => http(get),
        WrittenProbe { tcp_socket: Some(tcp), .. } => Check::Tcp { port: port(&tcp.port) },
        WrittenProbe { grpc: Some(grpc), .. } => Check::Tcp { port: grpc.port },
        _ => Check::Running,
    };
    let threshold = |written: i32, default: u32| u32::try_from(written).ok().filter(|n| *n > 0).unwrap_or(default);
    Probe {
        check,
        initial_delay: seconds(probe.initial_delay_seconds.into(), 0),
        period: seconds(probe.period_seconds.into(), 10),
        timeout: seconds(probe.timeout_seconds.into(), 1),
        failure_threshold: threshold(probe.failure_threshold, 3),
        success_threshold: threshold(probe.success_threshold, 1),
    }
}

/// Absent, zero and nonsense mean the default.
fn seconds(written: i64, default: u64) -> Duration {
    Duration::from_secs(u64::try_from(written).ok().filter(|n| *n > 0).unwrap_or(default))
}
