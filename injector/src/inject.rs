//! The pod with its proxy, in the order of contract 3.4.
//!
//! The result is a function of pod and settings alone. Injecting an injected pod again gives the same pod.

use serde_json::{Map, Value, json};

use crate::annotations::{self, Wishes};
use crate::environment::plain;
use crate::merge::{Overrides, Status};
use crate::owner::owner;
use crate::proxy_config::{self, PodProxyConfig};
use crate::settings::Context;
use crate::template::{self, Rendering};
use crate::{INIT_CONTAINER, InjectError, PROXY_CONTAINER, merge, metadata, pod, probes, prometheus, volumes};

/// A pod with its proxy.
#[derive(Clone, Debug, PartialEq)]
pub struct Injected {
    /// The whole pod.
    pub pod: Value,
    /// What its author should know.
    pub warnings: Vec<String>,
}

/// Adds the proxy to a pod or pod template (`metadata` and `spec`), whether or not [`crate::decide()`] would.
///
/// # Errors
/// [`InjectError`]: the pod must then not be created.
pub fn inject(pod: &Value, context: &Context) -> Result<Injected, InjectError> {
    let mut pod = with_metadata(pod)?;
    let wishes = annotations::read(&pod::strings(&pod, "annotations"), &context.settings)?;
    let proxy_config = proxy_config::read(
        &context.settings.proxy_config,
        pod::strings(&pod, "annotations").get(proxy_config::ANNOTATION).map(String::as_str),
    )?;
    let mut warnings = [wishes.warnings.clone(), proxy_config.warnings.clone()].concat();
    let status_port = wishes.status_port.unwrap_or(proxy_config.typed.status_port);
    let interception_mode = interception_mode(&wishes, &proxy_config, &mut warnings)?;
    let hold = context.settings.hold_application_until_proxy_starts || proxy_config.typed.hold_application_until_proxy_starts;

    let earlier = merge::strip(&mut pod)?.map(|proxy| Earlier::of(&proxy)).unwrap_or_default();
    earlier.restore_scraping(&mut pod, status_port)?;
    let overrides = merge::take_overrides(&mut pod)?;
    let owner = owner(&pod);
    let rendering = Rendering {
        context,
        pod: &pod.clone(),
        wishes: &wishes,
        proxy_config: &with_status_port(proxy_config, wishes.status_port),
        owner: &owner,
        workload: pod::strings(&pod, "labels").get("service.istio.io/workload-name").unwrap_or(&owner.name).clone(),
        interception_mode,
        status_port,
        hold,
    };

    let mut proxy = template::proxy_container(&rendering);
    overrides.lay_over(&mut proxy);
    let init = init_container(&rendering, &overrides, &proxy);
    let added_volumes = add_volumes(&mut pod, &rendering)?;
    metadata::add_labels(&mut pod, &owner, context)?;
    merge_prometheus(&mut pod, &mut proxy, &wishes, status_port)?;
    if wishes.rewrite_probes && status_port != 0 {
        warnings.extend(rewrite_probes(&mut pod, &mut proxy, status_port, earlier.probers));
    }
    let status = status(&rendering, init.is_some(), added_volumes);
    metadata::add_annotations(&mut pod, context, &overrides, &status)?;
    add_containers(&mut pod, &rendering, init, proxy)?;
    Ok(Injected { pod, warnings })
}

/// What an earlier injection had moved from the pod into its proxy's variables.
#[derive(Default)]
struct Earlier {
    probers: probes::Probers,
    /// `None` if no earlier injection is known: then all annotations are the user's.
    scraping: Option<Map<String, Value>>,
}

impl Earlier {
    fn of(proxy: &Value) -> Self {
        let variables = proxy.get("env").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let value = |name: &str| variables.iter().find(|variable| pod::name(variable) == name)?.get("value")?.as_str();
        Self {
            probers: value(probes::VARIABLE).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default(),
            scraping: Some(value(prometheus::VARIABLE).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()),
        }
    }

    /// Puts the user's own scrape annotations back where the injector's stand.
    fn restore_scraping(&self, pod: &mut Value, status_port: u16) -> Result<(), InjectError> {
        let annotations = pod::strings_mut(pod, "annotations")?;
        let points_at_proxy = annotations.get("prometheus.io/port").and_then(Value::as_str) == Some(status_port.to_string().as_str());
        let Some(scraping) = self.scraping.as_ref().filter(|_| points_at_proxy) else { return Ok(()) };
        for field in ["scrape", "port", "path"] {
            let name = format!("prometheus.io/{field}");
            match scraping.get(field).filter(|value| value.as_str().is_some_and(|text| !text.is_empty())) {
                Some(value) => annotations.insert(name, value.clone()),
                None => annotations.remove(&name),
            };
        }
        Ok(())
    }
}

fn with_metadata(pod: &Value) -> Result<Value, InjectError> {
    let mut pod = pod.clone();
    let fields = pod.as_object_mut().ok_or(InjectError::Shape { field: "pod", expected: "a mapping" })?;
    fields.entry("metadata").or_insert_with(|| json!({}));
    if pod::list(&pod, "containers").is_empty() {
        return Err(InjectError::Shape { field: "spec.containers", expected: "at least one container" });
    }
    Ok(pod)
}

