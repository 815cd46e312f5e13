//! Why a pod is refused. The webhook answers with the text, so it names the annotation or field and what to write instead.

/// A pod that cannot be injected as asked. Never silently injected otherwise: a policy could depend on it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InjectError {
    /// An annotation's value cannot be understood.
    #[error("annotation {name}: {reason} (got `{value}`); the pod is refused")]
    Annotation {
        /// The annotation's name.
        name: String,
        /// Its value.
        value: String,
        /// What was expected.
        reason: String,
    },
    /// A feature of Istio's injector that is not there yet.
    #[error("{what} is not supported yet: {instead}; the pod is refused")]
    Unsupported {
        /// What was asked for, and where.
        what: String,
        /// What to do instead.
        instead: String,
    },
    /// The JSON is no pod.
    #[error("{field}: expected {expected}; the pod is refused")]
    Shape {
        /// Path of the field.
        field: &'static str,
        /// What should be there.
        expected: &'static str,
    },
}
