//! Handshakes between identities issued here: who is believed, who is refused and with which words.

use std::fs;
use std::time::Duration;

use outrigger_config::model::{CertificatePair, Pem, ServerTls, ServerTlsMode, TlsOrigination, TlsVersion};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
    string::Ia5String,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::TlsAcceptor;

use super::*;

const SHOP: &str = "spiffe://cluster.local/ns/shop/sa/frontend";
const PAY: &str = "spiffe://cluster.local/ns/shop/sa/pay";

struct Authority(Issuer<'static, KeyPair>, String);

impl Authority {
    fn new() -> Authority {
        let key = KeyPair::generate().expect("key");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::OrganizationName, "test mesh");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params.self_signed(&key).expect("root").pem();
        Authority(Issuer::new(params, key), pem)
    }

    /// Certificate and key for the names; validity in days from now.
    fn issue(&self, names: &[&str], days: (i64, i64)) -> (String, String) {
        let key = KeyPair::generate().expect("key");
        let mut params = CertificateParams::default();
        let text = |name: &str| Ia5String::try_from(name).expect("ascii");
        let san = |name: &&str| if name.contains("://") { SanType::URI(text(name)) } else { SanType::DnsName(text(name)) };
        params.subject_alt_names = names.iter().map(san).collect();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = time::OffsetDateTime::now_utc() + time::Duration::days(days.0);
        params.not_after = time::OffsetDateTime::now_utc() + time::Duration::days(days.1);
        (params.signed_by(&key, &self.0).expect("leaf").pem(), key.serialize_pem())
    }

    fn fill(&self, folder: &TempDir, names: &[&str], days: (i64, i64)) {
        let (chain, key) = self.issue(names, days);
        write(folder, "cert-chain.pem", &chain);
        write(folder, "key.pem", &key);
        write(folder, "root-cert.pem", &self.1);
    }

    fn identity(&self, names: &[&str]) -> (TempDir, Identity) {
        let folder = tempfile::tempdir().expect("folder");
        self.fill(&folder, names, (-1, 1));
        let identity = Identity::new(Some(folder.path().to_owned()), &domains());
        assert_eq!(identity.reload(), Ok(Reload::Replaced));
        (folder, identity)
    }
}

fn domains() -> Vec<String> {
    vec!["cluster.local".to_owned()]
}

fn write(folder: &TempDir, name: &str, text: &str) {
    fs::write(folder.path().join(name), text).expect("write");
}

/// A mesh handshake over a pipe, and one message each way. The client's error comes first.
async fn handshake(client: &Identity, server: &Identity, expected: &[&str], alpn: MeshAlpn) -> Result<PeerInfo, String> {
    let (near, far) = duplex(64 * 1024);
    let generation = server.require().map_err(|error| error.to_string())?;
    let offered = alpn.protocols();
    let acceptor = TlsAcceptor::from(generation.server_config(offered.iter().map(Vec::as_slice)));
    let serve = async {
        let mut session = acceptor.accept(far).await.map_err(|error| format!("server: {error}"))?;
        let mut bytes = [0; 4];
        session.read_exact(&mut bytes).await.map_err(|error| format!("server: {error}"))?;
        session.write_all(b"pong").await.map_err(|error| format!("server: {error}"))
    };
    let target = MeshTarget { sni: "outbound_.80_._.pay.shop.svc.cluster.local", expected, alpn };
    let dial = async {
        let (mut session, info) = client::connect(client, near, target).await.map_err(|error| error.to_string())?;
        session.write_all(b"ping").await.map_err(|error| error.to_string())?;
        let mut bytes = [0; 4];
        session.read_exact(&mut bytes).await.map_err(|error| error.to_string())?;
        Ok(info)
    };
    let (dialled, served) = tokio::join!(dial, serve);
    match (dialled, served) {
        (Ok(info), Ok(())) => Ok(info),
        (Err(client), Err(server)) => Err(format!("{client} / {server}")),
        (Err(error), Ok(())) | (Ok(_), Err(error)) => Err(error),
    }
}