/// Annotation, else ProxyConfig. What the init step could not do is refused here, where the user still sees it.
fn interception_mode(wishes: &Wishes, config: &PodProxyConfig, warnings: &mut Vec<String>) -> Result<String, InjectError> {
    for (name, reason) in [
        ("ISTIO_META_DNS_CAPTURE", "names are resolved by the pod's own nameserver"),
        ("ISTIO_META_ENABLE_HBONE", "the pod is reached by mTLS without a tunnel"),
    ] {
        if config.typed.proxy_metadata.get(name).is_some_and(|value| value == "true") {
            warnings.push(format!("proxyMetadata {name} has no effect yet: {reason}"));
        }
    }
    let mode = wishes.interception_mode.clone().unwrap_or_else(|| config.typed.interception_mode.as_str().to_owned());
    if mode == "TPROXY" {
        let what = "interceptionMode TPROXY (annotation sidecar.istio.io/interceptionMode or ProxyConfig)".to_owned();
        return Err(InjectError::Unsupported { what, instead: "use REDIRECT; the application then sees 127.0.0.6 as its peer".to_owned() });
    }
    Ok(mode)
}

/// The proxy learns of the annotated status port through its configuration, without reading the pod's annotations.
fn with_status_port(mut config: PodProxyConfig, annotated: Option<u16>) -> PodProxyConfig {
    if let Some(port) = annotated {
        config.given.insert("statusPort".to_owned(), json!(port));
    }
    config
}

/// None with interception mode NONE. The user's own uid for the proxy becomes the uid whose traffic is left alone.
fn init_container(rendering: &Rendering<'_>, overrides: &Overrides, proxy: &Value) -> Option<Value> {
    if rendering.interception_mode == "NONE" {
        return None;
    }
    let mut init = template::init_container(rendering);
    let uid = proxy.pointer("/securityContext/runAsUser").and_then(Value::as_u64).filter(|uid| *uid != 0);
    if let (Some(uid), Some(arguments)) = (uid, init.get_mut("args").and_then(Value::as_array_mut)) {
        let position = arguments.iter().position(|argument| argument == "-u");
        if let Some(value) = position.and_then(|position| arguments.get_mut(position + 1)) {
            *value = json!(uid.to_string());
        }
    }
    overrides.lay_over(&mut init);
    Some(init)
}

/// A volume of the same name that the user wrote stays.
fn add_volumes(pod: &mut Value, rendering: &Rendering<'_>) -> Result<Vec<String>, InjectError> {
    let present = pod::list_mut(pod, "volumes")?;
    let known = volumes::names(present);
    let added: Vec<Value> =
        volumes::volumes(rendering).into_iter().filter(|volume| !known.iter().any(|name| name == pod::name(volume))).collect();
    let names = volumes::names(&added);
    present.extend(added);
    Ok(names)
}

fn merge_prometheus(pod: &mut Value, proxy: &mut Value, wishes: &Wishes, status_port: u16) -> Result<(), InjectError> {
    if !wishes.merge_metrics {
        return Ok(());
    }
    let Some(merged) = prometheus::merge(&pod::strings(pod, "annotations"), status_port)? else { return Ok(()) };
    let target = pod::strings_mut(pod, "annotations")?;
    for name in &merged.remove {
        target.remove(name);
    }
    target.extend(merged.add.into_iter().map(|(name, value)| (name, json!(value))));
    if let Some(value) = merged.variable {
        add_variable(proxy, prometheus::VARIABLE, &value);
    }
    Ok(())
}

/// Probes that an earlier injection rewrote are known from there only.
fn rewrite_probes(pod: &mut Value, proxy: &mut Value, status_port: u16, earlier: probes::Probers) -> Vec<String> {
    let (mut probers, warnings) = probes::rewrite(pod, status_port);
    probers.extend(earlier);
    if !probers.is_empty() {
        add_variable(proxy, probes::VARIABLE, &json!(probers).to_string());
    }
    warnings
}

fn add_variable(container: &mut Value, name: &str, value: &str) {
    if let Some(variables) = container.get_mut("env").and_then(Value::as_array_mut) {
        variables.retain(|variable| pod::name(variable) != name);
        variables.push(plain(name, value));
    }
}

fn status(rendering: &Rendering<'_>, has_init: bool, volumes: Vec<String>) -> Status {
    let listed = |list: Vec<String>| Some(list).filter(|list| !list.is_empty());
    let settings = &rendering.context.settings;
    let mut init_containers: Vec<String> = has_init.then(|| INIT_CONTAINER.to_owned()).into_iter().collect();
    let mut containers = Vec::new();
    let place = if rendering.wishes.native { &mut init_containers } else { &mut containers };
    place.push(PROXY_CONTAINER.to_owned());
    Status {
        init_containers: listed(init_containers),
        containers: listed(containers),
        volumes: listed(volumes),
        image_pull_secrets: listed(settings.image_pull_secrets.clone()),
        revision: settings.revision.clone(),
    }
}

/// Contract 3.6. Native: init, proxy, then the user's init containers, which so are inside the mesh. Else the user's init containers keep a
/// network that is not captured yet, and the proxy comes last among containers, or first if the application waits for it.
fn add_containers(pod: &mut Value, rendering: &Rendering<'_>, init: Option<Value>, proxy: Value) -> Result<(), InjectError> {
    for secret in &rendering.context.settings.image_pull_secrets {
        let secrets = pod::list_mut(pod, "imagePullSecrets")?;
        if !secrets.iter().any(|present| pod::name(present) == secret) {
            secrets.push(json!({ "name": secret }));
        }
    }
    let init_containers = pod::list_mut(pod, "initContainers")?;
    if rendering.wishes.native {
        init_containers.splice(0..0, init.into_iter().chain([proxy]));
    } else {
        init_containers.extend(init);
        let containers = pod::list_mut(pod, "containers")?;
        let position = if rendering.hold { 0 } else { containers.len() };
        containers.insert(position, proxy);
    }
    drop_empty(pod, "initContainers")
}

fn drop_empty(pod: &mut Value, field: &'static str) -> Result<(), InjectError> {
    if pod::list(pod, field).is_empty() {
        pod::object_mut(pod, "spec")?.remove(field);
    }
    Ok(())
}
