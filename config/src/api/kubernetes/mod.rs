//! The Kubernetes kinds, with the fields that a local runner, an injector and a registry need.
//!
//! Other fields of the Kubernetes API are listed as known and not modelled; `Object::to_json` still has them.

mod config;
mod container;
mod meta;
mod pod;
mod probe;
mod service;
mod volume;
mod workload;

pub use config::{ConfigMap, Namespace, Secret, ServiceAccount};
pub use container::{
    Capabilities, ConfigMapKeySelector, Container, ContainerPort, EnvFromSource, EnvReference, EnvVar, EnvVarSource, ObjectFieldSelector,
    Quantity, ResourceFieldSelector, ResourceRequirements, SecretKeySelector, SecurityContext, VolumeMount,
};
pub use meta::{LabelSelector, LabelSelectorRequirement, LocalObjectReference, ObjectMeta, OwnerReference, Timestamp};
pub use pod::{HostAlias, Pod, PodCondition, PodDnsConfig, PodDnsConfigOption, PodIp, PodSecurityContext, PodSpec, PodStatus, Sysctl};
pub use probe::{ExecAction, GrpcAction, HttpGetAction, HttpHeader, Lifecycle, LifecycleHandler, Probe, SleepAction, TcpSocketAction};
pub use service::{EndpointConditions, EndpointPort, EndpointSlice, Service, ServicePort, ServiceSpec, SliceEndpoint, TargetRef};
pub use volume::{
    ConfigMapVolumeSource, DownwardApiFile, DownwardApiVolumeSource, EmptyDirVolumeSource, HostPathVolumeSource, KeyToPath,
    ProjectedSecret, ProjectedVolumeSource, SecretVolumeSource, ServiceAccountTokenProjection, Volume, VolumeProjection,
};
pub use workload::{
    DaemonSet, DaemonSetSpec, Deployment, DeploymentSpec, Job, JobSpec, PodTemplateSpec, ReplicaSet, ReplicaSetSpec, StatefulSet,
    StatefulSetSpec,
};
