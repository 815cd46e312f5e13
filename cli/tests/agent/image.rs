//! The image's root file system, laid out as a folder and run by chroot: read-only, by the users and under the names that
//! pods use.
//!
//! Needs the static executable, which `make image-binary` builds; `make image-test` builds it and then requires these tests.
//! Without it they say aloud that they did not run.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::net::{Net, Process, ask, inside};

/// The static executable; `None` where there is none and none was promised.
fn binary() -> Option<PathBuf> {
    let platform = format!("../target/image/{}-unknown-linux-gnu/debug/outrigger", std::env::consts::ARCH);
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join(platform);
    let binary = std::env::var_os("IMAGE_BINARY").map_or(target, PathBuf::from);
    if binary.exists() {
        return Some(binary);
    }
    assert!(std::env::var_os("IMAGE").is_none(), "{} is missing: make image-binary IMAGE_PROFILE=dev", binary.display());
    eprintln!("NOT RUN: the image was not tested, because {} is missing; make image-test builds it", binary.display());
    None
}

/// A root file system.
struct Image {
    folder: tempfile::TempDir,
}

impl Image {
    fn lay_out(binary: &Path) -> Image {
        let folder = tempfile::tempdir().expect("a folder");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/image-rootfs");
        let output = Command::new(script).arg(binary).arg(folder.path().join("root")).output().expect("started");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("set");
        Image { folder }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// Every file with its kind, mode, owner, time, target and content.
    fn listing(&self) -> String {
        let line = "find . -printf '%p %y %m %U %G %T@ %l\\n' | sort; find . -type f -exec sha256sum {} + | sort -k2";
        let output = Command::new("sh").args(["-ec", line]).current_dir(self.root()).output().expect("started");
        String::from_utf8(output.stdout).expect("text")
    }

    /// A command of the image, as `user:group` in a pod's network. What Kubernetes mounts is writable, the rest only if asked for.
    fn command(&self, net: &Net, user: &str, writable: bool, words: &[&str]) -> Command {
        let read_only = if writable { "" } else { "mount -o remount,bind,ro \"$ROOT\"" };
        let script = format!(
            "mount --bind \"$ROOT\" \"$ROOT\"; {read_only}
             mount -t proc proc \"$ROOT/proc\"; mount --rbind /dev \"$ROOT/dev\"; mount -t tmpfs -o mode=777 tmpfs \"$ROOT/etc/istio/proxy\"
             exec chroot --userspec={user} --groups= \"$ROOT\" \"$@\""
        );
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", net.pod)).args(["unshare", "--mount", "sh", "-ec", &script, "image"]).args(words);
        command.env_clear().env("PATH", "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").env("ROOT", self.root());
        command
    }

    fn run(&self, net: &Net, user: &str, writable: bool, words: &[&str]) -> Output {
        self.command(net, user, writable, words).output().expect("started")
    }
}

/// One test, because laying out takes most of the time.
#[test]
fn the_image_is_the_same_each_time_and_runs_as_proxy_with_a_read_only_root_and_as_init_step() {
    let Some(binary) = binary() else { return };
    let image = Image::lay_out(&binary);
    alike(&image, &Image::lay_out(&binary));
    proxy(&image);
    init_step(&image);
}

fn alike(one: &Image, other: &Image) {
    assert!(one.listing().contains("./usr/local/bin/pilot-agent l "), "{}", one.listing());
    assert_eq!(one.listing(), other.listing());
}

/// As the users that pods have, with what hooks call.
fn proxy(image: &Image) {
    fs::write(image.root().join("etc/hosts"), "127.0.0.1 localhost\n10.77.0.1 shop.example\n").expect("written");
    fs::write(image.root().join("etc/istio/config/entry.yaml"), ENTRY).expect("written");
    let net = Net::new();
    // An arbitrary user, as OpenShift chooses one, may do the same.
    for user in ["1337:1337", "1000660000:0"] {
        let mut command =
            image.command(&net, user, false, &["pilot-agent", "proxy", "sidecar", "--concurrency=1", "--domain", "a.svc.cluster.local"]);
        let mut proxy = Process::start(command.env("OUTRIGGER_CONFIG", "/etc/istio/config"));
        let waited = image.run(&net, user, false, &["pilot-agent", "wait", "--timeoutSeconds=20", "--periodMillis=50"]);
        assert!(waited.status.success(), "{}: {waited:?}", proxy.said());
        let admin = SocketAddr::from(([127, 0, 0, 1], 15000));
        let resolved = || inside(&net.pod, || ask("127.0.0.1", admin, "GET /clusters HTTP/1.0\r\n\r\n"));
        proxy.until("a name of /etc/hosts is resolved", || resolved().is_ok_and(|clusters| clusters.contains("10.77.0.1:8080")));
        let version = image.run(&net, user, false, &["pilot-agent", "version"]);
        assert!(String::from_utf8_lossy(&version.stdout).contains("static"), "{version:?}");
        let drained = image.run(&net, user, false, &["pilot-agent", "request", "--debug-port=15020", "POST", "drain"]);
        assert_eq!(String::from_utf8_lossy(&drained.stdout), "OK\n\n", "{drained:?}");
        image.run(&net, user, false, &["pilot-agent", "request", "--debug-port=15020", "POST", "quitquitquit"]);
        assert_eq!(proxy.ended().code(), Some(0), "{}", proxy.said());
    }
}

/// As root, writing rules of every kind.
fn init_step(image: &Image) {
    for flags in
        [&["--force-iptables-binary", "legacy"][..], &["--force-iptables-binary", "nft"], &["--native-nftables"], &["-m", "TPROXY"]]
    {
        let net = Net::new();
        let words =
            [&["pilot-agent", "istio-iptables", "-p", "15001", "-z", "15006", "-u", "1337", "-i", "*", "-b", "*"][..], flags].concat();
        let output = image.run(&net, "0:0", true, &words);
        assert!(
            output.status.success(),
            "{flags:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

const ENTRY: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: shop, namespace: a}
spec:
  hosts: [shop.example]
  ports: [{number: 8080, name: http, protocol: HTTP}]
  resolution: DNS
";
