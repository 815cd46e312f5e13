//! Hot reload in one process: every way of changing a file, its time to effect, and no gap in between.
//!
//! What is in force is recognised by the cluster of a ServiceEntry whose host carries the version.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use outrigger_config::compile::{Compiled, compile};
use outrigger_config::model::Node;
use outrigger_config::object::KeptDocuments;
use outrigger_config::registry::Registry;
use outrigger_config::store::FileChange;
use outrigger_config::validate::references;

use super::file::Found;
use super::*;
use crate::snapshot::ConfigHandle;

/// The promise of design section 5, which is what users see.
const PROMISED: Duration = Duration::from_millis(100);
/// On a machine that is busy with other tests a single change may take longer without anything being wrong; most must not.
const PATIENCE: Duration = Duration::from_secs(10);

fn node() -> Node {
    Node {
        name: "web-1".into(),
        namespace: "shop".into(),
        ip_addresses: vec!["10.0.0.7".parse().expect("address")],
        workload_name: "web".into(),
        ..Node::default()
    }
}

fn manifest(name: &str, version: usize) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}, namespace: shop}}\nspec:\n  \
         hosts: [v{version}.{name}.example]\n  ports: [{{number: 80, name: http, protocol: HTTP}}]\n  \
         resolution: STATIC\n  location: MESH_INTERNAL\n  endpoints: [{{address: 10.1.0.1}}]\n"
    )
}

/// The versions of an entry that are in force.
fn versions(config: &ConfigHandle, name: &str) -> Vec<usize> {
    let config = config.load();
    let suffix = format!(".{name}.example");
    let hosts = config.model.clusters.iter().filter_map(|cluster| cluster.name.strip_prefix("outbound|80||v"));
    hosts.filter_map(|host| host.strip_suffix(suffix.as_str())?.parse().ok()).collect()
}

/// A watched configuration.
struct Watched {
    config: ConfigHandle,
    status: Arc<DiscoveryStatus>,
    _runtime: tokio::runtime::Runtime,
}

impl Watched {
    fn start(roots: Vec<PathBuf>) -> Watched {
        Watched::start_with(roots, |_| ())
    }

    fn start_with(roots: Vec<PathBuf>, edit: impl FnOnce(&mut Publisher)) -> Watched {
        let status = Arc::new(DiscoveryStatus::default());
        let mut source = FileSource::new(roots);
        let mut publisher = Publisher::new(node(), Overrides::default(), Arc::clone(&status));
        edit(&mut publisher);
        let draft = publisher.compile(source.rescan(&Default::default()));
        let config = publisher.publish_first(draft, Instant::now());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("runtime");
        runtime.spawn(watch_files(source, publisher, config.clone(), Arc::clone(&status), |_| ()));
        let watched = Watched { config, status, _runtime: runtime };
        watched.until(|watched| watched.status.report().watching);
        // The first look around must be over, so that a change is seen by its event and not by luck.
        thread::sleep(Duration::from_millis(50));
        watched
    }

    /// Waits for a condition and returns how long that took.
    fn until(&self, condition: impl Fn(&Watched) -> bool) -> Duration {
        let start = Instant::now();
        while !condition(self) {
            assert!(start.elapsed() < PATIENCE, "never happened; diagnostics: {:?}", self.status.report());
            thread::sleep(Duration::from_micros(200));
        }
        start.elapsed()
    }

    fn until_version(&self, name: &str, version: usize) -> Duration {
        self.until(|watched| versions(&watched.config, name) == [version])
    }
}