/// Configurations of a client and a server that believe each other.
pub(super) fn pair() -> (Arc<rustls::ClientConfig>, Arc<rustls::ServerConfig>) {
    let ca = Authority::new();
    let (_folder, identity) = ca.identity(&[SHOP]);
    let generation = identity.require().expect("loaded");
    (generation.client_config(MeshAlpn::Tcp, &[]), generation.server_config(std::iter::empty()))
}

#[tokio::test]
async fn two_workloads_of_a_mesh_know_each_other() {
    let ca = Authority::new();
    let ((_a, shop), (_b, pay)) = (ca.identity(&[SHOP]), ca.identity(&[PAY]));
    let info = handshake(&shop, &pay, &[PAY], MeshAlpn::Http2).await.expect("handshake");
    assert_eq!(info.identity.as_deref(), Some(PAY));
    assert_eq!(info.local_identity.as_deref(), Some(SHOP));
    assert_eq!((info.version, info.alpn.as_deref()), ("TLSv1.3", Some(b"h2".as_slice())));
    let info = handshake(&shop, &pay, &[], MeshAlpn::Http1).await.expect("any identity of the trust domain");
    assert_eq!(info.alpn.as_deref(), Some(b"http/1.1".as_slice()), "never an istio value");
    let info = handshake(&shop, &pay, &[SHOP, PAY], MeshAlpn::Tcp).await.expect("one of several");
    assert_eq!(info.alpn, None);
}

#[tokio::test]
async fn another_service_account_is_refused_by_the_client_before_a_byte_is_sent() {
    let ca = Authority::new();
    let ((_a, shop), (_b, pay)) = (ca.identity(&[SHOP]), ca.identity(&[PAY]));
    let error = handshake(&shop, &pay, &["spiffe://cluster.local/ns/shop/sa/stock"], MeshAlpn::Http1).await.expect_err("refused");
    assert!(error.starts_with(&format!("TLS_error: the peer's certificate names {PAY}, expected spiffe://")), "{error}");
    assert!(error.contains("server: "), "the server hears of it during the handshake: {error}");
}

#[tokio::test]
async fn another_root_is_refused_by_either_side() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let ((_a, shop), (_b, pay)) = (ours.identity(&[SHOP]), theirs.identity(&[PAY]));
    let error = handshake(&shop, &pay, &[PAY], MeshAlpn::Http1).await.expect_err("refused");
    assert!(error.contains("TLS_error: invalid peer certificate"), "{error}");
    let stranger = tempfile::tempdir().expect("folder");
    theirs.fill(&stranger, &[SHOP], (-1, 1));
    write(&stranger, "root-cert.pem", &ours.1);
    let stranger_identity = Identity::new(Some(stranger.path().to_owned()), &domains());
    stranger_identity.reload().expect("loads");
    let (_c, server) = ours.identity(&[PAY]);
    let error = handshake(&stranger_identity, &server, &[PAY], MeshAlpn::Http1).await.expect_err("the server refuses");
    assert!(error.contains("server: invalid peer certificate"), "{error}");
}

#[tokio::test]
async fn an_identity_of_another_trust_domain_is_refused_unless_it_is_an_alias() {
    let ca = Authority::new();
    let foreign = "spiffe://old.example/ns/shop/sa/frontend";
    let ((_a, client), (_b, server)) = (ca.identity(&[foreign]), ca.identity(&[PAY]));
    let error = handshake(&client, &server, &[PAY], MeshAlpn::Http1).await.expect_err("refused");
    assert!(error.contains("server: ") && error.contains("trust domain cluster.local"), "{error}");
    server.set_trust_domains(&["cluster.local".to_owned(), "old.example".to_owned()]);
    handshake(&client, &server, &[PAY], MeshAlpn::Http1).await.expect("accepted as an alias");
}

