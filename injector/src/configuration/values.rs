//! Key `values`: those of Helm's values that shape a pod. Most values of a chart shape something else, so unknown ones are nothing to
//! warn about; those that Istio's injector heeds and ours does not are.

use super::fields::Fields;
use super::{Configuration, ConfigurationError, Part};
use crate::annotations::{self, Capture};
use crate::quantity;
use crate::settings::{Cni, NativeSidecars, Resources, Settings};
use crate::templates::Template;

type Done = Result<(), ConfigurationError>;

/// Where the result of reading goes: a field given replaces the setting, an absent one leaves it.
fn put<T>(target: &mut T, given: Option<T>) {
    if let Some(value) = given {
        *target = value;
    }
}

pub(super) fn read(text: &str, configuration: &mut Configuration) -> Done {
    let values = Fields::of_text(Part::Values, text)?;
    let global = values.section("global")?;
    let proxy = global.section("proxy")?;
    let Configuration { settings, warnings } = configuration;
    put(&mut settings.revision, values.text("revision")?);
    image(&global, &proxy, settings, warnings)?;
    whole_mesh(&global, settings)?;
    one_proxy(&proxy, settings)?;
    probes(&proxy, settings)?;
    settings.capture = capture(&proxy)?;
    put(&mut settings.resources, resources(&proxy)?);
    webhook(&values.section("sidecarInjectorWebhook")?, settings, warnings)?;
    pilot(&values.section("pilot")?, settings)?;
    settings.gateway_security_context = values.section("gateways")?.get("securityContext").cloned();
    warnings.extend(without_effect(&global, &proxy)?);
    Ok(())
}

/// `global.hub`, `global.proxy.image`, `global.tag`; an image with a `/` in it is a whole name.
fn image(global: &Fields, proxy: &Fields, settings: &mut Settings, warnings: &mut Vec<String>) -> Done {
    let name = proxy.text("image")?;
    let (hub, tag) = (global.text("hub")?, global.text("tag")?);
    match name.as_deref() {
        Some(whole) if whole.contains('/') => settings.image = whole.to_owned(),
        name if name.is_some() || hub.is_some() || tag.is_some() => {
            let hub = hub.map(|hub| format!("{hub}/")).unwrap_or_default();
            let tag = tag.unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned());
            settings.image = format!("{hub}{}:{tag}", name.unwrap_or("outrigger"));
        }
        _ => {}
    }
    if settings.image.rsplit('/').next().is_some_and(|last| last.starts_with("proxyv2")) {
        let image = &settings.image;
        warnings.push(format!("values: the image {image} is Istio's proxy; pods get it as configured, and Outrigger runs in none of them"));
    }
    settings.image_pull_policy = global.text("imagePullPolicy")?;
    put(&mut settings.image_pull_secrets, global.texts("imagePullSecrets")?);
    Ok(())
}

fn whole_mesh(global: &Fields, settings: &mut Settings) -> Done {
    put(&mut settings.istio_namespace, global.text("istioNamespace")?);
    put(&mut settings.ca_address, global.text("caAddress")?.map(Some));
    put(&mut settings.cert_provider, global.text("pilotCertProvider")?);
    put(&mut settings.mesh_id, global.text("meshID")?.map(Some));
    put(&mut settings.network, global.text("network")?.map(Some));
    put(&mut settings.trust_domain, global.text("trustDomain")?);
    put(&mut settings.cluster_id, global.section("multiCluster")?.text("clusterName")?);
    put(&mut settings.log_as_json, global.boolean("logAsJson")?);
    put(&mut settings.agent_log_level, global.section("logging")?.text("level")?);
    put(&mut settings.sts_port, global.section("sts")?.number("servicePort")?);
    put(&mut settings.mount_mtls_certs, global.boolean("mountMtlsCerts")?);
    put(&mut settings.native_nftables, global.boolean("nativeNftables")?);
    put(&mut settings.force_apply_iptables, global.section("proxy_init")?.boolean("forceApplyIptables")?);
    settings.openshift = global.text("platform")?.is_some_and(|platform| platform == "openshift");
    Ok(())
}

fn one_proxy(proxy: &Fields, settings: &mut Settings) -> Done {
    put(&mut settings.cluster_domain, proxy.text("clusterDomain")?);
    put(&mut settings.log_level, proxy.text("logLevel")?);
    put(&mut settings.component_log_level, proxy.text("componentLogLevel")?);
    put(&mut settings.outlier_log_path, proxy.text("outlierLogPath")?.map(Some));
    put(&mut settings.hold_application_until_proxy_starts, proxy.boolean("holdApplicationUntilProxyStarts")?);
    let lifecycle = proxy.section("lifecycle")?;
    settings.lifecycle = Some(lifecycle.map().clone().into()).filter(|_| !lifecycle.map().is_empty());
    Ok(())
}

fn probes(proxy: &Fields, settings: &mut Settings) -> Done {
    let probes = &mut settings.probes;
    put(&mut settings.status_port, proxy.number("statusPort")?.map(Some));
    put(&mut probes.initial_delay, proxy.number("readinessInitialDelaySeconds")?);
    put(&mut probes.period, proxy.number("readinessPeriodSeconds")?);
    put(&mut probes.failure_threshold, proxy.number("readinessFailureThreshold")?);
    let startup = proxy.section("startupProbe")?;
    put(&mut probes.startup_failure_threshold, startup.number("failureThreshold")?.map(Some));
    if startup.boolean("enabled")? == Some(false) {
        probes.startup_failure_threshold = None;
    }
    Ok(())
}