/// Looks all the time whether an entry is missing.
struct GapWatch {
    stop: Arc<AtomicBool>,
    gaps: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl GapWatch {
    fn start(config: &ConfigHandle, name: &'static str) -> GapWatch {
        let (stop, gaps) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (config, stopped, counted) = (config.clone(), Arc::clone(&stop), Arc::clone(&gaps));
        let look = move || {
            while !stopped.load(Ordering::Relaxed) {
                counted.fetch_add(usize::from(versions(&config, name).len() != 1), Ordering::Relaxed);
                thread::sleep(Duration::from_micros(100));
            }
        };
        GapWatch { stop, gaps, thread: Some(thread::spawn(look)) }
    }

    fn finish(mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("running").join().expect("no panic");
        self.gaps.load(Ordering::Relaxed)
    }
}

/// As an editor that truncates: the file is empty, then half written, then whole.
fn truncate_and_write(path: &Path, text: &str) {
    use std::io::Write;
    let mut file = std::fs::File::create(path).expect("opened");
    thread::sleep(Duration::from_millis(5));
    let (first, second) = text.split_at(text.len() / 2);
    file.write_all(first.as_bytes()).expect("written");
    thread::sleep(Duration::from_millis(5));
    file.write_all(second.as_bytes()).expect("written");
}

/// As an editor that writes beside and renames.
fn write_and_rename(path: &Path, text: &str) {
    let beside = path.with_extension("tmp");
    std::fs::write(&beside, text).expect("written");
    std::fs::rename(&beside, path).expect("renamed");
}

/// As vim: the old version is moved away before the new one is written.
fn move_away_and_write(path: &Path, text: &str) {
    std::fs::rename(path, path.with_extension("yaml~")).expect("renamed");
    thread::sleep(Duration::from_millis(5));
    std::fs::write(path, text).expect("written");
}

#[test]
fn fifty_changes_take_effect_in_time_and_without_a_gap() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("entry.yaml");
    std::fs::write(&path, manifest("entry", 0)).expect("written");
    let watched = Watched::start(vec![folder.path().to_owned()]);
    let gaps = GapWatch::start(&watched.config, "entry");
    let ways = [truncate_and_write, write_and_rename, move_away_and_write];
    let mut times: Vec<Duration> = Vec::new();
    for (version, way) in (1..=50).zip(ways.into_iter().cycle()) {
        way(&path, &manifest("entry", version));
        times.push(watched.until_version("entry", version));
    }
    times.sort_unstable();
    assert_eq!(gaps.finish(), 0, "the entry was missing or doubled at some moment");
    assert!(times[47] < PROMISED, "{times:?}");
    assert_eq!(watched.status.report().rejected, 0, "no half-written file was ever read");
}

#[test]
fn a_swapped_config_map_is_one_change_without_a_gap() {
    let mount = tempfile::tempdir().expect("temporary folder");
    let volume = |version: usize| {
        let folder = mount.path().join(format!("..version_{version}"));
        std::fs::create_dir(&folder).expect("folder");
        std::fs::write(folder.join("entry.yaml"), manifest("entry", version)).expect("written");
        let link = mount.path().join("..data_tmp");
        symlink(folder.file_name().expect("name"), &link).expect("linked");
        std::fs::rename(link, mount.path().join("..data")).expect("renamed");
    };
    volume(0);
    symlink("..data/entry.yaml", mount.path().join("entry.yaml")).expect("linked");
    let watched = Watched::start(vec![mount.path().to_owned()]);
    let gaps = GapWatch::start(&watched.config, "entry");
    let mut times = Vec::new();
    for version in 1..=10 {
        volume(version);
        times.push(watched.until_version("entry", version));
        std::fs::remove_dir_all(mount.path().join(format!("..version_{}", version - 1))).expect("removed");
    }
    times.sort_unstable();
    assert_eq!(gaps.finish(), 0);
    assert!(times[8] < PROMISED, "{times:?}");
}

#[test]
fn a_file_whose_mode_is_set_while_it_is_written_is_not_taken_half_done() {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("entry.yaml");
    std::fs::write(&path, manifest("entry", 1)).expect("written");
    let watched = Watched::start(vec![folder.path().to_owned()]);
    let gaps = GapWatch::start(&watched.config, "entry");
    let mut file = std::fs::File::create(&path).expect("opened");
    file.set_permissions(std::fs::Permissions::from_mode(0o600)).expect("mode");
    thread::sleep(Duration::from_millis(100));
    file.write_all(manifest("entry", 2).as_bytes()).expect("written");
    drop(file);
    watched.until_version("entry", 2);
    assert_eq!(gaps.finish(), 0, "the entry was missing while it was written");
}

