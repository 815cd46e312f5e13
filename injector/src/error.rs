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
    /// A template that does not exist or cannot be used.
    #[error("template {name}: {reason}; the pod is refused")]
    Template {
        /// The template's name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What would be a warning, were the injector not strict.
    #[error("{0}; the pod is refused, because the injector is strict")]
    Strict(String),
    /// An injected pod of which too little is known to take the injection out again.
    #[error("{0}; the pod is refused")]
    Unclear(String),
    /// More than Kubernetes would take.
    #[error("{field}: expected {expected}, got {found}; the pod is refused")]
    TooLarge {
        /// Path of the field.
        field: &'static str,
        /// The bound.
        expected: String,
        /// What is there.
        found: usize,
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
