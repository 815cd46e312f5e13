//! What a container finds around it: user, name, environment, volumes, ports.

use crate::bed::{client, end, eventually, out, ready};

const POD: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: blue, "motd.txt": "hello\n"}
---
apiVersion: v1
kind: Secret
metadata: {name: credentials}
stringData: {password: s3cret}
---
apiVersion: v1
kind: Pod
metadata: {name: app, labels: {app: app, tier: "1"}}
spec:
  serviceAccountName: worker
  initContainers:
  - {name: first, image: i, command: [sh, -c, "echo one >> /work/steps"], volumeMounts: [{name: work, mountPath: /work}]}
  - {name: second, image: i, command: [sh, -c, "echo two >> /work/steps"], volumeMounts: [{name: work, mountPath: /work}]}
  containers:
  - name: app
    image: example.com/app
    command: [sleep, infinity]
    env:
    - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    - {name: COLOUR, valueFrom: {configMapKeyRef: {name: settings, key: colour}}}
    - {name: PASSWORD, valueFrom: {secretKeyRef: {name: credentials, key: password}}}
    - {name: GREETING, value: "$(POD) is $(COLOUR), not $$(POD)"}
    volumeMounts:
    - {name: settings, mountPath: /etc/settings}
    - {name: credentials, mountPath: /var/run/secrets/credentials, readOnly: true}
    - {name: info, mountPath: /etc/podinfo}
    - {name: work, mountPath: /work}
  volumes:
  - {name: settings, configMap: {name: settings}}
  - {name: credentials, secret: {secretName: credentials}}
  - {name: info, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}
  - {name: work, emptyDir: {}}
---
"#;

#[tokio::test]
async fn environment_and_volumes_are_as_in_kubernetes() {
    let bed = ready("volumes", POD).await;
    let ip = bed.pod("app").unwrap().addresses[0].to_string();
    let shell = |text: &'static str| {
        let bed = &bed;
        async move { out(bed, "app", &["sh", "-c", text]).await }
    };
    assert_eq!(shell("echo $IP").await, ip);
    assert_eq!(shell("echo \"$GREETING\"").await, "app is blue, not $(POD)");
    assert_eq!(shell("cat /etc/settings/motd.txt").await, "hello");
    assert_eq!(shell("echo $PASSWORD; cat /var/run/secrets/credentials/password").await, "s3cret\ns3cret");
    assert_eq!(shell("cat /etc/podinfo/labels").await, "app=\"app\"\ntier=\"1\"");
    assert_eq!(shell("cat /work/steps").await, "one\ntwo", "init containers run in order");
    assert_eq!(shell("id -u; hostname").await, "1000\napp");
    assert_ne!(shell("touch /var/run/secrets/credentials/x 2>/dev/null; echo $?").await, "0", "read only");
    end(bed).await;
}

#[tokio::test]
async fn a_changed_config_map_reaches_the_running_pod() {
    let bed = ready("config", POD).await;
    bed.apply("manifests.yaml", &POD.replace("hello", "goodbye")).await.unwrap();
    let read = || out(&bed, "app", &["cat", "/etc/settings/motd.txt"]);
    eventually(read, |text| text == "goodbye").await;
    end(bed).await;
}

#[tokio::test]
async fn what_a_container_writes_stays_in_it() {
    let bed = ready("files", &client()).await;
    let mark = format!("/tmp/{}", bed.name());
    out(&bed, "client", &["touch", &mark]).await;
    assert_eq!(out(&bed, "client", &["ls", &mark]).await, mark, "a later command sees it");
    assert!(!std::path::Path::new(&mark).exists(), "the host does not");
    assert_eq!(out(&bed, "client", &["sh", "-c", "ls /run/outrigger 2>/dev/null | wc -l"]).await, "0");
    end(bed).await;
}

#[tokio::test]
async fn an_application_without_root_may_bind_a_low_port_and_has_no_capabilities() {
    let web = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  \
               - {name: app, image: example.com/web, ports: [{containerPort: 80}]}\n";
    let bed = ready("low-port", &(client() + web)).await;
    let address = bed.pod("web").unwrap().addresses[0];
    assert_eq!(out(&bed, "client", &["curl", "-s", "-m", "5", &format!("http://{address}/")]).await, "web:v1");
    let capabilities = out(&bed, "web", &["sh", "-c", "grep CapEff /proc/self/status"]).await;
    assert!(capabilities.ends_with("0000000000000000"), "{capabilities}");
    end(bed).await;
}