#[test]
fn files_and_folders_come_and_go() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let watched = Watched::start(vec![folder.path().to_owned()]);
    let below = folder.path().join("team/service");
    std::fs::create_dir_all(&below).expect("folders");
    std::fs::write(below.join("a.yaml"), manifest("a", 1)).expect("written");
    std::fs::write(below.join("ignored.txt"), manifest("b", 1)).expect("written");
    watched.until_version("a", 1);
    std::fs::write(below.join("a.yaml"), manifest("a", 2)).expect("written");
    watched.until_version("a", 2);
    std::fs::remove_dir_all(folder.path().join("team")).expect("removed");
    watched.until(|watched| versions(&watched.config, "a").is_empty());
    assert!(versions(&watched.config, "b").is_empty());
}

#[test]
fn a_root_that_appears_later_is_found_and_one_that_disappears_leaves_its_objects_in_force() {
    let parent = tempfile::tempdir().expect("temporary folder");
    let root = parent.path().join("manifests");
    let watched = Watched::start(vec![root.clone()]);
    assert!(watched.status.report().generation == 1);
    std::fs::create_dir(&root).expect("folder");
    std::fs::write(root.join("a.yaml"), manifest("a", 1)).expect("written");
    watched.until_version("a", 1);
    std::fs::remove_dir_all(&root).expect("removed");
    watched.until(|watched| watched.status.report().last_error.is_some());
    thread::sleep(Duration::from_millis(200));
    assert_eq!(versions(&watched.config, "a"), [1], "losing the source never stops traffic");
}

#[test]
fn a_root_that_is_swapped_is_watched_as_the_one_before() {
    let parent = tempfile::tempdir().expect("temporary folder");
    let at = |name: &str| parent.path().join(name);
    for (version, name) in [(1, "v1"), (2, "v2")] {
        std::fs::create_dir(at(name)).expect("folder");
        put(&at(name), "a", version);
    }
    symlink("v1", at("link")).expect("linked");
    let watched = Watched::start(vec![at("link")]);
    symlink("v2", at("link.new")).expect("linked");
    std::fs::rename(at("link.new"), at("link")).expect("swapped");
    let times = [watched.until_version("a", 2), {
        thread::sleep(Duration::from_millis(50));
        put(&at("v2"), "a", 3);
        watched.until_version("a", 3)
    }];
    assert!(times.iter().all(|time| *time < Duration::from_secs(1)), "not by its event: {times:?}");
}

#[test]
fn a_root_that_is_removed_and_made_again_is_watched_as_the_one_before() {
    let parent = tempfile::tempdir().expect("temporary folder");
    let root = parent.path().join("cfg");
    std::fs::create_dir(&root).expect("folder");
    put(&root, "a", 1);
    let watched = Watched::start(vec![root.clone()]);
    for version in 2..=4 {
        std::fs::remove_dir_all(&root).expect("removed");
        std::fs::create_dir(&root).expect("made again");
        put(&root, "a", version);
        assert!(watched.until_version("a", version) < Duration::from_secs(2), "not by its event");
        thread::sleep(Duration::from_millis(50));
        put(&root, "b", version);
        assert!(watched.until_version("b", version) < Duration::from_secs(2), "not by its event");
    }
}

#[test]
fn single_files_and_globs_are_watched_too() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let named = folder.path().join("named.yaml");
    std::fs::write(&named, manifest("named", 1)).expect("written");
    std::fs::write(folder.path().join("g1.conf"), manifest("g1", 1)).expect("written");
    std::fs::write(folder.path().join("other.yaml"), manifest("other", 1)).expect("written");
    let watched = Watched::start(vec![named.clone(), folder.path().join("g*.conf")]);
    watched.until_version("g1", 1);
    write_and_rename(&named, &manifest("named", 2));
    watched.until_version("named", 2);
    std::fs::write(folder.path().join("g2.conf"), manifest("g2", 1)).expect("written");
    watched.until_version("g2", 1);
    assert!(versions(&watched.config, "other").is_empty());
}