/// The same values as annotations may have, checked the same way.
fn capture(proxy: &Fields) -> Result<Capture, ConfigurationError> {
    let text = |name: &str, flag: annotations::Flag| -> Result<Option<String>, ConfigurationError> {
        let value = proxy.text(name)?;
        if let Some(reason) = value.as_deref().and_then(|value| annotations::flag_problem(flag, value)) {
            return Err(proxy.error(name, reason));
        }
        Ok(value)
    };
    let star = |value: Option<String>| value.filter(|value| value != "*");
    Ok(Capture {
        include_outbound_ranges: star(text("includeIPRanges", |args, value| args.istio_service_cidr = value)?),
        exclude_outbound_ranges: text("excludeIPRanges", |args, value| args.istio_service_exclude_cidr = value)?,
        include_inbound_ports: star(text("includeInboundPorts", |args, value| args.istio_inbound_ports = value)?),
        exclude_inbound_ports: text("excludeInboundPorts", |args, value| args.istio_local_exclude_ports = value)?,
        include_outbound_ports: text("includeOutboundPorts", |args, value| args.istio_outbound_ports = value)?,
        exclude_outbound_ports: text("excludeOutboundPorts", |args, value| args.istio_local_outbound_ports_exclude = value)?,
        ..Capture::default()
    })
}

/// `None` without the section. Written out, it is the whole truth, as in Helm: what it leaves out is unlimited.
fn resources(proxy: &Fields) -> Result<Option<Resources>, ConfigurationError> {
    let given = proxy.section("resources")?;
    if given.map().is_empty() {
        return Ok(None);
    }
    let quantity = |kind: &str, name: &str| -> Result<Option<String>, ConfigurationError> {
        let section = given.section(kind)?;
        match section.text(name)? {
            Some(text) if quantity::amount(&text).is_none() => Err(section.error(name, quantity::EXPECTED)),
            value => Ok(value),
        }
    };
    Ok(Some(Resources {
        cpu: quantity("requests", "cpu")?,
        memory: quantity("requests", "memory")?,
        cpu_limit: quantity("limits", "cpu")?,
        memory_limit: quantity("limits", "memory")?,
    }))
}

fn webhook(webhook: &Fields, settings: &mut Settings, warnings: &mut Vec<String>) -> Done {
    put(&mut settings.rewrite_app_http_probe, webhook.boolean("rewriteAppHTTPProbe")?);
    put(&mut settings.enable_namespaces_by_default, webhook.boolean("enableNamespacesByDefault")?);
    put(&mut settings.strict, webhook.boolean("strict")?);
    put(&mut settings.native_sidecars, native(webhook, "nativeSidecars")?);
    settings.injected_annotations.extend(webhook.strings("injectedAnnotations")?);
    for (name, text) in webhook.strings("templates")? {
        let template = Template::read(&text);
        if let Template::Unusable(reason) = &template {
            warnings.push(format!("values: sidecarInjectorWebhook.templates.{name}: {reason}"));
        }
        settings.templates.insert(name, template);
    }
    Ok(())
}

fn pilot(pilot: &Fields, settings: &mut Settings) -> Done {
    let cni = pilot.section("cni")?;
    settings.cni = match (cni.boolean("enabled")?.unwrap_or(false), cni.text("provider")?.as_deref()) {
        (false, _) => Cni::Off,
        (true, Some("multus")) => Cni::Multus,
        (true, _) => Cni::Chained,
    };
    let env = pilot.section("env")?;
    put(&mut settings.native_sidecars, native(&env, "ENABLE_NATIVE_SIDECARS")?);
    put(&mut settings.cluster_trust_bundle, env.boolean("ENABLE_CLUSTER_TRUST_BUNDLE_API")?);
    put(&mut settings.compliance_policy, env.text("COMPLIANCE_POLICY")?.map(Some));
    Ok(())
}

fn native(fields: &Fields, name: &str) -> Result<Option<NativeSidecars>, ConfigurationError> {
    match fields.text(name)?.as_deref() {
        None => Ok(None),
        Some("auto") => Ok(Some(NativeSidecars::Auto)),
        Some("true") => Ok(Some(NativeSidecars::Always)),
        Some("false") => Ok(Some(NativeSidecars::Never)),
        Some(other) => Err(fields.error(name, format!("expected auto, true or false, got `{other}`"))),
    }
}

/// Values that change a pod of Istio's and none of ours.
fn without_effect(global: &Fields, proxy: &Fields) -> Result<Vec<String>, ConfigurationError> {
    let mut found = Vec::new();
    let mut say = |name: &str, reason: &str| found.push(format!("values: {name} has no effect: {reason}"));
    if proxy.boolean("enableCoreDump")? == Some(true) {
        say("global.proxy.enableCoreDump", "no privileged container is added to pods");
    }
    if proxy.boolean("privileged")? == Some(true) {
        say("global.proxy.privileged", "the proxy needs no privileges");
    }
    if global.text("variant")?.is_some() {
        say("global.variant", "Outrigger's image has no variants");
    }
    Ok(found)
}
