//! Volumes that a local runner can provide.

use super::container::{ObjectFieldSelector, Quantity, ResourceFieldSelector};
use crate::decode::api_struct;

api_struct! {
    /// A volume. One source must be set.
    pub struct Volume {
        /// Name used by mounts.
        pub name: String,
        /// Files from a ConfigMap.
        pub config_map: Option<ConfigMapVolumeSource>,
        /// Files from a Secret.
        pub secret: Option<SecretVolumeSource>,
        /// An empty folder.
        pub empty_dir: Option<EmptyDirVolumeSource>,
        /// A folder of the node.
        pub host_path: Option<HostPathVolumeSource>,
        /// Several sources in one folder.
        pub projected: Option<ProjectedVolumeSource>,
        /// Fields of the pod as files.
        pub downward_api: Option<DownwardApiVolumeSource> = "downwardAPI",
    }
    also [
        "awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "csi", "ephemeral", "fc", "flexVolume",
        "flocker", "gcePersistentDisk", "gitRepo", "glusterfs", "image", "iscsi", "nfs", "persistentVolumeClaim",
        "photonPersistentDisk", "portworxVolume", "quobyte", "rbd", "scaleIO", "storageos", "vsphereVolume",
    ]
}

api_struct! {
    /// Files from a ConfigMap.
    pub struct ConfigMapVolumeSource {
        /// ConfigMap.
        pub name: String,
        /// Chosen keys; empty means all.
        pub items: Vec<KeyToPath>,
        /// Mode of the files; absent means 0644.
        pub default_mode: Option<i32>,
        /// Whether it may be missing.
        pub optional: bool,
    }
}

api_struct! {
    /// Files from a Secret.
    pub struct SecretVolumeSource {
        /// Secret.
        pub secret_name: String,
        /// Chosen keys; empty means all.
        pub items: Vec<KeyToPath>,
        /// Mode of the files; absent means 0644.
        pub default_mode: Option<i32>,
        /// Whether it may be missing.
        pub optional: bool,
    }
}

api_struct! {
    /// One key as one file.
    pub struct KeyToPath {
        /// Key.
        pub key: String,
        /// Relative path.
        pub path: String,
        /// Mode of the file.
        pub mode: Option<i32>,
    }
}

api_struct! {
    /// An empty folder.
    pub struct EmptyDirVolumeSource {
        /// `Memory` or empty.
        pub medium: String,
        /// Limit.
        pub size_limit: Option<Quantity>,
    }
}

api_struct! {
    /// A folder of the node.
    pub struct HostPathVolumeSource {
        /// Path.
        pub path: String,
        /// Check before mounting.
        pub kind: String = "type",
    }
}

api_struct! {
    /// Several sources in one folder.
    pub struct ProjectedVolumeSource {
        /// Sources.
        pub sources: Vec<VolumeProjection>,
        /// Mode of the files; absent means 0644.
        pub default_mode: Option<i32>,
    }
}

api_struct! {
    /// One source of a projected volume.
    pub struct VolumeProjection {
        /// Files from a ConfigMap.
        pub config_map: Option<ConfigMapVolumeSource>,
        /// Files from a Secret.
        pub secret: Option<ProjectedSecret>,
        /// Fields of the pod as files.
        pub downward_api: Option<DownwardApiVolumeSource> = "downwardAPI",
        /// A token.
        pub service_account_token: Option<ServiceAccountTokenProjection>,
    }
    also ["clusterTrustBundle", "podCertificate"]
}

api_struct! {
    /// Files from a Secret, in a projected volume.
    pub struct ProjectedSecret {
        /// Secret.
        pub name: String,
        /// Chosen keys; empty means all.
        pub items: Vec<KeyToPath>,
        /// Whether it may be missing.
        pub optional: bool,
    }
}

api_struct! {
    /// A token of the pod's account.
    pub struct ServiceAccountTokenProjection {
        /// For whom.
        pub audience: String,
        /// Lifetime in seconds; absent means 3600.
        pub expiration_seconds: Option<i64>,
        /// Relative path.
        pub path: String,
    }
}

api_struct! {
    /// Fields of the pod as files.
    pub struct DownwardApiVolumeSource {
        /// The files.
        pub items: Vec<DownwardApiFile>,
        /// Mode of the files; absent means 0644.
        pub default_mode: Option<i32>,
    }
}

api_struct! {
    /// One field as one file.
    pub struct DownwardApiFile {
        /// Relative path.
        pub path: String,
        /// A field of the pod.
        pub field_ref: Option<ObjectFieldSelector>,
        /// A limit or request.
        pub resource_field_ref: Option<ResourceFieldSelector>,
        /// Mode of the file.
        pub mode: Option<i32>,
    }
}