#[test]
fn a_broken_file_is_named_and_keeps_its_last_good_version() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("entry.yaml");
    std::fs::write(&path, manifest("entry", 1)).expect("written");
    let watched = Watched::start(vec![folder.path().to_owned()]);
    std::fs::write(&path, "kind: [unclosed\n").expect("written");
    watched.until(|watched| watched.status.report().rejected == 1);
    assert_eq!(versions(&watched.config, "entry"), [1]);
    let report = watched.status.report();
    let told = report.diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert!(told.contains("entry.yaml:"), "{told}");
    std::fs::write(&path, manifest("entry", 2)).expect("written");
    watched.until_version("entry", 2);
    assert!(watched.status.report().diagnostics.is_empty());
}

#[test]
fn a_panic_of_the_compiler_keeps_what_is_in_force_and_the_next_change_counts() {
    fn fragile(registry: &Registry, node: &Node) -> Compiled {
        let compiled = compile(registry, node);
        assert!(!compiled.snapshot.clusters.iter().any(|cluster| cluster.name.contains("v13.")), "a mistake of ours");
        compiled
    }
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("entry.yaml");
    std::fs::write(&path, manifest("entry", 1)).expect("written");
    let watched = Watched::start_with(vec![folder.path().to_owned()], |publisher| publisher.compiler = fragile);
    std::fs::write(&path, manifest("entry", 13)).expect("written");
    watched.until(|watched| watched.status.report().rejected == 1);
    assert_eq!(versions(&watched.config, "entry"), [1]);
    std::fs::write(&path, manifest("entry", 14)).expect("written");
    watched.until_version("entry", 14);
}

/// Two entries of version 1 in force, with what makes the next version of them so.
fn two_entries(folder: &Path) -> (FileSource, Publisher, ConfigHandle) {
    ["a", "b"].iter().for_each(|name| put(folder, name, 1));
    let mut source = FileSource::new(vec![folder.to_owned()]);
    let mut publisher = Publisher::new(node(), Overrides::default(), Default::default());
    let draft = publisher.compile(source.rescan(&Default::default()));
    let config = publisher.publish_first(draft, Instant::now());
    (source, publisher, config)
}

fn put(folder: &Path, name: &str, version: usize) {
    std::fs::write(folder.join(format!("{name}.yaml")), manifest(name, version)).expect("written");
}

/// Takes over what has changed, as a watch does.
fn follow(source: &mut FileSource, publisher: &mut Publisher, config: &ConfigHandle) -> bool {
    let mut changes = source.rescan(&Default::default());
    source.add_doubted(&mut changes);
    watch::take_over(changes, source, publisher, config, Instant::now())
}

#[test]
fn files_that_a_panic_kept_from_being_taken_over_count_with_the_next_change() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (mut source, mut publisher, config) = two_entries(folder.path());
    let usual = publisher.taker;
    publisher.taker = |_, _| panic!("a mistake of ours");
    put(folder.path(), "a", 2);
    std::fs::remove_file(folder.path().join("b.yaml")).expect("removed");
    assert!(!follow(&mut source, &mut publisher, &config));
    assert_eq!((versions(&config, "a"), versions(&config, "b")), (vec![1], vec![1]));
    publisher.taker = usual;
    put(folder.path(), "c", 1);
    assert!(follow(&mut source, &mut publisher, &config));
    assert_eq!([versions(&config, "a"), versions(&config, "b"), versions(&config, "c")], [vec![2], vec![], vec![1]]);
}

#[test]
fn when_the_objects_kept_are_lost_all_files_are_read_again() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (mut source, mut publisher, config) = two_entries(folder.path());
    publisher.taker = |_, _| None;
    put(folder.path(), "a", 2);
    assert!(follow(&mut source, &mut publisher, &config));
    assert_eq!((versions(&config, "a"), versions(&config, "b")), (vec![2], vec![1]));
}

