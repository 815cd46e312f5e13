//! The one rule for bad configuration.

use std::sync::Arc;

use super::{FileChange, Resting, Store};
use crate::compile::compile;
use crate::keep::Keeper;
use crate::model::Node;
use crate::object::{Body, KeptDocuments, Object};
use crate::parse::parse;
use crate::registry::Registry;
use crate::validate::references;

fn config_map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{k: {value}}}\n---\n")
}

fn write(path: &str, text: impl Into<String>) -> FileChange {
    FileChange { path: path.into(), text: Some(text.into()) }
}

fn remove(path: &str) -> FileChange {
    FileChange { path: path.into(), text: None }
}

/// `name=value` of every ConfigMap in force.
fn in_force(store: &Store) -> Vec<String> {
    store.objects().map(|object| format!("{}={}", object.id.name, object.to_json()["data"]["k"].as_str().unwrap_or_default())).collect()
}

/// What the diagnostics say happens now.
fn consequences(store: &Store) -> Vec<&'static str> {
    store.diagnostics().iter().map(|diagnostic| diagnostic.consequence.as_str()).collect()
}

#[test]
fn at_first_load_an_invalid_object_is_left_out_and_named() {
    let mut store = Store::new();
    let said = store.apply(vec![write("a.yaml", config_map("a", "x") + &config_map("b", "1"))]);
    assert_eq!(in_force(&store), ["a=x"]);
    assert_eq!(said.len(), 1);
    assert_eq!(said[0].object.as_ref().map(ToString::to_string).as_deref(), Some("ConfigMap default/b"));
    assert_eq!(consequences(&store), ["the object is left out"]);
}

#[test]
fn on_reload_the_last_good_version_stays_until_mended_or_deleted() {
    let mut store = Store::new();
    store.apply(vec![write("a.yaml", config_map("a", "x"))]);
    store.apply(vec![write("a.yaml", config_map("a", "1"))]);
    assert_eq!(in_force(&store), ["a=x"]);
    assert_eq!(consequences(&store), ["its last good version stays in force"]);
    store.apply(vec![write("b.yaml", config_map("b", "w"))]);
    assert_eq!(in_force(&store), ["a=x", "b=w"], "other changes do not forget it");
    store.apply(vec![write("a.yaml", config_map("a", "z"))]);
    assert_eq!(in_force(&store), ["a=z", "b=w"]);
    assert!(store.diagnostics().is_empty());
    store.apply(vec![write("a.yaml", config_map("a", "1"))]);
    store.apply(vec![write("a.yaml", "")]);
    assert_eq!(in_force(&store), ["b=w"]);
}

#[test]
fn a_syntax_error_freezes_what_its_file_held_and_nothing_else() {
    let mut store = Store::new();
    store.apply(vec![write("a.yaml", config_map("a", "x") + &config_map("b", "x")), write("c.yaml", config_map("c", "x"))]);
    let said = store.apply(vec![write("a.yaml", config_map("a", "new") + "kind: [\n"), write("c.yaml", config_map("c", "new"))]);
    assert_eq!(in_force(&store), ["a=x", "b=x", "c=new"]);
    assert_eq!(said.len(), 1);
    assert_eq!(consequences(&store), ["what this file held stays in force"]);
    store.apply(vec![write("a.yaml", config_map("a", "new"))]);
    assert_eq!(in_force(&store), ["a=new", "c=new"]);
    assert!(store.diagnostics().is_empty());
}

#[test]
fn at_first_load_a_syntax_error_spoils_only_its_document() {
    let mut store = Store::new();
    store.apply(vec![write("a.yaml", config_map("a", "x") + "kind: [\n---\n" + &config_map("b", "x"))]);
    assert_eq!(in_force(&store), ["a=x", "b=x"]);
    assert_eq!(consequences(&store), ["this document is left out"]);
}

