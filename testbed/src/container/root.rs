//! A container's private view of the machine's files.
//!
//! The host's root is the lower layer of an overlay whose upper layer is a tmpfs of the container's own, so a
//! container may write anywhere and make any mount point without the host noticing, and everything is gone when its
//! last process ends. Paths are resolved only after the switch to the new root: a symbolic link such as
//! `/var/run -> /run` must lead into the container's view, never out of it.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::pivot_root;

use super::spec::Mount;

const OLD_ROOT: &str = "/.host";
const NOTHING: Option<&str> = None;

/// Turns the calling process's mount namespace, already its own, into the container's.
///
/// `scratch` is an empty folder on the host; the overlay is built over it.
///
/// # Errors
/// When the kernel lacks overlayfs, or a source does not exist.
pub fn build(scratch: &Path, mounts: &[Mount], read_only: bool) -> Result<()> {
    // Slave, not private: namespaces the host removes later must not live on here.
    mount(NOTHING, "/", NOTHING, MsFlags::MS_SLAVE | MsFlags::MS_REC, NOTHING)?;
    let sources: Vec<PathBuf> = mounts
        .iter()
        .map(|m| m.source.canonicalize().with_context(|| format!("nothing to mount at {}", m.source.display())))
        .collect::<Result<_>>()?;
    let disks = disks(&fs::read_to_string("/proc/self/mountinfo")?);
    let root = overlay(scratch)?;
    for part in ["/proc", "/sys", "/dev"].map(Path::new).into_iter().chain(disks.iter().map(PathBuf::as_path)) {
        bind_host_part(&root, part)?;
    }
    enter(&root)?;
    // The host's own run-time files are not the container's business; where /run is part of the root file system the
    // overlay would show them.
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), Some("mode=755"))?;
    for (m, source) in mounts.iter().zip(&sources) {
        place(&Path::new(OLD_ROOT).join(relative(source)), m)
            .with_context(|| format!("mounting {} at {}", m.source.display(), m.target.display()))?;
    }
    umount2(OLD_ROOT, MntFlags::MNT_DETACH)?;
    fs::remove_dir(OLD_ROOT)?;
    if read_only {
        remount_read_only(Path::new("/"))?;
    }
    Ok(())
}

fn overlay(scratch: &Path) -> Result<PathBuf> {
    mount(Some("tmpfs"), scratch, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))?;
    let [upper, work, root] = ["upper", "work", "root"].map(|name| scratch.join(name));
    for folder in [&upper, &work, &root] {
        fs::DirBuilder::new().mode(0o755).create(folder)?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    }
    let options = format!("lowerdir=/,upperdir={},workdir={}", upper.display(), work.display());
    mount(Some("overlay"), &root, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
        .context("mounting an overlay over the host's files (the kernel needs overlayfs)")?;
    Ok(root)
}

fn bind_host_part(root: &Path, part: &Path) -> Result<()> {
    let target = root.join(relative(part));
    if !target.is_dir() {
        return Ok(());
    }
    mount(Some(part), &target, NOTHING, MsFlags::MS_BIND | MsFlags::MS_REC, NOTHING)
        .with_context(|| format!("showing {} in a container", part.display()))
}

fn enter(root: &Path) -> Result<()> {
    let old = root.join(relative(Path::new(OLD_ROOT)));
    fs::create_dir_all(&old)?;
    std::env::set_current_dir(root)?;
    pivot_root(root, &old).context("changing to the container's root")?;
    std::env::set_current_dir("/")?;
    Ok(())
}

fn place(source: &Path, m: &Mount) -> Result<()> {
    if source.is_dir() {
        fs::create_dir_all(&m.target)?;
    } else {
        if let Some(parent) = m.target.parent() {
            fs::create_dir_all(parent)?;
        }
        // A dangling link (resolv.conf on many machines) would be followed; a plain file takes its place.
        if m.target.is_symlink() {
            fs::remove_file(&m.target)?;
        }
        if !m.target.exists() {
            fs::File::create(&m.target)?;
        }
    }
    mount(Some(source), &m.target, NOTHING, MsFlags::MS_BIND | MsFlags::MS_REC, NOTHING)?;
    if m.read_only {
        remount_read_only(&m.target)?;
    }
    Ok(())
}

fn remount_read_only(target: &Path) -> Result<()> {
    Ok(mount(NOTHING, target, NOTHING, MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, NOTHING)?)
}

fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

/// Mount points of real file systems below the root, outermost first: an overlay shows only the one at `/`.
///
/// Lines are those of `proc(5)`, mountinfo: field 5 is the mount point, the file system type follows ` - `.
fn disks(mountinfo: &str) -> Vec<PathBuf> {
    const REAL: [&str; 9] = ["ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "9p", "virtiofs"];
    let point = |line: &str| {
        let (fields, rest) = line.split_once(" - ")?;
        let real = REAL.contains(&rest.split(' ').next()?);
        let point = fields.split(' ').nth(4)?.replace("\\040", " ");
        (real && point != "/" && !point.starts_with("/run/") && !point.starts_with("/etc/")).then(|| PathBuf::from(point))
    };
    let mut points: Vec<PathBuf> = mountinfo.lines().filter_map(point).collect();
    points.sort();
    points.dedup();
    // Bound recursively, an outer one brings the inner ones along.
    let outer = points.clone();
    points.retain(|point| !outer.iter().any(|other| other != point && point.starts_with(other)));
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_outermost_mounts_of_real_file_systems_are_shown() {
        let mountinfo = "22 1 254:0 / / rw - ext4 /dev/vda rw\n\
                         23 22 0:4 / /proc rw - proc proc rw\n\
                         24 22 254:1 / /home rw shared:1 - xfs /dev/vdb rw\n\
                         25 24 254:2 / /home/me\\040too rw - ext4 /dev/vdc rw\n\
                         26 22 0:9 / /tmp rw - tmpfs tmpfs rw\n";
        assert_eq!(disks(mountinfo), [PathBuf::from("/home")]);
    }
}