#[test]
fn when_the_objects_kept_are_lost_and_not_all_files_can_be_read_what_is_in_force_stays_until_they_can() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (mut source, mut publisher, config) = two_entries(folder.path());
    let unreadable = folder.path().join("c.yaml");
    publisher.taker = |_, _| None;
    put(folder.path(), "a", 2);
    // A loop: it is there and cannot be read.
    symlink("c.yaml", &unreadable).expect("linked");
    assert!(!follow(&mut source, &mut publisher, &config));
    assert_eq!((versions(&config, "a"), versions(&config, "b")), (vec![1], vec![1]));
    std::fs::remove_file(&unreadable).expect("removed");
    assert!(follow(&mut source, &mut publisher, &config));
    assert_eq!((versions(&config, "a"), versions(&config, "b")), (vec![2], vec![1]));
}

#[test]
fn positions_of_diagnostics_are_remembered_from_one_update_to_the_next() {
    fn looking(registry: &Registry, node: &Node) -> Compiled {
        let documents = KeptDocuments::new();
        references::check(registry);
        READ.store(documents.documents(), Ordering::Relaxed);
        compile(registry, node)
    }
    static READ: AtomicUsize = AtomicUsize::new(0);
    let folder = tempfile::tempdir().expect("temporary folder");
    let dangling = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v, namespace: shop}\n\
                    spec: {hosts: [v], http: [{route: [{destination: {host: nowhere}}]}]}\n";
    std::fs::write(folder.path().join("v.yaml"), dangling).expect("written");
    let (mut source, mut publisher, config) = two_entries(folder.path());
    publisher.compiler = looking;
    // The positions became known when the first draft was made; only what was packed tells of them.
    READ.store(usize::MAX, Ordering::Relaxed);
    put(folder.path(), "a", 2);
    assert!(follow(&mut source, &mut publisher, &config));
    assert_eq!(READ.load(Ordering::Relaxed), 0);
}

#[test]
fn a_storm_of_changes_is_folded_into_few_updates() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let watched = Watched::start(vec![folder.path().to_owned()]);
    for round in 1..=5 {
        for number in 0..100 {
            std::fs::write(folder.path().join(format!("e{number}.yaml")), manifest(&format!("e{number}"), round)).expect("written");
        }
    }
    watched.until(|watched| (0..100).all(|number| versions(&watched.config, &format!("e{number}")) == [5]));
    let updates = watched.status.report().updates;
    assert!(updates < 100, "{updates} updates for 500 writes");
}

#[test]
fn an_unchanged_file_publishes_nothing() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("entry.yaml");
    std::fs::write(&path, manifest("entry", 1)).expect("written");
    let watched = Watched::start(vec![folder.path().to_owned()]);
    let before = watched.status.report().generation;
    std::fs::write(&path, manifest("entry", 1)).expect("written");
    std::fs::write(folder.path().join("notes.txt"), "x").expect("written");
    thread::sleep(Duration::from_millis(150));
    assert_eq!(watched.status.report().generation, before);
}

#[test]
fn a_pattern_whose_folder_is_lost_keeps_its_objects_and_one_that_nothing_fits_any_more_does_not() {
    let parent = tempfile::tempdir().expect("temporary folder");
    let (folder, aside) = (parent.path().join("mounted"), parent.path().join("aside"));
    std::fs::create_dir(&folder).expect("folder");
    put(&folder, "a", 1);
    let file = folder.join("a.yaml");
    let mut source = FileSource::new(vec![folder.join("*.yaml")]);
    assert_eq!(source.rescan(&Default::default()).len(), 1);

    std::fs::rename(&folder, &aside).expect("lost");
    assert_eq!(source.rescan(&Default::default()), []);
    assert!(source.problem().is_some_and(|problem| problem.contains("mounted")), "{:?}", source.problem());
    assert_eq!(source.read([file.clone()].into()), [], "nor when the kernel says that the file itself is gone");
    std::fs::write(&folder, "").expect("no folder");
    assert_eq!(source.rescan(&Default::default()), []);
    std::fs::remove_file(&folder).expect("removed");

    std::fs::rename(&aside, &folder).expect("back");
    assert_eq!(source.rescan(&Default::default()), []);
    assert_eq!(source.problem(), None);
    std::fs::remove_file(&file).expect("removed");
    assert_eq!(source.rescan(&Default::default()), [FileChange { path: file, text: None }]);
    assert!(source.problem().is_some_and(|problem| problem.contains("no file fits")), "{:?}", source.problem());
}

