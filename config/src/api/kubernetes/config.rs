//! Namespaces, accounts, configuration and secrets.

use super::meta::LocalObjectReference;
use crate::decode::{Bytes, api_struct};
use crate::string_map::StringMap;

api_struct! {
    /// A Namespace; all that matters is in its metadata.
    pub struct Namespace {}
    also ["apiVersion", "kind", "metadata", "spec", "status"]
}

api_struct! {
    /// An account.
    pub struct ServiceAccount {
        /// Secrets for pulling images.
        pub image_pull_secrets: Vec<LocalObjectReference>,
        /// Whether pods get a token.
        pub automount_service_account_token: Option<bool>,
    }
    also ["apiVersion", "kind", "metadata", "secrets"]
}

api_struct! {
    /// Configuration files.
    pub struct ConfigMap {
        /// Text by key.
        pub data: StringMap,
        /// Bytes by key.
        pub binary_data: StringMap<Bytes>,
        /// Whether it never changes.
        pub immutable: Option<bool>,
    }
    also ["apiVersion", "kind", "metadata"]
}

api_struct! {
    /// Secret files.
    pub struct Secret {
        /// Such as `Opaque` or `kubernetes.io/tls`.
        pub kind: String = "type",
        /// Bytes by key.
        pub data: StringMap<Bytes>,
        /// Text by key; wins over `data`.
        pub string_data: StringMap,
        /// Whether it never changes.
        pub immutable: Option<bool>,
    }
    also ["apiVersion", "kind", "metadata"]
}

impl Secret {
    /// The content of a key, from `stringData` or `data`.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        let text = self.string_data.get(key).map(String::as_bytes);
        text.or_else(|| self.data.get(key).map(|bytes| bytes.0.as_slice()))
    }
}
