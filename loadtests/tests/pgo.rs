//! `scripts/pgo`: in which order it builds and trains, with which flags, and where it stops. Stand-ins take the place of rustc, cargo
//! and llvm-profdata, so that nothing is compiled.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Appends its arguments and flags to `calls`; a build leaves a binary, a training the output and the counts of a proxy.
const CARGO: &str = r#"#!/bin/sh
echo "cargo $* RUSTFLAGS=$RUSTFLAGS" >>"$BED/calls"
case "$1" in
rustc)
    while [ "$1" != --target-dir ]; do shift; done
    mkdir -p "$2/here/release" && echo "built with $RUSTFLAGS" >"$2/here/release/outrigger" ;;
run)
    [ -z "$COUNTED" ] || { mkdir -p "${LLVM_PROFILE_FILE%/*}" && cp "$OUTRIGGER" "${LLVM_PROFILE_FILE%/*}/1.profraw"; }
    echo "$SAID" ;;
esac
"#;

const RUSTC: &str = r#"#!/bin/sh
case "$1" in
-vV) echo "host: here" ;;
--print) echo "$BED/rustlib/lib" ;;
esac
"#;

const PROFDATA: &str = "#!/bin/sh\necho \"profdata $*\" >>\"$BED/calls\"\ncp \"$4\" \"$3\"\n";

struct Bed {
    folder: tempfile::TempDir,
}

impl Bed {
    fn new() -> Bed {
        let bed = Bed { folder: tempfile::tempdir().expect("a folder") };
        fs::create_dir_all(bed.path("rustlib/lib")).expect("created");
        bed.program("bin/cargo", CARGO);
        bed.program("bin/rustc", RUSTC);
        bed.program("rustlib/bin/llvm-profdata", PROFDATA);
        bed
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn program(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("set");
    }

    /// Runs the script; the training says `said`, and its proxies count when `counted`.
    fn run(&self, said: &str, counted: bool) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/pgo");
        let path = format!("{}:/usr/bin:/bin", self.path("bin").display());
        let mut command = Command::new(script);
        command.arg(self.path("out")).env("PATH", path).env("BED", self.folder.path()).env("RUSTFLAGS", "-Cof=mine");
        command.env("SAID", said).env("COUNTED", if counted { "yes" } else { "" });
        command.output().expect("started")
    }

    fn calls(&self) -> Vec<String> {
        fs::read_to_string(self.path("calls")).unwrap_or_default().lines().map(str::to_owned).collect()
    }
}

fn complaint(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_program_is_built_to_count_then_trained_then_built_anew_in_one_piece_with_what_was_counted() {
    let bed = Bed::new();
    let output = bed.run("h1_sat_c64 turn 1 outrigger: cpu_us 14.8", true);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let calls = bed.calls();
    let [counting, training, merging, last] = calls.as_slice() else { panic!("{calls:#?}") };
    assert!(counting.starts_with("cargo rustc --release --target here "), "{counting}");
    assert!(counting.ends_with("RUSTFLAGS=-Cof=mine -Cprofile-generate"), "{counting}");
    assert!(training.contains("outrigger-bench -- run --only h1_sat_c64,") && training.ends_with("RUSTFLAGS=-Cof=mine"), "{training}");
    assert!(merging.starts_with("profdata merge -o"), "{merging}");
    let profile = format!("-Cprofile-use={}", bed.path("out/outrigger.profdata").display());
    assert!(last.starts_with("cargo rustc --release --target here ") && last.ends_with(&profile), "{last}");
    assert!(
        last.contains(" -- -Clto=fat ") && !counting.contains("lto"),
        "only the last build's last step takes the time of fat LTO: {last}"
    );
    let outcome = fs::read_to_string(bed.path("out/outrigger")).expect("the outcome");
    assert!(outcome.contains(&profile), "the binary of the last build: {outcome}");
    let counted = fs::read_to_string(bed.path("out/outrigger.profdata")).expect("the profile");
    assert!(counted.contains("-Cprofile-generate"), "the binary that counts was trained: {counted}");
}

#[test]
fn without_llvm_tools_nothing_is_built_and_the_command_that_installs_them_is_named() {
    let bed = Bed::new();
    fs::remove_file(bed.path("rustlib/bin/llvm-profdata")).expect("removed");
    let complaint = complaint(&bed.run("", true));
    assert!(complaint.contains("rustup component add llvm-tools"), "{complaint}");
    assert_eq!(bed.calls(), Vec::<String>::new());
}

#[test]
fn a_training_that_failed_in_part_or_counted_nothing_leaves_no_binary() {
    for (said, counted, expected) in [
        ("h2h2_c8 turn 1 outrigger: FAILED: nghttpd is not installed", true, "nghttpd is not installed"),
        ("h1_sat_c64 turn 1 outrigger: cpu_us 14.8", false, "no proxy has written its counts"),
    ] {
        let bed = Bed::new();
        let complaint = complaint(&bed.run(said, counted));
        assert!(complaint.contains(expected), "{complaint}");
        assert!(!bed.path("out/outrigger").exists() && bed.calls().len() == 2, "{:#?}", bed.calls());
    }
}