#[test]
fn a_new_file_of_a_pattern_is_read_at_once_and_no_other_file_with_it() {
    let folder = tempfile::tempdir().expect("temporary folder");
    ["moved", "emptied"].iter().for_each(|name| put(folder.path(), name, 1));
    let path = |name: &str| folder.path().join(name);
    let mut source = FileSource::new(vec![path("*.yaml")]);
    assert_eq!(source.rescan(&Default::default()).len(), 2);

    // Two files are being replaced while a third and one that is no configuration are closed.
    std::fs::rename(path("moved.yaml"), path("moved.yaml~")).expect("moved away");
    std::fs::write(path("emptied.yaml"), "").expect("emptied");
    put(folder.path(), "new", 1);
    std::fs::write(path("notes.txt"), "x").expect("written");
    let changed = |changes: Vec<FileChange>| changes.into_iter().map(|change| change.path).collect::<Vec<_>>();
    assert_eq!(changed(source.read([path("new.yaml"), path("notes.txt")].into())), [path("new.yaml")]);
}

/// As [`manifest`], with the version as resource version.
fn versioned(name: &str, version: usize) -> String {
    manifest(name, version).replace("{name:", &format!("{{resourceVersion: '{version}', name:"))
}

#[test]
fn a_resource_version_is_told_when_nothing_is_pending_and_everything_could_be_read() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("a.yaml"), versioned("a", 1)).expect("written");
    let watched = Watched::start(vec![folder.path().to_owned()]);
    let told = |version: u64| watched.until(|watched| watched.status.report().resource_version == version);
    told(1);

    let being_written = std::fs::File::create(at("b.yaml")).expect("opened");
    std::fs::write(at("a.yaml"), versioned("a", 2)).expect("written");
    watched.until_version("a", 2);
    thread::sleep(Duration::from_millis(50));
    assert_eq!(watched.status.report().resource_version, 1, "b is being written");
    drop(being_written);
    told(2);

    symlink("loop.yaml", at("loop.yaml")).expect("a loop");
    watched.until(|watched| watched.status.report().last_error.is_some());
    std::fs::write(at("a.yaml"), versioned("a", 3)).expect("written");
    watched.until_version("a", 3);
    thread::sleep(Duration::from_millis(50));
    assert_eq!(watched.status.report().resource_version, 2, "a file cannot be read");
    std::fs::remove_file(at("loop.yaml")).expect("removed");
    told(3);
}

#[test]
fn a_resource_version_is_told_whatever_is_written_beside_the_configuration_and_though_nothing_fits_a_pattern() {
    use std::io::Write;
    let folder = tempfile::tempdir().expect("temporary folder");
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("a.yaml"), versioned("a", 1)).expect("written");
    let watched = Watched::start(vec![folder.path().to_owned(), at("extra-*.conf")]);
    let stopped = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut log = std::fs::File::create(at("noise.log")).expect("opened");
            while !stopped.load(Ordering::Relaxed) {
                log.write_all(b"noise\n").expect("written");
                thread::sleep(Duration::from_millis(20));
            }
        });
        thread::sleep(Duration::from_millis(50));
        std::fs::write(at("a.yaml"), versioned("a", 2)).expect("written");
        watched.until_version("a", 2);
        thread::sleep(Duration::from_millis(200));
        stopped.store(true, Ordering::Relaxed);
        let report = watched.status.report();
        assert_eq!(report.resource_version, 2, "{report:?}");
        assert!(report.last_error.is_some_and(|error| error.contains("no file fits")), "it is told nevertheless");
    });
}

#[test]
fn when_the_objects_kept_are_lost_all_is_known_again_though_nothing_fits_a_pattern() {
    let folder = tempfile::tempdir().expect("temporary folder");
    put(folder.path(), "a", 1);
    let mut source = FileSource::new(vec![folder.path().to_owned(), folder.path().join("extra-*.conf")]);
    assert_eq!(source.rescan(&Default::default()).len(), 1);
    assert_eq!(source.everything().map(|files| files.len()), Some(1));
}

