//! What counts depend on besides the code: they compare only where all of this is the same.

use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The key of a section of `counts.toml`: the compiler, the processor's features that libraries choose code by, and the version
/// of valgrind, which shows programs the processor it can simulate.
pub fn key() -> Result<String> {
    let rustc = first_line("rustc", "--version")?;
    let version = rustc.split(' ').nth(1).with_context(|| format!("rustc calls itself {rustc:?}"))?;
    let valgrind = first_line("valgrind", "--version")?;
    let parts = [std::env::consts::ARCH].into_iter().chain(features()).collect::<Vec<_>>();
    Ok(format!("rustc {version}, {}, {valgrind}", parts.join(" ")))
}

fn first_line(program: &str, argument: &str) -> Result<String> {
    let output = Command::new(program).arg(argument).output().with_context(|| format!("running {program} {argument}"))?;
    ensure!(output.status.success(), "{program} {argument} failed");
    Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned())
}

/// Those that valgrind can show.
#[cfg(target_arch = "x86_64")]
fn features() -> Vec<&'static str> {
    let known = [
        ("sse4.2", std::is_x86_feature_detected!("sse4.2")),
        ("avx", std::is_x86_feature_detected!("avx")),
        ("avx2", std::is_x86_feature_detected!("avx2")),
        ("aes", std::is_x86_feature_detected!("aes")),
        ("f16c", std::is_x86_feature_detected!("f16c")),
        ("fma", std::is_x86_feature_detected!("fma")),
        ("rdrand", std::is_x86_feature_detected!("rdrand")),
        ("rdseed", std::is_x86_feature_detected!("rdseed")),
    ];
    known.into_iter().filter(|(_, present)| *present).map(|(name, _)| name).collect()
}

/// Those that valgrind can show.
#[cfg(target_arch = "aarch64")]
fn features() -> Vec<&'static str> {
    let known = [
        ("aes", std::arch::is_aarch64_feature_detected!("aes")),
        ("sha2", std::arch::is_aarch64_feature_detected!("sha2")),
        ("lse", std::arch::is_aarch64_feature_detected!("lse")),
    ];
    known.into_iter().filter(|(_, present)| *present).map(|(name, _)| name).collect()
}

/// Nothing is chosen at run time elsewhere.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn features() -> Vec<&'static str> {
    Vec::new()
}