#[tokio::test]
async fn a_second_identity_does_not_vouch_for_the_first() {
    let ca = Authority::new();
    let (_client_files, client) = ca.identity(&["spiffe://elsewhere/ns/shop/sa/admin", SHOP]);
    let (_server_files, server) = ca.identity(&[PAY]);
    assert!(handshake(&client, &server, &[PAY], MeshAlpn::Http1).await.is_err());
}

#[tokio::test]
async fn an_alias_of_the_expected_trust_domain_is_the_same_identity() {
    let ca = Authority::new();
    let ((_a, client), (_b, server)) = (ca.identity(&[SHOP]), ca.identity(&["spiffe://old.example/ns/shop/sa/pay"]));
    handshake(&client, &server, &[PAY], MeshAlpn::Http1).await.expect_err("not an alias yet");
    client.set_trust_domains(&["cluster.local".to_owned(), "old.example".to_owned()]);
    handshake(&client, &server, &[PAY], MeshAlpn::Http1).await.expect("an alias");
}

#[tokio::test]
async fn a_certificate_without_a_spiffe_identity_is_refused() {
    let ca = Authority::new();
    let (_b, server) = ca.identity(&[PAY]);
    let (chain, key) = ca.issue(&["client.example"], (-1, 1));
    let origination = Arc::new(TlsOrigination {
        sni: Some("pay.example".to_owned()),
        subject_alt_names: Vec::new(),
        insecure_skip_verify: false,
        ca: Some(pem("root", &ca.1)),
        client: Some(CertificatePair { chain: pem("chain", &chain), key: pem("key", &key) }),
    });
    let error = originate_to(&server, &origination).await.expect_err("refused");
    assert!(error.contains("client.example"), "{error}");
    let bare = Arc::new(TlsOrigination { client: None, ..(*origination).clone() });
    let error = originate_to(&server, &bare).await.expect_err("no client certificate");
    assert!(error.contains("NoCertificatesPresented") || error.contains("no certificates"), "{error}");
}

fn pem(origin: &str, text: &str) -> Pem {
    Pem { origin: origin.to_owned(), bytes: Some(text.as_bytes().into()) }
}

async fn originate_to(server: &Identity, settings: &Arc<TlsOrigination>) -> Result<PeerInfo, String> {
    let config = server.require().expect("identity").server_config(std::iter::empty());
    exchange(config, settings, "dialled.example").await
}

/// TLS origination against a server configuration; the server's error goes first, since it is the reason.
async fn exchange(config: Arc<rustls::ServerConfig>, settings: &Arc<TlsOrigination>, dialled: &str) -> Result<PeerInfo, String> {
    let (near, far): (DuplexStream, DuplexStream) = duplex(64 * 1024);
    let client = Identity::new(None, &domains());
    let serve = async {
        let mut session = TlsAcceptor::from(config).accept(far).await.map_err(|error| error.to_string())?;
        session.write_all(b"pong").await.map_err(|error| error.to_string())
    };
    let dial = async {
        let (mut session, info) = client::originate(&client, near, settings, dialled, &[]).await.map_err(|error| error.to_string())?;
        let mut bytes = [0; 4];
        session.read_exact(&mut bytes).await.map(|_| info).map_err(|error| error.to_string())
    };
    let (served, dialled) = tokio::join!(serve, dial);
    match (served, dialled) {
        (Err(server), Err(client)) => Err(format!("{server} / {client}")),
        (Err(error), Ok(_)) => Err(error),
        (Ok(()), result) => result,
    }
}

fn gateway_server(ca: &Authority, names: &[&str], mode: ServerTlsMode) -> Arc<ServerTls> {
    let (chain, key) = ca.issue(names, (-1, 1));
    Arc::new(ServerTls {
        mode,
        certificates: vec![CertificatePair { chain: pem("chain", &chain), key: pem("key", &key) }],
        client_ca: (mode != ServerTlsMode::Simple).then(|| pem("ca", &ca.1)),
        subject_alt_names: Vec::new(),
        min_version: TlsVersion::V1_2,
        max_version: TlsVersion::V1_3,
        alpn: Vec::new(),
    })
}