fn make_pipe(path: &Path) {
    nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).expect("pipe");
}

#[test]
fn a_pipe_given_as_root_even_twice_is_read_once_and_kept() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let pipe = folder.path().join("pipe");
    make_pipe(&pipe);
    let writer = thread::spawn({
        let pipe = pipe.clone();
        move || std::fs::write(pipe, manifest("a", 1))
    });
    let mut source = FileSource::new(vec![pipe.clone(), pipe.clone()]);
    assert_eq!(source.rescan(&Default::default()).len(), 1);
    writer.join().expect("no panic").expect("written");
    assert_eq!((source.rescan(&Default::default()), source.read([pipe.clone()].into())), (vec![], vec![]));
    assert_eq!(source.everything().map(|files| files.len()), Some(1), "though what was made of it is lost");
    std::fs::remove_file(&pipe).expect("removed");
    assert_eq!((source.rescan(&Default::default()), source.problem()), (vec![], None));
}

#[test]
fn a_pipe_among_watched_files_and_a_file_beyond_the_limit_stop_no_update() {
    let folder = tempfile::tempdir().expect("temporary folder");
    put(folder.path(), "a", 1);
    put(folder.path(), "large", 1);
    let watched = Watched::start(vec![folder.path().to_owned()]);
    make_pipe(&folder.path().join("pipe.yaml"));
    let large = std::fs::OpenOptions::new().write(true).open(folder.path().join("large.yaml")).expect("opened");
    large.set_len(1 << 30).expect("a hole");
    drop(large);
    watched.until(|watched| watched.status.report().last_error.is_some_and(|error| error.contains("large.yaml: larger than 64 MiB")));
    put(folder.path(), "a", 2);
    watched.until_version("a", 2);
    assert_eq!(versions(&watched.config, "large"), [1], "what it held stays in force");
}

#[test]
fn a_look_around_does_not_believe_a_file_that_is_being_written() {
    let folder = tempfile::tempdir().expect("temporary folder");
    std::fs::create_dir(folder.path().join("real")).expect("folder");
    symlink("real", folder.path().join("linked")).expect("linked");
    for root in ["real", "linked", "linked/../real"] {
        believes_no_file_that_is_being_written(folder.path().join(root));
    }
}

fn believes_no_file_that_is_being_written(root: PathBuf) {
    let file = root.join("a.yaml");
    let past = std::time::SystemTime::now() - Duration::from_secs(1);
    std::fs::write(&file, manifest("a", 1)).expect("written");
    std::fs::File::open(&file).and_then(|file| file.set_modified(past)).expect("dated");
    let mut source = FileSource::new(vec![root]);
    assert_eq!(source.rescan(&Default::default()).len(), 1);

    // Emptied, and the kernel's report of it not read yet.
    std::fs::write(&file, "").expect("emptied");
    let found = source.look_around(&Default::default());
    assert_eq!(found, Found { fresh: vec![file.clone()], ..Found::default() });
    // Empty it stays: believed when nothing happens any more.
    std::fs::File::open(&file).and_then(|file| file.set_modified(past)).expect("dated");
    assert_eq!(source.look_around(&Default::default()).changes.len(), 1);
}

#[test]
fn a_look_around_does_not_believe_that_a_file_is_gone_which_is_missing_for_a_moment() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("team")).expect("folder");
    put(folder.path(), "a", 1);
    put(&at("team"), "b", 1);
    symlink("team", at("linked")).expect("linked");
    let mut source = FileSource::new(vec![folder.path().to_owned()]);
    assert_eq!(source.rescan(&Default::default()).len(), 3);
    let none = BTreeSet::new();

    std::fs::rename(at("a.yaml"), at("a.yaml~")).expect("moved away");
    std::fs::rename(at("team"), at(".team")).expect("moved away");
    let missing = vec![at("a.yaml"), at("linked/b.yaml"), at("team/b.yaml")];
    let found = source.look_around(&none);
    assert_eq!(found, Found { missing: missing.clone(), ..Found::default() });
    assert_eq!(source.read_written(missing.iter().cloned().collect()), found, "nor does it when somebody closed them before");
    std::fs::rename(at("a.yaml~"), at("a.yaml")).expect("back");
    std::fs::rename(at(".team"), at("team")).expect("back");
    assert_eq!(source.look_around(&none), Found::default());

    std::fs::rename(at("a.yaml"), at("a.yaml~")).expect("moved away");
    let gone = FileChange { path: at("a.yaml"), text: None };
    assert_eq!(source.read([at("a.yaml")].into()), [gone], "for as long as the grace");
}

