//! Certificates in pods.

use std::os::unix::fs::MetadataExt;

use outrigger_testbed::ca::Identity;

use crate::bed::{begun, deployment, end};

fn meshed(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{name: default, labels: {{istio-injection: enabled}}}}\n---\n{}",
        deployment(name, 1, "v1")
    )
    .replace("    spec:\n      containers", "    spec:\n      serviceAccountName: payments\n      containers")
}

/// What `openssl` prints about the leaf in a chain.
fn describe(chain: &std::path::Path) -> String {
    let arguments = ["x509", "-noout", "-ext", "subjectAltName,extendedKeyUsage", "-subject", "-in"];
    let output = std::process::Command::new("openssl").args(arguments).arg(chain).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn a_pod_gets_the_certificate_of_its_service_account_and_only_the_proxy_can_read_the_key() {
    let bed = begun("certs", &meshed("front")).await;
    let certs = bed.pod("front").unwrap().folder.join("certs");
    let key = std::fs::metadata(certs.join("key.pem")).unwrap();
    assert_eq!((key.mode() & 0o777, key.uid()), (0o600, 1337));
    let text = describe(&certs.join("cert-chain.pem"));
    assert!(text.contains("URI:spiffe://cluster.local/ns/default/sa/payments"), "{text}");
    assert!(text.contains("X509v3 Subject Alternative Name: critical"), "{text}");
    assert!(text.contains("TLS Web Server Authentication, TLS Web Client Authentication"), "{text}");
    let root = certs.join("root-cert.pem");
    let verify =
        std::process::Command::new("openssl").arg("verify").arg("-CAfile").arg(root).arg(certs.join("cert-chain.pem")).output().unwrap();
    assert!(verify.status.success(), "{}", String::from_utf8_lossy(&verify.stderr));
    end(bed).await;
}

#[tokio::test]
async fn a_test_can_give_a_pod_another_identity() {
    let bed = begun("issue", &meshed("front")).await;
    let other = Identity { trust_domain: "cluster.local".into(), namespace: "default".into(), service_account: "thief".into() };
    bed.issue("front", other, time::Duration::hours(1)).await.unwrap();
    let text = describe(&bed.pod("front").unwrap().folder.join("certs/cert-chain.pem"));
    assert!(text.contains("sa/thief"), "{text}");
    end(bed).await;
}
