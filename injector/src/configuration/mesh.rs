//! Key `mesh`: what of MeshConfig a pod shows.

use outrigger_config::diagnostic::Severity;
use outrigger_config::mesh::{self, InboundTrafficMode};

use super::fields::Fields;
use super::{Configuration, ConfigurationError, Part};
use crate::proxy_config;

pub(super) fn read(text: &str, configuration: &mut Configuration) -> Result<(), ConfigurationError> {
    let fields = Fields::of_text(Part::Mesh, text)?;
    let (mesh, problems) = mesh::read_mesh_config(text);
    for problem in problems {
        if problem.severity >= Severity::Error {
            return Err(ConfigurationError { part: Part::Mesh, field: problem.field, message: problem.message });
        }
        configuration.warnings.push(format!("mesh: {}: {}", problem.field, problem.message));
    }
    let settings = &mut configuration.settings;
    settings.trust_domain = mesh.trust_domain;
    settings.enable_prometheus_merge = mesh.enable_prometheus_merge;
    settings.probe_localhost = mesh.inbound_traffic_policy == InboundTrafficMode::Localhost;
    settings.proxy_config = proxy_config::camel_keys(fields.section("defaultConfig")?.map().clone());
    settings.mesh_id = settings.proxy_config.get("meshId").and_then(|id| Some(id.as_str()?.to_owned()));
    Ok(())
}
