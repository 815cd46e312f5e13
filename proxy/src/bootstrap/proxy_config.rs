//! ProxyConfig as far as the process itself obeys it, merged from its layers (sidecar contract 6.1).
//!
//! Layers, later wins: `defaultConfig` of the mesh file, environment PROXY_CONFIG, annotation `proxy.istio.io/config`.
//! Fields replace; everything else a ProxyConfig says is the compiler's business.

use std::time::Duration;

use outrigger_config::api::mesh::{InterceptionMode, MeshConfigSpec, ProxyConfigSpec};
use outrigger_config::decode::Problem;
use outrigger_config::diagnostic::Severity;
use outrigger_config::mesh;
use outrigger_config::string_map::StringMap;

/// The fields that decide about threads, ports and draining; `None` where no layer says anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyConfigOverrides {
    /// `concurrency`; 0 = one worker per core.
    pub concurrency: Option<u32>,
    /// `drainDuration`.
    pub drain_duration: Option<Duration>,
    /// `terminationDrainDuration`.
    pub termination_drain_duration: Option<Duration>,
    /// `proxyAdminPort`.
    pub admin_port: Option<u16>,
    /// `statusPort`.
    pub status_port: Option<u16>,
    /// `interceptionMode`.
    pub interception_mode: Option<InterceptionMode>,
    /// `proxyMetadata` of all layers together: environment variables that the process's own environment overrides.
    pub proxy_metadata: StringMap,
}

impl ProxyConfigOverrides {
    /// Puts a layer, in YAML or JSON, over what is known. `origin` names it in warnings; a layer with an error is left
    /// out as a whole.
    pub fn overlay(&mut self, origin: &str, text: &str, warnings: &mut Vec<String>) {
        let (layer, problems) = mesh::read::<ProxyConfigSpec>(text);
        if is_usable(origin, &problems, warnings) {
            self.overlay_spec(&layer);
        }
    }

    /// The same for the `defaultConfig` of a mesh configuration file.
    pub fn overlay_mesh(&mut self, origin: &str, text: &str, warnings: &mut Vec<String>) {
        let (mesh, problems) = mesh::read::<MeshConfigSpec>(text);
        if is_usable(origin, &problems, warnings)
            && let Some(layer) = &mesh.default_config
        {
            self.overlay_spec(layer);
        }
    }

    fn overlay_spec(&mut self, layer: &ProxyConfigSpec) {
        self.concurrency = layer.concurrency.or(self.concurrency);
        self.drain_duration = layer.drain_duration.or(self.drain_duration);
        self.termination_drain_duration = layer.termination_drain_duration.or(self.termination_drain_duration);
        self.admin_port = layer.proxy_admin_port.or(self.admin_port);
        self.status_port = layer.status_port.or(self.status_port);
        self.interception_mode = layer.interception_mode.or(self.interception_mode);
        for (name, value) in layer.proxy_metadata.iter() {
            self.proxy_metadata.insert(name.clone(), value.clone());
        }
    }
}

fn is_usable(origin: &str, problems: &[Problem], warnings: &mut Vec<String>) -> bool {
    warnings.extend(problems.iter().map(|problem| describe(origin, problem)));
    let usable = problems.iter().all(|problem| problem.severity < Severity::Error);
    if !usable {
        warnings.push(format!("{origin} is left out because of the error above"));
    }
    usable
}

fn describe(origin: &str, problem: &Problem) -> String {
    let position = problem.position;
    format!("{origin}, line {}, column {}: {}: {}", position.line, position.column, problem.field, problem.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_layers_replace_single_fields() {
        let mut warnings = Vec::new();
        let mut config = ProxyConfigOverrides::default();
        config.overlay_mesh("mesh file", "defaultConfig:\n  concurrency: 7\n  proxyAdminPort: 16000\n", &mut warnings);
        config.overlay("PROXY_CONFIG", r#"{"concurrency": 4, "terminationDrainDuration": "9s", "statusPort": 15099}"#, &mut warnings);
        config.overlay("annotation", "concurrency: 0\ndrainDuration: 1m\n", &mut warnings);
        assert_eq!(config.concurrency, Some(0));
        assert_eq!(config.termination_drain_duration, Some(Duration::from_secs(9)));
        assert_eq!(config.drain_duration, Some(Duration::from_secs(60)));
        assert_eq!((config.status_port, config.admin_port), (Some(15099), Some(16000)));
        assert!(warnings.is_empty(), "{warnings:?}");
    }

    #[test]
    fn a_layer_with_an_error_is_named_and_left_out() {
        let mut warnings = Vec::new();
        let mut config = ProxyConfigOverrides { concurrency: Some(2), ..Default::default() };
        config.overlay("annotation proxy.istio.io/config", "drainDuration: 1m\nconcurrency: many\n", &mut warnings);
        assert_eq!((config.concurrency, config.drain_duration), (Some(2), None));
        assert_eq!(warnings.len(), 2);
        assert!(warnings[0].starts_with("annotation proxy.istio.io/config, line 2"), "{warnings:?}");
    }
}