#[test]
fn a_look_around_believes_that_a_file_is_gone_whose_place_is_taken() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("team")).expect("folder");
    put(folder.path(), "a", 1);
    put(&at("team"), "b", 1);
    let mut source = FileSource::new(vec![folder.path().to_owned()]);
    assert_eq!(source.rescan(&Default::default()).len(), 2);
    std::fs::remove_dir_all(at("team")).expect("removed");
    std::fs::write(at("team"), "").expect("a file instead of a folder");
    std::fs::remove_file(at("a.yaml")).expect("removed");
    std::fs::create_dir(at("a.yaml")).expect("a folder instead of a file");
    let gone = ["a.yaml", "team/b.yaml"].map(|name| FileChange { path: at(name), text: None });
    assert_eq!(source.look_around(&Default::default()), Found { changes: gone.into(), ..Found::default() });
}

#[test]
fn a_folder_that_cannot_be_listed_keeps_its_objects_in_force_and_hides_no_others() {
    let parent = tempfile::tempdir().expect("temporary folder");
    let [root, mount] = ["root", "mount"].map(|name| parent.path().join(name));
    [&root, &mount].into_iter().for_each(|folder| std::fs::create_dir(folder).expect("folder"));
    put(&mount, "a", 1);
    put(&root, "b", 1);
    let link = |target: &Path| {
        symlink(target, root.join("new")).expect("linked");
        std::fs::rename(root.join("new"), root.join("team")).expect("in place");
    };
    link(&mount);
    let mut source = FileSource::new(vec![root.clone()]);
    assert_eq!(source.rescan(&Default::default()).len(), 2);

    link(Path::new("team"));
    put(&root, "c", 1);
    let changed: Vec<PathBuf> = source.rescan(&Default::default()).into_iter().map(|change| change.path).collect();
    assert_eq!(changed, [root.join("c.yaml")]);
    let told = source.problem().expect("told");
    assert!(told.contains("root/team: "), "{told}");
    assert_eq!(source.read([root.join("team/a.yaml")].into()), [], "nor when the kernel says that the file is gone");
    let from_the_start = FileSource::new(vec![root.clone()]).rescan(&Default::default());
    assert_eq!(from_the_start.len(), 2, "{from_the_start:?}");

    link(&mount);
    std::fs::remove_file(mount.join("a.yaml")).expect("removed");
    assert_eq!(source.rescan(&Default::default()), [FileChange { path: root.join("team/a.yaml"), text: None }]);
    assert_eq!(source.problem(), None);
}

#[test]
fn files_missing_for_a_moment_leave_no_gap_whatever_else_changes_meanwhile() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("team")).expect("folder");
    put(&at("team"), "a", 0);
    std::fs::write(at("g1.conf"), manifest("g", 0)).expect("written");
    let watched = Watched::start(vec![folder.path().to_owned(), at("g*.conf")]);
    let gaps = ["a", "g"].map(|name| GapWatch::start(&watched.config, name));
    for version in 1..=5 {
        move_away_and_write(&at("g1.conf"), &manifest("g", version));
        std::fs::create_dir(at(".next")).expect("folder");
        put(&at(".next"), "a", version);
        std::fs::rename(at("team"), at(".before")).expect("moved away");
        thread::sleep(Duration::from_millis(10));
        std::fs::rename(at(".next"), at("team")).expect("moved in its place");
        watched.until_version("a", version);
        watched.until_version("g", version);
        std::fs::remove_dir_all(at(".before")).expect("removed");
    }
    assert_eq!(gaps.map(GapWatch::finish), [0, 0]);
}