fn simple(ca: &Authority) -> TlsOrigination {
    TlsOrigination { sni: None, subject_alt_names: Vec::new(), insecure_skip_verify: false, ca: Some(pem("ca", &ca.1)), client: None }
}

#[tokio::test]
async fn origination_checks_the_dialled_name_the_listed_names_or_the_chain_alone() {
    let (ca, other) = (Authority::new(), Authority::new());
    let gateway = Identity::new(None, &domains());
    let config = gateway.gateway_config(&gateway_server(&ca, &["*.shop.example"], ServerTlsMode::Simple), &[]).await.expect("config");
    let named = |names: &[&str]| TlsOrigination { subject_alt_names: names.iter().map(|name| (*name).to_owned()).collect(), ..simple(&ca) };
    let sni = TlsOrigination { sni: Some("elsewhere.example".to_owned()), ..simple(&ca) };
    let careless = TlsOrigination { insecure_skip_verify: true, ..simple(&other) };
    let cases = [
        (simple(&ca), "a.shop.example", true),
        (simple(&ca), "a.pay.example", false),
        (named(&["b.shop.example"]), "whatever.example", true),
        (named(&["b.pay.example"]), "a.shop.example", false),
        (sni, "a.pay.example", true),
        (simple(&other), "a.shop.example", false),
        (careless, "a.pay.example", true),
    ];
    for (settings, dialled, accepted) in cases {
        let result = exchange(Arc::clone(&config), &Arc::new(settings.clone()), dialled).await;
        assert_eq!(result.is_ok(), accepted, "{settings:?} dialling {dialled}: {result:?}");
    }
}

#[tokio::test]
async fn gateway_modes_ask_for_client_certificates_as_they_say() {
    let (ca, other) = (Authority::new(), Authority::new());
    let gateway = Identity::new(None, &domains());
    let with_client = |issuer: &Authority| {
        let (chain, key) = issuer.issue(&["client.example"], (-1, 1));
        TlsOrigination { client: Some(CertificatePair { chain: pem("chain", &chain), key: pem("key", &key) }), ..simple(&ca) }
    };
    let cases = [
        (ServerTlsMode::Simple, [true, true, true]),
        (ServerTlsMode::Mutual, [false, true, false]),
        (ServerTlsMode::OptionalMutual, [true, true, false]),
    ];
    for (mode, expected) in cases {
        let config = gateway.gateway_config(&gateway_server(&ca, &["shop.example"], mode), &[]).await.expect("config");
        for (settings, accepted) in [simple(&ca), with_client(&ca), with_client(&other)].into_iter().zip(expected) {
            let result = exchange(Arc::clone(&config), &Arc::new(settings.clone()), "shop.example").await;
            assert_eq!(result.is_ok(), accepted, "{mode:?} with {:?}: {result:?}", settings.client);
        }
    }
}

#[tokio::test]
async fn a_gateway_of_the_mesh_admits_only_the_listed_identities() {
    let ca = Authority::new();
    let (_files, gateway) = ca.identity(&[PAY]);
    let mut settings = (*gateway_server(&ca, &["pay.example"], ServerTlsMode::IstioMutual)).clone();
    settings.subject_alt_names = vec![SHOP.to_owned()];
    let config = gateway.gateway_config(&Arc::new(settings), &[]).await.expect("config");
    for (client, accepted) in [(SHOP, true), ("spiffe://cluster.local/ns/shop/sa/other", false)] {
        let (chain, key) = ca.issue(&[client], (-1, 1));
        let client_pair = CertificatePair { chain: pem("chain", &chain), key: pem("key", &key) };
        let origination = TlsOrigination { client: Some(client_pair), subject_alt_names: vec![PAY.to_owned()], ..simple(&ca) };
        let result = exchange(Arc::clone(&config), &Arc::new(origination), "pay.example").await;
        assert_eq!(result.is_ok(), accepted, "{client}: {result:?}");
    }
}

