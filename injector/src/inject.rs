//! The pod with its proxy, in the order of contract 3.4.
//!
//! The result is a function of pod and context alone. What an earlier injection added is taken out first, so injecting an injected pod
//! again gives the same pod, and one that other settings or Istio injected is rendered anew.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::annotations::{self, EXIT_WITH_APPLICATION, Wishes};
use crate::cni::Ids;
use crate::complaints::Complaints;
use crate::merge::{OVERRIDES, STATUS, Status};
use crate::owner::owner;
use crate::proxy_config::{self, PodProxyConfig};
use crate::restore::{RECORD, Record};
use crate::settings::{Context, NativeSidecars, Settings};
use crate::template::{Rendering, Role};
use crate::templates::{self, Selected};
use crate::{InjectError, KubernetesVersion, bounds, conflicts, merge, metadata, pod, restore, volumes};

mod compose;
mod proxy;

use compose::Composition;

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
    let settings = &context.settings;
    let original = without_injection(pod, settings)?;
    let annotations = pod::strings(&original, "annotations");
    let mut complaints = Complaints::default();
    let wishes = annotations::read(&annotations, settings, &mut complaints);
    let selected = templates::select(wishes.templates.as_deref(), settings)?;
    let own_config = annotations.get(proxy_config::ANNOTATION).map(String::as_str);
    let proxy_config = proxy_config::read(&settings.proxy_config, own_config, &mut complaints);
    let mut warnings = [wishes.warnings.clone(), proxy_config.warnings.clone()].concat();
    let status_port = wishes.status_port.or(proxy_config.status_port_given()).or(settings.status_port).unwrap_or(15020);
    let proxy_config = proxy_config.with_annotations(wishes.status_port, wishes.discovery_address.as_deref());
    let owner = context.workload.clone().unwrap_or_else(|| owner(&original));
    let native = selected.sidecar && is_native(&wishes, context, &mut warnings);
    let rendering = Rendering {
        context,
        pod: &original,
        role: if selected.gateway { Role::Gateway } else { Role::Sidecar },
        workload: pod::strings(&original, "labels").get("service.istio.io/workload-name").unwrap_or(&owner.name).clone(),
        interception_mode: wishes.interception_mode.clone().unwrap_or_else(|| proxy_config.typed.interception_mode.as_str().to_owned()),
        status_port,
        hold: selected.sidecar && !native && holds(&proxy_config, context),
        native,
        exit_with_application: selected.sidecar
            && !native
            && ends_with_application(&original, &wishes, context, status_port, &mut warnings),
        ids: Ids::of(context),
        wishes: &wishes,
        proxy_config: &proxy_config,
        owner: &owner,
    };
    warnings.extend(without_effect(&rendering));
    conflicts::find(&rendering, &mut complaints);

    let pod = render(&rendering, &selected, &mut complaints, &mut warnings)?;
    warnings.extend(complaints.settle(settings.strict)?);
    Ok(Injected { pod, warnings })
}

/// The pod with everything added, in the order in which parts rely on each other.
fn render(
    rendering: &Rendering<'_>,
    selected: &Selected<'_>,
    complaints: &mut Complaints,
    warnings: &mut Vec<String>,
) -> Result<Value, InjectError> {
    let mut pod = rendering.pod.clone();
    let mut composition = Composition::default();
    if selected.sidecar || selected.gateway {
        composition.add_built_in(rendering);
        if selected.gateway {
            compose::gateway_security(&mut pod, rendering)?;
        }
        metadata::add_labels(&mut pod, rendering)?;
    }
    for fragment in &selected.fragments {
        compose::lay_over_pod(&mut pod, fragment)?;
        composition.lay_over(fragment);
    }
    let overrides = composition.take_overrides(&mut pod, rendering, complaints)?;
    proxy::finish(&mut composition, rendering, &overrides);
    let volumes = add_volumes(&mut pod, rendering, selected)?;
    let secrets = add_secrets(&mut pod, rendering, selected)?;
    metadata::add_annotations(&mut pod, rendering)?;
    proxy::merge_prometheus(&mut pod, &mut composition, rendering, complaints)?;
    if rendering.exit_with_application {
        pod::object_mut(&mut pod, "spec")?.insert("shareProcessNamespace".to_owned(), json!(true));
    }
    let status = composition.status(volumes, secrets, &rendering.context.settings.revision);
    composition.place(&mut pod, rendering)?;
    let ports = proxy::rewrite_probes(&mut pod, rendering, warnings)?;

    let mut record = Record::of(rendering.pod, &pod);
    record.ports = ports;
    if !overrides.is_empty() {
        (record.order, record.init_order) = (names(rendering.pod, "containers"), names(rendering.pod, "initContainers"));
    }
    write_down(&mut pod, &status, &overrides, &record)?;
    Ok(pod)
}

