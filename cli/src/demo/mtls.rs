//! Part 3: identities seen, plaintext accepted and refused, and a wrong identity refused by the client.

use anyhow::Result;
use outrigger_loadtests::Plan;

use super::bed::Bed;
use super::report::{Section, Table};

const CALLS: u64 = 20;

/// What the servers and the clients of the mesh make of each other's certificates.
pub async fn section(bed: &Bed) -> Result<Section> {
    let mut section = Section::new("mTLS between gateway, sidecars and the world outside");
    identities(bed, &mut section).await?;
    plaintext(bed, &mut section).await?;
    wrong_identity(bed, &mut section).await?;
    Ok(section)
}

/// The peers as v1's sidecars saw them. All of them together: which pod of v1 a call goes to is chance, and one of them may
/// well get none.
async fn identities(bed: &Bed, section: &mut Section) -> Result<()> {
    let marks = bed.mark_logs(&bed.pods_of("shopfront-v1"))?;
    let inside = bed.load_in_client(&Plan::new("http://shopfront/identity", CALLS)).await?;
    let outside = outrigger_loadtests::run(bed.gateway_plan("/identity", CALLS)?).await?;
    let lines = bed.calls_since(&marks, "/identity", inside.version("v1") + outside.version("v1")).await?;
    let mut seen: Vec<(&str, &str)> = lines.iter().map(|line| (line.peer.as_str(), line.tls.as_str())).collect();
    seen.sort_unstable();
    seen.dedup();
    let mut table = Table::new(&["peer seen by v1's sidecars", "TLS"]);
    seen.iter().for_each(|(peer, tls)| table.row(vec![(*peer).to_owned(), (*tls).to_owned()]));
    section.tables.push(table);
    let client = seen.iter().any(|(peer, tls)| *peer == "spiffe://cluster.local/ns/shop/sa/client" && *tls == "TLSv1.3");
    section.check("the client's identity arrives over TLS 1.3", "yes", yes(client), client);
    let all = seen.len() == 2 && seen.iter().all(|(_, tls)| *tls == "TLSv1.3");
    section.check("the gateway's as well, and nobody came in plaintext", "2 peers", format!("{} peers", seen.len()), all);
    Ok(())
}

/// A pod outside the mesh before and after STRICT.
async fn plaintext(bed: &Bed, section: &mut Section) -> Result<()> {
    let address = bed.pod_address("shopfront-v1")?;
    let plan = Plan::new(format!("http://{address}:8080/"), CALLS);
    let permissive = bed.load_in_outsider(&plan).await?;
    section.check_eq("plaintext from outside under PERMISSIVE: answered", CALLS, permissive.status(200));
    bed.write("strict.yaml", include_str!("strict.yaml")).await?;
    let strict = bed.load_in_outsider(&plan).await?;
    section.check_eq("plaintext from outside under STRICT: refused", CALLS, strict.error_count());
    let inside = bed.load_in_client(&Plan::new("http://shopfront/", CALLS)).await?;
    section.check_eq("calls inside the mesh under STRICT: answered", CALLS, inside.status(200));
    bed.remove("strict.yaml").await
}

/// v3's only pod shows a valid certificate of another service account. The caller is v4's pod, whose sidecar has no
/// connection to v3 yet: a handshake is judged once, and connections made before it live on.
async fn wrong_identity(bed: &Bed, section: &mut Section) -> Result<()> {
    let (caller, plan) = (bed.pod_of("shopfront-v4")?, Plan::new("http://shopfront/", 200));
    bed.show_other_identity("shopfront-v3", "impostor").await?;
    let report = bed.load_in(&caller, &plan).await?;
    section.check_eq("answers from v3 with the certificate of another service account", 0, report.version("v3"));
    let refused = report.status(503);
    section.check("refused by the client's sidecar: the share of v3", "30 of 200", format!("{refused} of 200"), refused.abs_diff(30) <= 2);
    bed.restore_identity("shopfront-v3").await?;
    let report = bed.load_in(&caller, &plan).await?;
    section.check_eq("failed requests once the right certificate is back", 0, report.failed_count());
    Ok(())
}

fn yes(ok: bool) -> &'static str {
    if ok { "yes" } else { "no" }
}