#[tokio::test]
async fn a_gateway_negotiates_a_protocol_only_when_one_is_common() {
    let gateway = Identity::new(None, &domains());
    let mut settings = (*gateway_server(&Authority::new(), &["a.example"], ServerTlsMode::Simple)).clone();
    settings.alpn = vec!["h2".to_owned(), "http/1.1".to_owned()];
    let settings = Arc::new(settings);
    for (offered, negotiable) in [(vec!["http/1.1", "h3"], 2), (vec!["postgresql"], 0), (vec![], 0)] {
        let offered: Vec<_> = offered.into_iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let config = gateway.gateway_config(&settings, &offered).await.expect("config");
        assert_eq!(config.alpn_protocols.len(), negotiable, "{offered:?}");
    }
}

#[tokio::test]
async fn a_gateway_server_without_its_secret_says_so() {
    let gateway = Identity::new(None, &domains());
    let mut settings = (*gateway_server(&Authority::new(), &["a.example"], ServerTlsMode::Simple)).clone();
    settings.certificates.clear();
    let error = gateway.gateway_config(&Arc::new(settings.clone()), &[]).await.expect_err("no certificate");
    assert!(error.to_string().contains("credentialName"), "{error}");
    settings.mode = ServerTlsMode::IstioMutual;
    let error = gateway.gateway_config(&Arc::new(settings), &[]).await.expect_err("no identity");
    assert!(error.to_string().contains("no workload certificate"), "{error}");
}