fn names(pod: &Value, list: &str) -> Vec<String> {
    pod::list(pod, list).iter().map(|item| pod::name(item).to_owned()).collect()
}

fn write_down(pod: &mut Value, status: &Status, overrides: &merge::Overrides, record: &Record) -> Result<(), InjectError> {
    let annotations = pod::strings_mut(pod, "annotations")?;
    let mut write =
        |name: &str, text: Result<String, serde_json::Error>| annotations.insert(name.to_owned(), json!(text.unwrap_or_default()));
    write(STATUS, serde_json::to_string(status));
    write(RECORD, serde_json::to_string(record));
    if !overrides.is_empty() {
        write(OVERRIDES, serde_json::to_string(overrides));
    }
    Ok(())
}

/// The pod as its author wrote it, with `metadata` and `spec` to work on.
fn without_injection(pod: &Value, settings: &Settings) -> Result<Value, InjectError> {
    if !pod.is_object() {
        return Err(InjectError::Shape { field: "pod", expected: "a mapping" });
    }
    bounds::check(pod)?;
    let mut original = match restore::take_out_before_injecting(pod, settings)? {
        Some(original) => {
            bounds::check(&original)?;
            original
        }
        None => {
            refuse_foreign_proxy(pod)?;
            pod.clone()
        }
    };
    if original.get("metadata").is_none_or(Value::is_null)
        && let Some(fields) = original.as_object_mut()
    {
        fields.insert("metadata".to_owned(), json!({}));
    }
    if pod::list(&original, "containers").is_empty() && pod::list(pod, "containers").is_empty() {
        return Err(InjectError::Shape { field: "spec.containers", expected: "at least one container" });
    }
    Ok(original)
}

/// A whole rendered proxy without the annotation that says who rendered it cannot be told from the user's own fields, which would win over
/// ours: the pod would run another program than the injector says.
fn refuse_foreign_proxy(pod: &Value) -> Result<(), InjectError> {
    let containers = pod::list(pod, "initContainers").iter().chain(pod::list(pod, "containers"));
    let rendered = |container: &&Value| {
        let first = container.pointer("/args/0").and_then(Value::as_str);
        let auto = container.get("image").is_none_or(|image| image == "auto");
        !auto
            && matches!(
                (pod::name(container), first),
                (crate::PROXY_CONTAINER, Some("proxy")) | (crate::INIT_CONTAINER, Some("istio-iptables"))
            )
    };
    match containers.into_iter().find(rendered) {
        None => Ok(()),
        Some(container) => Err(InjectError::Unclear(format!(
            "container {}: it looks like one that an injector added, but annotation {STATUS} is missing; remove the container, or restore the annotation",
            pod::name(container)
        ))),
    }
}

/// The annotation, else the settings as far as the cluster can (contract 3.6, and section 8, item 2).
fn is_native(wishes: &Wishes, context: &Context, warnings: &mut Vec<String>) -> bool {
    let known = context.cluster.kubernetes;
    let able = known.map(|version| version >= KubernetesVersion::NATIVE_SIDECARS);
    let asked = wishes.native.or(match context.settings.native_sidecars {
        NativeSidecars::Auto => None,
        NativeSidecars::Always => Some(true),
        NativeSidecars::Never => Some(false),
    });
    if let (Some(true), Some(false), Some(version)) = (asked, able, known) {
        let needed = KubernetesVersion::NATIVE_SIDECARS;
        warnings
            .push(format!("a native sidecar was asked for, but Kubernetes {version} has none before {needed}; an ordinary one is added"));
        return false;
    }
    asked.or(able).unwrap_or(false)
}

