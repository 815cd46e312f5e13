//! Kinds that make pods.

use super::meta::{LabelSelector, ObjectMeta};
use super::pod::PodSpec;
use crate::decode::{Json, api_struct};

api_struct! {
    /// What every pod of a workload looks like.
    pub struct PodTemplateSpec {
        /// Labels and annotations.
        pub metadata: ObjectMeta,
        /// The pod.
        pub spec: PodSpec,
    }
}

api_struct! {
    /// A Deployment.
    pub struct Deployment {
        /// What is wanted.
        pub spec: DeploymentSpec,
    }
    also ["apiVersion", "kind", "metadata", "status"]
}

api_struct! {
    /// A number of equal pods, replaced by and by.
    pub struct DeploymentSpec {
        /// How many; absent means 1.
        pub replicas: Option<u32>,
        /// Its pods.
        pub selector: LabelSelector,
        /// What they look like.
        pub template: PodTemplateSpec,
    }
    also [
        "minReadySeconds", "paused", "progressDeadlineSeconds", "revisionHistoryLimit", "strategy",
    ]
}

api_struct! {
    /// A ReplicaSet.
    pub struct ReplicaSet {
        /// What is wanted.
        pub spec: ReplicaSetSpec,
    }
    also ["apiVersion", "kind", "metadata", "status"]
}

api_struct! {
    /// A number of equal pods.
    pub struct ReplicaSetSpec {
        /// How many; absent means 1.
        pub replicas: Option<u32>,
        /// Its pods.
        pub selector: LabelSelector,
        /// What they look like.
        pub template: PodTemplateSpec,
    }
    also ["minReadySeconds"]
}

api_struct! {
    /// A StatefulSet.
    pub struct StatefulSet {
        /// What is wanted.
        pub spec: StatefulSetSpec,
    }
    also ["apiVersion", "kind", "metadata", "status"]
}

api_struct! {
    /// Pods with names that stay.
    pub struct StatefulSetSpec {
        /// How many; absent means 1.
        pub replicas: Option<u32>,
        /// Its pods.
        pub selector: LabelSelector,
        /// What they look like.
        pub template: PodTemplateSpec,
        /// The headless Service that names them.
        pub service_name: String,
        /// `OrderedReady` (also when empty) or `Parallel`.
        pub pod_management_policy: String,
        /// Volumes per pod, as JSON.
        pub volume_claim_templates: Vec<Json>,
    }
    also [
        "minReadySeconds", "ordinals", "persistentVolumeClaimRetentionPolicy", "revisionHistoryLimit", "updateStrategy",
    ]
}

api_struct! {
    /// A DaemonSet.
    pub struct DaemonSet {
        /// What is wanted.
        pub spec: DaemonSetSpec,
    }
    also ["apiVersion", "kind", "metadata", "status"]
}

api_struct! {
    /// One pod per node.
    pub struct DaemonSetSpec {
        /// Its pods.
        pub selector: LabelSelector,
        /// What they look like.
        pub template: PodTemplateSpec,
    }
    also ["minReadySeconds", "revisionHistoryLimit", "updateStrategy"]
}

api_struct! {
    /// A Job.
    pub struct Job {
        /// What is wanted.
        pub spec: JobSpec,
    }
    also ["apiVersion", "kind", "metadata", "status"]
}

api_struct! {
    /// Pods that end.
    pub struct JobSpec {
        /// What they look like.
        pub template: PodTemplateSpec,
        /// How many must succeed; absent means 1.
        pub completions: Option<u32>,
        /// How many run at a time; absent means 1.
        pub parallelism: Option<u32>,
        /// Failures before the Job fails; absent means 6.
        pub backoff_limit: Option<u32>,
        /// Its pods; made by Kubernetes when absent.
        pub selector: Option<LabelSelector>,
    }
    also [
        "activeDeadlineSeconds", "backoffLimitPerIndex", "completionMode", "managedBy", "manualSelector",
        "maxFailedIndexes", "podFailurePolicy", "podReplacementPolicy", "successPolicy", "suspend",
        "ttlSecondsAfterFinished",
    ]
}