#[test]
fn removing_a_file_removes_its_objects_even_frozen_ones() {
    let mut store = Store::new();
    store.apply(vec![write("a.yaml", config_map("a", "x"))]);
    store.apply(vec![write("a.yaml", "kind: [")]);
    assert_eq!(in_force(&store), ["a=x"]);
    store.apply(vec![remove("a.yaml")]);
    assert!(in_force(&store).is_empty() && store.diagnostics().is_empty());
}

#[test]
fn of_a_file_that_a_batch_names_twice_the_last_word_counts() {
    for known in [false, true] {
        let mut store = Store::new();
        if known {
            store.apply(vec![write("z.yaml", config_map("z", "x"))]);
        }
        let others = store.objects().len();
        store.apply(vec![write("a.yaml", config_map("a", "x")), remove("a.yaml")]);
        assert_eq!(store.objects().len(), others, "others known: {known}");
        store.apply(vec![write("b.yaml", config_map("b", "x")), write("b.yaml", "kind: [")]);
        assert!(in_force(&store).contains(&"b=x".to_owned()), "others known: {known}");
        assert_eq!(consequences(&store), ["what this file held stays in force"]);
        store.apply(vec![remove("c.yaml"), write("c.yaml", config_map("c", "x"))]);
        assert!(in_force(&store).contains(&"c=x".to_owned()));
    }
}

#[test]
fn an_object_may_move_between_files_and_keeps_its_last_good_version_on_the_way() {
    let mut store = Store::new();
    store.apply(vec![write("b.yaml", config_map("a", "x"))]);
    store.apply(vec![write("a.yaml", config_map("a", "w")), remove("b.yaml")]);
    assert_eq!(in_force(&store), ["a=w"]);
    store.apply(vec![remove("a.yaml"), write("c.yaml", config_map("a", "1"))]);
    assert_eq!(in_force(&store), ["a=w"]);
    assert_eq!(consequences(&store), ["its last good version stays in force"]);
}

#[test]
fn of_an_object_in_two_files_the_last_file_counts_and_both_are_named() {
    let mut store = Store::new();
    store.apply(vec![write("b.yaml", config_map("a", "second")), write("a.yaml", config_map("a", "first"))]);
    assert_eq!(in_force(&store), ["a=second"]);
    assert_eq!(store.diagnostics().len(), 1);
    assert_eq!(
        store.diagnostics()[0].to_string(),
        "a.yaml:3:18  Warning  IST0133  ConfigMap default/a  metadata.name: also written in b.yaml:1, which counts"
    );
    store.apply(vec![remove("b.yaml")]);
    assert_eq!(in_force(&store), ["a=first"]);
}

#[test]
fn unchanged_objects_stay_the_same_in_memory() {
    let mut store = Store::new();
    store.apply(vec![write("a.yaml", config_map("a", "x") + &config_map("b", "x"))]);
    let before: Vec<Arc<Object>> = store.objects().cloned().collect();
    store.apply(vec![write("a.yaml", config_map("a", "x") + &config_map("b", "w"))]);
    let same: Vec<bool> = store.objects().zip(&before).map(|(now, before)| Arc::ptr_eq(now, before)).collect();
    assert_eq!(same, [true, false]);
}

#[test]
fn an_object_published_by_a_runner_stands_in_place_of_the_written_one_without_complaint() {
    let published = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, annotations: {outrigger.dev/published-by: x}}\ndata: {k: '2'}\n";
    for [written_at, published_at] in [["a.yaml", "b.yaml"], ["b.yaml", "a.yaml"]] {
        let mut store = Store::new();
        store.apply(vec![write(written_at, config_map("a", "'1'")), write(published_at, published)]);
        assert_eq!(in_force(&store), ["a=2"]);
        assert_eq!(consequences(&store), [""; 0]);
    }
}