/// What the ProxyConfig of mesh or pod says, else the settings.
fn holds(config: &PodProxyConfig, context: &Context) -> bool {
    let given = config.given.contains_key("holdApplicationUntilProxyStarts");
    if given { config.typed.hold_application_until_proxy_starts } else { context.settings.hold_application_until_proxy_starts }
}

/// Opt-in, because the containers of the pod then see each other's processes. A native sidecar is ended by kubelet.
fn ends_with_application(pod: &Value, wishes: &Wishes, context: &Context, status_port: u16, warnings: &mut Vec<String>) -> bool {
    let completes = matches!(pod.pointer("/spec/restartPolicy").and_then(Value::as_str), Some("Never" | "OnFailure"));
    match (wishes.exit_with_application, pod.pointer("/spec/shareProcessNamespace").and_then(Value::as_bool)) {
        (true, Some(false)) => {
            let text = "has no effect: the pod says shareProcessNamespace: false, and the proxy cannot see the application's processes";
            warnings.push(format!("annotation {EXIT_WITH_APPLICATION} {text}"));
            false
        }
        (false, _) if completes && !context.cluster.ends_sidecars => {
            let by_request = match status_port {
                0 => String::new(),
                port => format!("let the application POST to http://127.0.0.1:{port}/quitquitquit as its last act, or "),
            };
            warnings.push(format!(
                "the pod runs to completion, but its proxy does not end by itself: {by_request}set annotation {EXIT_WITH_APPLICATION}: \"true\""
            ));
            false
        }
        (asked, _) => asked,
    }
}

/// What `proxyMetadata` asks for and the proxy cannot do.
fn without_effect(rendering: &Rendering<'_>) -> Vec<String> {
    let metadata = &rendering.proxy_config.typed.proxy_metadata;
    let told = [
        ("ISTIO_META_DNS_CAPTURE", "the proxy serves no names; they are resolved by the pod's own nameserver"),
        ("REDIRECT_DNS", "the proxy serves no names; they are resolved by the pod's own nameserver"),
        ("ISTIO_META_ENABLE_HBONE", "the pod is reached by mTLS without a tunnel"),
        ("IPTABLES_TRACE_LOGGING", "no rule logs packets, and the proxy gets no privileges for it"),
    ];
    let asked = told.into_iter().filter(|(name, _)| metadata.get(name).is_some_and(|value| value == "true"));
    asked.map(|(name, reason)| format!("proxyMetadata {name} has no effect: {reason}")).collect()
}

/// A volume of the same name that the user wrote stays.
fn add_volumes(pod: &mut Value, rendering: &Rendering<'_>, selected: &Selected<'_>) -> Result<Vec<String>, InjectError> {
    let built_in = if selected.sidecar || selected.gateway { volumes::volumes(rendering) } else { Vec::new() };
    let of_fragments = selected.fragments.iter().flat_map(|fragment| pod::list(fragment, "volumes")).cloned();
    add_named(pod, "volumes", built_in.into_iter().chain(of_fragments))
}

fn add_secrets(pod: &mut Value, rendering: &Rendering<'_>, selected: &Selected<'_>) -> Result<Vec<String>, InjectError> {
    let of_settings = rendering.context.settings.image_pull_secrets.iter().map(|name| json!({ "name": name }));
    let of_fragments = selected.fragments.iter().flat_map(|fragment| pod::list(fragment, "imagePullSecrets")).cloned();
    add_named(pod, "imagePullSecrets", of_settings.chain(of_fragments))
}

/// Adds the items whose names are not there yet; returns these names.
fn add_named(pod: &mut Value, list: &'static str, items: impl Iterator<Item = Value>) -> Result<Vec<String>, InjectError> {
    let present = pod::list_mut(pod, list)?;
    let mut known: HashSet<String> = present.iter().map(|item| pod::name(item).to_owned()).collect();
    let mut added = Vec::new();
    for item in items {
        let name = pod::name(&item).to_owned();
        if known.insert(name.clone()) {
            present.push(item);
            added.push(name);
        }
    }
    pod::drop_empty(pod, list)?;
    Ok(added)
}