#[test]
fn unusable_folders_are_named_and_never_replace_a_usable_one() {
    let ca = Authority::new();
    let (folder, identity) = ca.identity(&[SHOP]);
    let good = identity.status();
    type Spoil<'a> = Box<dyn Fn(&TempDir) + 'a>;
    let spoilers: [(&str, Spoil<'_>); 7] = [
        ("key.pem: file not found", Box::new(|folder| fs::remove_file(folder.path().join("key.pem")).expect("remove"))),
        ("cert-chain.pem: no CERTIFICATE block", Box::new(|folder| write(folder, "cert-chain.pem", "nonsense"))),
        ("key.pem: no usable private key", Box::new(|folder| write(folder, "key.pem", "nonsense"))),
        ("key.pem: the private key does not belong", Box::new(|folder| write(folder, "key.pem", &ca.issue(&[SHOP], (-1, 1)).1))),
        ("cert-chain.pem: the certificate expired at", Box::new(|folder| ca.fill(folder, &[SHOP], (-3, -1)))),
        ("cert-chain.pem: the certificate is not valid before", Box::new(|folder| ca.fill(folder, &[SHOP], (1, 3)))),
        ("cert-chain.pem: the certificate has no URI SAN", Box::new(|folder| ca.fill(folder, &["shop.example"], (-1, 1)))),
    ];
    for (expected, spoil) in &spoilers {
        ca.fill(&folder, &[SHOP], (-1, 1));
        spoil(&folder);
        let error = identity.reload().expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
        let status = identity.status();
        assert_eq!((status.serial, status.generation), (good.serial.clone(), good.generation));
        assert_eq!(status.problem.as_deref(), Some(error.as_str()));
    }
    ca.fill(&folder, &[SHOP], (-1, 1));
    assert_eq!(identity.reload(), Ok(Reload::Replaced));
    assert_eq!(identity.reload(), Ok(Reload::Unchanged));
    assert_eq!((identity.status().generation, identity.status().problem), (2, None));
}

#[test]
fn readiness_follows_the_certificate() {
    let now = SystemTime::now();
    assert!(Identity::new(None, &domains()).status().is_ready(now), "mesh mTLS is not wanted");
    let empty = tempfile::tempdir().expect("folder");
    let waiting = Identity::new(Some(empty.path().to_owned()), &domains());
    assert!(!waiting.status().is_ready(now), "wanted and not there yet");
    Authority::new().fill(&empty, &[SHOP], (-1, 1));
    waiting.reload().expect("loads");
    let status = waiting.status();
    assert!(status.is_ready(now));
    assert!(!status.is_ready(now + Duration::from_secs(2 * 24 * 3600)), "expired");
    assert_eq!(status.spiffe_id.as_deref(), Some(SHOP));
}

#[cfg(unix)]
#[test]
fn an_optional_folder_asks_for_nothing_until_something_is_in_it() {
    let now = SystemTime::now();
    let folder = tempfile::tempdir().expect("folder");
    let identity = Identity::new(Some(folder.path().to_owned()), &domains()).optional();
    assert_eq!(identity.reload(), Ok(Reload::Unchanged));
    assert!(identity.status().is_ready(now) && identity.status().problem.is_none(), "nobody issues certificates here");
    write(&folder, "key.pem", "half of it");
    assert!(identity.reload().is_err() && !identity.status().is_ready(now), "from now on they are waited for");
    Authority::new().fill(&folder, &[SHOP], (-1, 1));
    assert_eq!(identity.reload(), Ok(Reload::Replaced));
    assert!(identity.status().is_ready(now));
    for name in ["cert-chain.pem", "key.pem", "root-cert.pem"] {
        fs::remove_file(folder.path().join(name)).expect("removed");
    }
    assert!(identity.reload().is_err(), "what was there is missed");
}

#[test]
fn a_swapped_symlink_is_a_new_generation() {
    let ca = Authority::new();
    let parent = tempfile::tempdir().expect("folder");
    let (one, two) = (tempfile::tempdir_in(&parent).expect("one"), tempfile::tempdir_in(&parent).expect("two"));
    ca.fill(&one, &[SHOP], (-1, 1));
    ca.fill(&two, &[SHOP], (-1, 2));
    let link = parent.path().join("..data");
    std::os::unix::fs::symlink(one.path(), &link).expect("link");
    let identity = Identity::new(Some(link.clone()), &domains());
    identity.reload().expect("one");
    let first = identity.status();
    let fresh = parent.path().join("fresh");
    std::os::unix::fs::symlink(two.path(), &fresh).expect("link");
    fs::rename(&fresh, &link).expect("swap");
    assert_eq!(identity.reload(), Ok(Reload::Replaced));
    assert_ne!(identity.status().serial, first.serial);
    assert!(identity.status().expires_at > first.expires_at);
}

#[tokio::test]
async fn a_workload_without_certificates_gives_the_reason_in_the_failure() {
    let empty = tempfile::tempdir().expect("folder");
    let identity = Identity::new(Some(empty.path().to_owned()), &domains());
    identity.reload().expect_err("nothing there");
    let (near, _far) = duplex(1024);
    let target = MeshTarget { sni: "a", expected: &[], alpn: MeshAlpn::Http1 };
    let error = client::connect(&identity, near, target).await.expect_err("no certificate").to_string();
    assert!(error.contains("cert-chain.pem: file not found"), "{error}");
}

#[test]
fn a_name_that_cannot_be_sent_is_left_out_of_the_client_hello() {
    let ca = Authority::new();
    let (_folder, identity) = ca.identity(&[SHOP]);
    let hello = |sni: &str| {
        let config = identity.require().expect("identity").client_config(MeshAlpn::Http1, &[]);
        let (config, name) = client::server_name(config, sni).expect("name");
        let mut bytes = Vec::new();
        rustls::ClientConnection::new(config, name).expect("client").write_tls(&mut bytes).expect("hello");
        match crate::listener::tls_inspector::inspect(&bytes) {
            crate::listener::tls_inspector::TlsInspection::Hello(hello) => hello.sni,
            other => panic!("{other:?}"),
        }
    };
    let mesh = "outbound_.8080_.v1_.reviews.prod.svc.cluster.local";
    assert_eq!(hello(mesh).as_deref(), Some(mesh));
    assert_eq!(hello("outbound_.443_._.*.example.com"), None);
}
