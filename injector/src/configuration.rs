//! The injector's configuration as text: ConfigMap `istio-sidecar-injector` (keys `config` and `values`) and ConfigMap `istio` (key `mesh`),
//! in the form Istio's chart writes them (contract 3.3).
//!
//! Pure: whoever watches the ConfigMaps keeps the last good [`Configuration`] when reading fails.

use std::fmt;

use crate::settings::Settings;

mod config;
mod fields;
mod mesh;
mod values;

/// What the injector works with, and what in the texts has no effect.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Configuration {
    /// The settings.
    pub settings: Settings,
    /// What its author should know.
    pub warnings: Vec<String>,
}

/// Which text an error is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Key `config`: policy, templates, selectors.
    Config,
    /// Key `values`: Helm's values.
    Values,
    /// Key `mesh`: MeshConfig.
    Mesh,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Config => "config",
            Self::Values => "values",
            Self::Mesh => "mesh",
        })
    }
}

/// A configuration that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{part}{}{field}: {message}", if field.is_empty() { "" } else { ": " })]
pub struct ConfigurationError {
    /// The text.
    pub part: Part,
    /// Path of the field; empty for the whole text.
    pub field: String,
    /// What was expected.
    pub message: String,
}

impl Configuration {
    /// Reads the three texts, YAML or JSON; absent or empty ones leave the defaults. Where two texts speak of the same thing, `values` is
    /// laid over `mesh`, and `config` over both.
    ///
    /// # Errors
    /// Text that is no YAML, or a field that cannot be understood; fields without meaning here are warnings or, in `values`, nothing.
    pub fn read(config: &str, values: Option<&str>, mesh: Option<&str>) -> Result<Self, ConfigurationError> {
        let mut configuration = Self::default();
        mesh::read(mesh.unwrap_or_default(), &mut configuration)?;
        values::read(values.unwrap_or_default(), &mut configuration)?;
        config::read(config, &mut configuration)?;
        Ok(configuration)
    }
}

#[cfg(test)]
mod tests;
