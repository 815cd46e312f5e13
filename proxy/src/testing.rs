//! What unit tests of several modules begin with.

use std::sync::OnceLock;
use std::time::SystemTime;

use outrigger_config::compile::compile;
use outrigger_config::model::{Node, Snapshot};
use outrigger_config::registry::Registry;
use outrigger_config::store::{FileChange, Store};

use crate::listener::{Direction, Downstream};

/// What a sidecar in the namespace `default` gets.
pub(crate) fn compiled(manifests: String) -> Snapshot {
    let mut store = Store::new();
    store.apply(vec![FileChange { path: "a.yaml".into(), text: Some(manifests) }]);
    compile(&Registry::new(store.objects()), &Node::default()).snapshot
}

/// The manifest of a Service with the port 80, a document of its own.
pub(crate) fn service(name: &str) -> String {
    format!("apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: [{{name: http, port: 80}}]}}\n---\n")
}

/// A plaintext connection of which nothing is known but where it comes from and goes to.
pub(crate) fn downstream(direction: Direction) -> Downstream {
    Downstream {
        direction,
        listener: "0.0.0.0_80".into(),
        peer: ([10, 0, 0, 1], 4000).into(),
        destination: ([10, 96, 0, 1], 80).into(),
        source: None,
        accepted_at: SystemTime::UNIX_EPOCH,
        tls: None,
        sni: None,
        service: None,
        peer_workload: OnceLock::new(),
        door: None,
        scope: Default::default(),
        client_text: Default::default(),
    }
}
