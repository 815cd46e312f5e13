//! The CPU limit of this process's control group, versions 2 and 1.
//!
//! Inside a container the group's own files stand at the root of the mounted hierarchy; outside, /proc/self/cgroup says
//! where. Any ancestor may carry the tighter limit, so all are looked at.

use std::path::{Path, PathBuf};

const ROOT: &str = "/sys/fs/cgroup";

/// The limit in cores; `None` = unlimited or unknown.
pub fn of_this_process() -> Option<f64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = folders(&groups, Path::new(ROOT)).into_iter().filter_map(|folder| limit(&folder));
    limits.min_by(f64::total_cmp)
}

/// Folders that may hold a limit: each group with its ancestors, version 2 and the `cpu` controller of version 1.
fn folders(groups: &str, root: &Path) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let base = match controllers {
            "" => root.to_owned(),
            list if list.split(',').any(|name| name == "cpu") => root.join("cpu"),
            _ => continue,
        };
        let below = Path::new(path.trim_start_matches('/'));
        folders.extend(below.ancestors().map(|ancestor| base.join(ancestor)));
    }
    folders
}

fn limit(folder: &Path) -> Option<f64> {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
    match read("cpu.max") {
        Some(text) => parse_v2(&text),
        None => parse_v1(&read("cpu.cfs_quota_us")?, &read("cpu.cfs_period_us")?),
    }
}

/// `200000 100000` = two cores; `max 100000` = no limit.
fn parse_v2(text: &str) -> Option<f64> {
    let mut words = text.split_whitespace();
    ratio(words.next()?, words.next().unwrap_or("100000"))
}

/// A quota of -1 = no limit.
fn parse_v1(quota: &str, period: &str) -> Option<f64> {
    ratio(quota.trim(), period.trim())
}

fn ratio(quota: &str, period: &str) -> Option<f64> {
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_read() {
        for (text, limit) in
            [("max 100000\n", None), ("200000 100000\n", Some(2.0)), ("50000 100000", Some(0.5)), ("", None), ("x y", None)]
        {
            assert_eq!(parse_v2(text), limit, "{text:?}");
        }
        assert_eq!(parse_v1("150000\n", "100000\n"), Some(1.5));
        assert_eq!(parse_v1("-1\n", "100000\n"), None);
    }

    #[test]
    fn a_group_and_all_its_ancestors_are_looked_at() {
        let found = folders("0::/kubepods/pod1\n", Path::new("/cg"));
        assert_eq!(found, ["/cg/kubepods/pod1", "/cg/kubepods", "/cg/"].map(PathBuf::from));
        let found = folders("5:cpuacct,cpu:/a\n3:memory:/a\n", Path::new("/cg"));
        assert_eq!(found, ["/cg/cpu/a", "/cg/cpu/"].map(PathBuf::from));
    }

    #[test]
    fn the_tightest_limit_on_the_way_up_counts() {
        let root = tempfile::tempdir().expect("temporary folder");
        let leaf = root.path().join("pod/container");
        std::fs::create_dir_all(&leaf).expect("folders");
        std::fs::write(leaf.join("cpu.max"), "max 100000\n").expect("written");
        std::fs::write(root.path().join("pod/cpu.max"), "150000 100000\n").expect("written");
        let limits = folders("0::/pod/container\n", root.path()).into_iter().filter_map(|folder| limit(&folder));
        assert_eq!(limits.min_by(f64::total_cmp), Some(1.5));
    }
}
