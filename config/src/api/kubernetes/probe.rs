//! Probes and life-cycle hooks.

use crate::decode::{IntOrString, api_struct};

api_struct! {
    /// A repeated check of a container. One action must be set.
    pub struct Probe {
        /// Run a command; status 0 is success.
        pub exec: Option<ExecAction>,
        /// Send a request; 200 to 399 is success.
        pub http_get: Option<HttpGetAction>,
        /// Open a connection.
        pub tcp_socket: Option<TcpSocketAction>,
        /// Call the gRPC health service.
        pub grpc: Option<GrpcAction>,
        /// Seconds before the first check; absent means 0.
        pub initial_delay_seconds: i32,
        /// Limit in seconds; 0 means 1.
        pub timeout_seconds: i32,
        /// Seconds between checks; 0 means 10.
        pub period_seconds: i32,
        /// Successes in a row to be well; 0 means 1.
        pub success_threshold: i32,
        /// Failures in a row to be unwell; 0 means 3.
        pub failure_threshold: i32,
        /// Grace period after a failed liveness check.
        pub termination_grace_period_seconds: Option<i64>,
    }
}

api_struct! {
    /// A command.
    pub struct ExecAction {
        /// Program and arguments, no shell.
        pub command: Vec<String>,
    }
}

api_struct! {
    /// An HTTP request.
    pub struct HttpGetAction {
        /// Path; empty means `/`.
        pub path: String,
        /// Port number or name.
        pub port: IntOrString,
        /// Host; empty means the pod's address.
        pub host: String,
        /// `HTTP` (also when empty) or `HTTPS`.
        pub scheme: String,
        /// Headers.
        pub http_headers: Vec<HttpHeader>,
    }
}

api_struct! {
    /// A header.
    pub struct HttpHeader {
        /// Name.
        pub name: String,
        /// Value.
        pub value: String,
    }
}

api_struct! {
    /// A connection.
    pub struct TcpSocketAction {
        /// Port number or name.
        pub port: IntOrString,
        /// Host; empty means the pod's address.
        pub host: String,
    }
}

api_struct! {
    /// A gRPC health check.
    pub struct GrpcAction {
        /// Port.
        pub port: u16,
        /// Service; empty means the server.
        pub service: Option<String>,
    }
}

api_struct! {
    /// Hooks.
    pub struct Lifecycle {
        /// After start.
        pub post_start: Option<LifecycleHandler>,
        /// Before SIGTERM.
        pub pre_stop: Option<LifecycleHandler>,
    }
    also ["stopSignal"]
}

api_struct! {
    /// A hook. One action must be set.
    pub struct LifecycleHandler {
        /// Run a command.
        pub exec: Option<ExecAction>,
        /// Send a request.
        pub http_get: Option<HttpGetAction>,
        /// Open a connection.
        pub tcp_socket: Option<TcpSocketAction>,
        /// Wait.
        pub sleep: Option<SleepAction>,
    }
}

api_struct! {
    /// A pause.
    pub struct SleepAction {
        /// How long.
        pub seconds: i64,
    }
}