const MESH: &str = "apiVersion: v1
kind: Service
metadata: {name: a, namespace: shop}
spec: {clusterIP: 10.0.0.1, selector: {app: a}, ports: [{port: 80, targetPort: web, name: http}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: a, namespace: shop, labels: {kubernetes.io/service-name: a}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints:
- {addresses: [10.1.0.1], targetRef: {kind: Pod, name: a-1, namespace: shop}}
- {addresses: [10.1.0.2], targetRef: {kind: Pod, name: a-2, namespace: shop}}
---
apiVersion: v1
kind: Pod
metadata: {name: a-1, namespace: shop, labels: {app: a, version: v1}, annotations: {note: text}}
spec: {serviceAccountName: acc, nodeName: n1, containers: [{name: c, image: i, ports: [{name: web, containerPort: 8080}]}]}
status: {podIP: 10.1.0.1, conditions: [{type: Initialized, status: 'True'}, {type: Ready, status: 'True'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: a-2, namespace: shop, labels: {app: a, version: v2, security.istio.io/tlsMode: istio}}
spec: {serviceAccountName: acc, containers: [{name: c, image: i, ports: [{name: web, containerPort: 8080}]}]}
status: {podIP: 10.1.0.2}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: b, namespace: shop}
spec: {selector: {matchLabels: {app: b}}, template: {metadata: {labels: {app: b}}, spec: {containers: [{name: c, image: i}]}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: a, namespace: shop}
spec: {host: a, subsets: [{name: v1, labels: {version: v1}}, {name: v9, labels: {version: v9}}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: 'enableAutoMtls: false'}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: other, namespace: shop}
data: {large: text}
";

#[test]
fn what_a_proxy_keeps_compiles_and_is_judged_as_the_whole_does() {
    let result = |mut store: Store, pod: &str| {
        store.apply(vec![write("mesh.yaml", MESH)]);
        let registry = Registry::new(store.objects());
        let node = Node { name: pod.to_owned(), ..sidecar() };
        let compiled = compile(&registry, &node);
        let model = serde_json::to_value(&compiled.snapshot).expect("serialises");
        (model, references::check(&registry), compiled.diagnostics)
    };
    for pod in ["a-1", "elsewhere"] {
        let keeper = Keeper { namespace: "shop".to_owned(), pod: pod.to_owned() };
        let (whole, kept) = (result(Store::new(), pod), result(Store::keeping(keeper), pod));
        assert!(!whole.1.is_empty(), "there is something to judge");
        assert_eq!(whole, kept, "{pod}");
    }
}

#[test]
fn of_other_pods_nothing_is_kept_that_a_proxy_never_asks_for() {
    let mut store = Store::keeping(Keeper { namespace: "shop".to_owned(), pod: "a-1".to_owned() });
    store.apply(vec![write("mesh.yaml", MESH)]);
    let containers = |name: &str| {
        let mut pods = store.objects().filter_map(|object| match &object.body {
            Body::Pod(pod) if *object.id.name == *name => Some((pod.spec.containers.len(), object.source.text.is_empty())),
            _ => None,
        });
        pods.next()
    };
    assert_eq!(containers("a-1"), Some((1, false)));
    assert_eq!(containers("a-2"), Some((0, true)));
}

fn sidecar() -> Node {
    Node {
        namespace: "shop".to_owned(),
        service_account: "acc".to_owned(),
        ip_addresses: vec![std::net::Ipv4Addr::new(10, 1, 0, 1).into()],
        labels: [("app".to_owned(), "a".to_owned())].into(),
        workload_name: "a".to_owned(),
        ..Node::default()
    }
}

#[test]
fn rest_between_changes_changes_nothing() {
    let changes = || {
        [
            vec![write("a.yaml", config_map("a", "x") + &config_map("b", "y")), write("b.yaml", config_map("c", "z"))],
            vec![write("a.yaml", config_map("a", "1") + &config_map("b", "w"))],
            vec![write("b.yaml", config_map("c", "z") + "kind: [")],
            vec![write("c.yaml", config_map("b", "later"))],
            vec![remove("b.yaml"), write("d.yaml", config_map("c", "moved"))],
            vec![write("a.yaml", config_map("a", "mended"))],
        ]
    };
    let mut awake = Store::new();
    let mut resting = Resting::default();
    for change in changes() {
        awake.apply(change.clone());
        let woken = resting.apply(change).expect("unpacked");
        assert_eq!(in_force(&woken), in_force(&awake));
        assert_eq!(woken.diagnostics(), awake.diagnostics());
        resting = woken.rest();
    }
}

#[test]
fn a_kept_policy_outlasts_changes_beside_an_object_that_is_written_twice() {
    let policy = |mode: &str| {
        format!("apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: p}}\nspec: {{mtls: {{mode: {mode}}}}}\n")
    };
    // Alike to the line: the store holds the same object in both places.
    let map = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"k":"x"}}"#;
    let changes = [
        vec![write("a.json", map.repeat(2)), write("p.yaml", policy("STRICT"))],
        vec![write("p.yaml", policy("1"))],
        vec![write("b.yaml", config_map("b", "y"))],
        vec![write("b.yaml", config_map("b", "z"))],
    ];
    let mut resting = Resting::default();
    for (number, change) in changes.into_iter().enumerate() {
        let store = resting.apply(change).expect("unpacked");
        let policies = store.objects().filter(|object| object.id.kind.is_policy()).count();
        assert_eq!(policies, 1, "after change {number}");
        resting = store.rest();
    }
}

#[test]
fn a_panic_at_reading_a_file_freezes_that_file_alone() {
    let mut store = Store::new();
    store.apply(vec![write("a.yaml", config_map("a", "x")), write("b.yaml", config_map("b", "x"))]);
    let changes = vec![write("a.yaml", "a mistake of ours"), write("b.yaml", config_map("b", "w")), write("c.yaml", "a mistake of ours")];
    let said = store.apply_read_by(changes, |path, text| {
        assert!(!text.contains("mistake"), "a panic of a test");
        parse(path, text)
    });
    assert_eq!(in_force(&store), ["a=x", "b=w"]);
    let files: Vec<_> = said.iter().map(|diagnostic| (diagnostic.file.to_str(), diagnostic.blocks_strict)).collect();
    assert_eq!(files, [(Some("a.yaml"), true), (Some("c.yaml"), true)]);
    assert_eq!(consequences(&store), ["what this file held stays in force", "this document is left out"]);
    store.apply(vec![write("a.yaml", config_map("a", "mended"))]);
    assert_eq!(in_force(&store), ["a=mended", "b=w"]);
}

#[test]
fn a_store_that_cannot_be_woken_says_so_and_begins_anew() {
    let mut spoilt = Resting::default().anew(vec![write("a.yaml", config_map("a", "x"))]).rest();
    spoilt.packed = Default::default();
    assert!(spoilt.apply(vec![write("b.yaml", config_map("b", "x"))]).is_none());
    assert_eq!(in_force(&spoilt.anew(vec![write("b.yaml", config_map("b", "x"))])), ["b=x"]);
}

/// Rules for hosts that do not exist, all in one document.
fn list_of_dangling_rules(count: usize) -> String {
    let item = |number: usize| {
        let [head, meta] = ["apiVersion: networking.istio.io/v1", "kind: VirtualService"];
        format!(
            "- {head}\n  {meta}\n  metadata: {{name: v{number}}}\n  spec: {{hosts: [h{number}], http: [{{route: [{{destination: {{host: gone}}}}]}}]}}\n"
        )
    };
    "apiVersion: v1\nkind: List\nitems:\n".to_owned() + &(0..count).map(item).collect::<String>()
}

#[test]
fn a_document_is_read_once_for_all_its_diagnostics_and_not_again_after_a_rest() {
    let judge = |store: &Store| {
        let documents = KeptDocuments::new();
        let said = references::check(&Registry::new(store.objects()));
        (said, documents.documents(), documents.positions())
    };
    let first = Resting::default().anew(vec![write("list.yaml", list_of_dangling_rules(10))]);
    let (said, documents, positions) = judge(&first);
    assert!(said.len() >= 10 && said.iter().all(|diagnostic| diagnostic.line > 3), "{said:?}");
    assert_eq!((documents, positions >= 10), (1, true));
    let second = first.rest().apply(vec![write("a.yaml", config_map("a", "x"))]).expect("unpacked");
    assert_eq!(judge(&second), (said, 0, 0));
}
