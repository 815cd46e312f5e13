//! The containers that templates add, and how they join the user's.

use serde_json::{Map, Value, json};

use crate::complaints::Complaints;
use crate::merge::{self, Overrides, Status};
use crate::template::{self, Rendering, Role};
use crate::{INIT_CONTAINER, InjectError, PROXY_CONTAINER, VALIDATION_CONTAINER, pod};

/// Lists of a fragment that are joined item by item, elsewhere.
const LISTS: [&str; 4] = ["containers", "initContainers", "volumes", "imagePullSecrets"];

/// Containers rendered so far, each list in the order in which templates named them.
#[derive(Debug, Default)]
pub(super) struct Composition {
    /// For `initContainers`.
    pub init_containers: Vec<Value>,
    /// For `containers`.
    pub containers: Vec<Value>,
}

impl Composition {
    /// Those of the templates `sidecar` and `gateway`.
    pub(super) fn add_built_in(&mut self, rendering: &Rendering<'_>) {
        if rendering.captures() {
            self.init_containers.push(template::init_container(rendering, rendering.ids.uid));
        }
        let place = if rendering.native { &mut self.init_containers } else { &mut self.containers };
        place.push(template::proxy_container(rendering));
    }

    /// A fragment's containers: over the one of the same name, else in addition.
    pub(super) fn lay_over(&mut self, fragment: &Value) {
        for container in pod::list(fragment, "initContainers") {
            self.lay_container_over(container, true);
        }
        for container in pod::list(fragment, "containers") {
            self.lay_container_over(container, false);
        }
    }

    fn lay_container_over(&mut self, container: &Value, init: bool) {
        let name = pod::name(container);
        match self.init_containers.iter_mut().chain(&mut self.containers).find(|present| pod::name(present) == name) {
            Some(present) => merge::merge(present, container),
            None if init => self.init_containers.push(container.clone()),
            None => self.containers.push(container.clone()),
        }
    }

    /// The proxy, if one of the templates has one.
    pub(super) fn proxy(&mut self) -> Option<&mut Value> {
        self.init_containers.iter_mut().chain(&mut self.containers).find(|container| pod::name(container) == PROXY_CONTAINER)
    }

    /// Whether a container of this name was rendered.
    fn has(&self, name: &str) -> bool {
        self.init_containers.iter().chain(&self.containers).any(|container| pod::name(container) == name)
    }

    /// Lays the user's own containers of the same names over the rendered ones. They stay where they are until [`Self::place`].
    pub(super) fn take_overrides(
        &mut self,
        pod: &mut Value,
        rendering: &Rendering<'_>,
        complaints: &mut Complaints,
    ) -> Result<Overrides, InjectError> {
        let reserved = |name: &str| matches!(name, PROXY_CONTAINER | INIT_CONTAINER | VALIDATION_CONTAINER);
        // The user's fields for a container that is not rendered here (istio-init under CNI) wait for a rendering that has it.
        let mut of = |list| -> Result<Vec<Value>, InjectError> {
            let items = pod::list_mut(pod, list)?;
            let found: Vec<Value> = items.iter().filter(|item| self.has(pod::name(item)) || reserved(pod::name(item))).cloned().collect();
            items.retain(|item| !reserved(pod::name(item)) || self.has(pod::name(item)));
            Ok(found)
        };
        let overrides = Overrides { containers: of("containers")?, init_containers: of("initContainers")? };
        let mut effective = overrides.clone();
        discard_applications_user(&mut effective, rendering, complaints);
        for container in self.init_containers.iter_mut().chain(&mut self.containers) {
            effective.lay_over(container);
        }
        Ok(overrides)
    }

    /// What the status annotation lists.
    pub(super) fn status(&self, volumes: Vec<String>, secrets: Vec<String>, revision: &str) -> Status {
        let listed = |list: Vec<String>| Some(list).filter(|list| !list.is_empty());
        let names = |list: &[Value]| listed(list.iter().map(|item| pod::name(item).to_owned()).collect());
        Status {
            init_containers: names(&self.init_containers),
            containers: names(&self.containers),
            volumes: listed(volumes),
            image_pull_secrets: listed(secrets),
            revision: revision.to_owned(),
        }
    }

    /// Puts the containers in their places (contract 3.6). Native: rules, proxy, then the user's init containers, which so are inside the
    /// mesh. Else the user's init containers keep a network that is not captured yet, and the proxy comes last among containers, or first
    /// if the application waits for it. A container laid over one of the user's stays where that is.
    pub(super) fn place(self, pod: &mut Value, rendering: &Rendering<'_>) -> Result<(), InjectError> {
        let without = |items: &mut Vec<Value>, rendered: &[Value]| {
            items.retain(|item| !rendered.iter().any(|container| pod::name(container) == pod::name(item)));
        };
        without(pod::list_mut(pod, "containers")?, &self.init_containers);
        without(pod::list_mut(pod, "initContainers")?, &self.containers);
        let first_init = |container: &Value| rendering.native || pod::name(container) == VALIDATION_CONTAINER;
        let last_init = |container: &Value| pod::name(container) == INIT_CONTAINER;
        let init = split(self.init_containers, |container| is_ours(container) && first_init(container), last_init);
        join(pod::list_mut(pod, "initContainers")?, init);
        let first = |container: &Value| pod::name(container) == PROXY_CONTAINER && rendering.hold;
        let last = |container: &Value| pod::name(container) == PROXY_CONTAINER && rendering.role == Role::Sidecar;
        let containers = split(self.containers, first, last);
        join(pod::list_mut(pod, "containers")?, containers);
        pod::drop_empty(pod, "initContainers")
    }
}

fn is_ours(container: &Value) -> bool {
    matches!(pod::name(container), PROXY_CONTAINER | INIT_CONTAINER | VALIDATION_CONTAINER)
}

/// Containers by where they go: before all others, in the user's place or after the user's, after all others.
struct Split {
    first: Vec<Value>,
    middle: Vec<Value>,
    last: Vec<Value>,
}

fn split(containers: Vec<Value>, first: impl Fn(&Value) -> bool, last: impl Fn(&Value) -> bool) -> Split {
    let (first, rest): (Vec<_>, Vec<_>) = containers.into_iter().partition(|container| first(container));
    let (last, middle) = rest.into_iter().partition(|container| last(container));
    Split { first, middle, last }
}

fn join(present: &mut Vec<Value>, split: Split) {
    for container in split.middle {
        match present.iter_mut().find(|item| pod::name(item) == pod::name(&container)) {
            Some(place) => *place = container,
            None => present.push(container),
        }
    }
    let moved: Vec<String> = split.first.iter().chain(&split.last).map(|item| pod::name(item).to_owned()).collect();
    present.retain(|item| !moved.iter().any(|name| name == pod::name(item)));
    present.splice(0..0, split.first);
    present.extend(split.last);
}

/// Under OpenShift every container of a pod gets the application's user written into it, the proxy's too; a proxy with that user would
/// either not be exempt from capture or exempt the application as well.
fn discard_applications_user(overrides: &mut Overrides, rendering: &Rendering<'_>, complaints: &mut Complaints) {
    let user = |container: &Value| container.pointer("/securityContext/runAsUser").and_then(Value::as_u64);
    let containers = pod::list(rendering.pod, "containers");
    let applications: Vec<u64> = containers.iter().filter(|container| !is_ours(container)).filter_map(user).collect();
    for container in overrides.containers.iter_mut().chain(&mut overrides.init_containers) {
        let Some(uid) = user(container).filter(|uid| pod::name(container) == PROXY_CONTAINER && applications.contains(uid)) else {
            continue;
        };
        for field in ["runAsUser", "runAsGroup"] {
            container.pointer_mut("/securityContext").and_then(Value::as_object_mut).and_then(|security| security.remove(field));
        }
        complaints.add(format!("container {PROXY_CONTAINER}: runAsUser {uid} is an application's as well"), "the proxy keeps its own user");
    }
}

/// A fragment's labels, annotations and fields of `spec`. The fragment wins, as a template does with Istio.
pub(super) fn lay_over_pod(pod: &mut Value, fragment: &Value) -> Result<(), InjectError> {
    for field in ["labels", "annotations"] {
        if let Some(given) = fragment.pointer(&format!("/metadata/{field}")).and_then(Value::as_object) {
            let target = pod::strings_mut(pod, field)?;
            target.extend(given.clone());
        }
    }
    let Some(given) = fragment.get("spec").and_then(Value::as_object) else { return Ok(()) };
    let others: Map<String, Value> =
        given.iter().filter(|(name, _)| !LISTS.contains(&name.as_str())).map(|(name, value)| (name.clone(), value.clone())).collect();
    let mut spec = Value::Object(std::mem::take(pod::object_mut(pod, "spec")?));
    merge::merge(&mut spec, &Value::Object(others));
    if let (Some(target), Value::Object(spec)) = (pod.get_mut("spec"), spec) {
        *target = Value::Object(spec);
    }
    Ok(())
}

/// Pod-level security of a gateway, unless the user wrote some: it may bind ports below 1024 without a capability.
pub(super) fn gateway_security(pod: &mut Value, rendering: &Rendering<'_>) -> Result<(), InjectError> {
    let configured = rendering.context.settings.gateway_security_context.clone();
    let default = || json!({ "sysctls": [{ "name": "net.ipv4.ip_unprivileged_port_start", "value": "0" }] });
    pod::object_mut(pod, "spec")?.entry("securityContext").or_insert_with(|| configured.unwrap_or_else(default));
    Ok(())
}
