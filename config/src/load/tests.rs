//! Folders, patterns and ConfigMap mounts.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::{Listing, belongs_to, list, list_one, matches, read, read_file};
use crate::yaml::MAX_TEXT;

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("outrigger-load-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    fn file(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, text).expect("a file");
    }

    fn read(&self, path: &str) -> Vec<String> {
        let files = read(&[self.0.join(path)]).expect("readable");
        files.into_iter().map(|file| format!("{}={}", file.path.strip_prefix(&self.0).expect("inside").display(), file.text)).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn folders_give_their_manifests_sorted_and_nothing_else() {
    let folder = Folder::new("sorted");
    for name in ["b.yaml", "a.yml", "c.json", "sub/d.yaml", ".hidden.yaml", ".git/e.yaml", "README.md", "f.yaml~"] {
        folder.file(name, "x");
    }
    assert_eq!(folder.read(""), ["a.yml=x", "b.yaml=x", "c.json=x", "sub/d.yaml=x"]);
}

#[test]
fn files_of_a_folder_and_of_folders_below_come_in_the_order_of_their_paths() {
    let folder = Folder::new("order");
    for name in ["a/z.yaml", "a.yaml", "a-b.yaml", "a b/c.yaml", "B.yaml", "a/b/c.yaml", "a/b.yaml", "linked/x.yaml"] {
        folder.file(name, "x");
    }
    std::os::unix::fs::symlink("linked", folder.0.join("Link")).expect("a link to a folder");
    let files = list(std::slice::from_ref(&folder.0)).expect("readable");
    assert_eq!(files.len(), 9);
    assert!(files.is_sorted(), "{files:?}");
    let twice = list(&[folder.0.join("a"), folder.0.clone(), folder.0.join("a")]).expect("readable");
    assert_eq!(twice, files, "each once");
}

#[test]
fn patterns_and_single_files_are_taken_whatever_their_name() {
    let folder = Folder::new("patterns");
    for name in ["shop-1.yaml", "shop-2.yaml", "other.yaml", "manifest.txt"] {
        folder.file(name, "x");
    }
    assert_eq!(folder.read("shop-*.yaml"), ["shop-1.yaml=x", "shop-2.yaml=x"]);
    assert_eq!(folder.read("shop-?.y*"), ["shop-1.yaml=x", "shop-2.yaml=x"]);
    assert_eq!(folder.read("manifest.txt"), ["manifest.txt=x"]);
}

#[test]
fn a_missing_path_is_named() {
    let error = read(&[PathBuf::from("/nonexistent/x.yaml")]).expect_err("missing");
    assert!(error.to_string().starts_with("/nonexistent/x.yaml: "), "{error}");
    let folder = Folder::new("nothing");
    assert!(read(&[folder.0.join("*.yaml")]).is_err(), "a pattern without files");
    assert!(read(std::slice::from_ref(&folder.0)).expect("an empty folder is no error").is_empty());
}

#[test]
fn a_pattern_that_nothing_fits_differs_from_one_whose_folder_cannot_be_listed() {
    let folder = Folder::new("fits");
    folder.file("a.conf", "x");
    assert!(matches!(list_one(&folder.0.join("*.yaml")), Ok(Listing::NothingFits)));
    let error = list_one(&folder.0.join("gone/*.yaml")).expect_err("no such folder");
    assert!(error.to_string().contains("/gone: "), "{error}");
    list_one(&folder.0.join("a.conf/*.yaml")).expect_err("no folder");
}

#[test]
fn a_file_that_cannot_be_examined_is_no_file_less() {
    let folder = Folder::new("examined");
    std::os::unix::fs::symlink("loop.yaml", folder.0.join("loop.yaml")).expect("a loop");
    let error = read(&[folder.0.join("*.yaml")]).expect_err("it is there and cannot be read");
    assert!(error.to_string().contains("loop.yaml: "), "{error}");
}

#[test]
fn a_folder_that_cannot_be_listed_hides_nothing_but_what_is_in_it() {
    let folder = Folder::new("unlisted");
    ["a.yaml", "team/b.yaml"].iter().for_each(|name| folder.file(name, "x"));
    let link = |target: &str, name: &str| std::os::unix::fs::symlink(target, folder.0.join(name)).expect("a link");
    // It may have been a link to a folder; the other one leads nowhere.
    link("lost", "lost");
    link("nowhere", "gone");
    let Ok(Listing::Files(files, unlisted)) = list_one(&folder.0) else { panic!("not listed") };
    assert_eq!(files, ["a.yaml", "team/b.yaml"].map(|name| folder.0.join(name)));
    let told: Vec<String> = unlisted.into_iter().map(|folder| folder.error.to_string()).collect();
    assert!(told.len() == 1 && told[0].contains("/lost: "), "{told:?}");
    let error = list(std::slice::from_ref(&folder.0)).expect_err("not all that there is");
    assert!(error.to_string().contains("/lost: "), "{error}");
}

#[test]
fn a_folder_linked_into_itself_is_not_listed_at_all() {
    let folder = Folder::new("turns");
    folder.file("a.yaml", "x");
    [".", "."].iter().zip(["again", "and-again"]).for_each(|(target, name)| {
        std::os::unix::fs::symlink(target, folder.0.join(name)).expect("a link");
    });
    let error = list_one(&folder.0).expect_err("each file at every turn");
    assert!(error.to_string().ends_with("folders deep"), "{error}");
}

fn make_pipe(path: &Path) {
    assert!(std::process::Command::new("mkfifo").arg(path).status().expect("mkfifo runs").success());
}

#[test]
fn pipes_in_folders_and_patterns_are_passed_over_and_never_waited_for() {
    let folder = Folder::new("pipes");
    folder.file("a.yaml", "x");
    make_pipe(&folder.0.join("pipe.yaml"));
    std::os::unix::fs::symlink("pipe.yaml", folder.0.join("linked.yaml")).expect("a link");
    assert_eq!(folder.read(""), ["a.yaml=x"]);
    assert_eq!(folder.read("*.yaml"), ["a.yaml=x"]);
    let error = read_file(&folder.0.join("pipe.yaml")).expect_err("came after the list was made");
    assert!(error.to_string().ends_with("pipe.yaml: is not a regular file"), "{error}");
}

#[test]
fn a_pipe_named_directly_is_read_to_its_end() {
    let folder = Folder::new("stream");
    let pipe = folder.0.join("pipe");
    make_pipe(&pipe);
    let writer = std::thread::spawn(move || fs::write(pipe, "x"));
    assert_eq!(folder.read("pipe"), ["pipe=x"]);
    writer.join().expect("no panic").expect("written");
}

#[test]
fn a_file_beyond_the_limit_is_refused_by_name() {
    let folder = Folder::new("large");
    let path = folder.0.join("a.yaml");
    let file = fs::File::create(&path).expect("a file");
    file.set_len(MAX_TEXT as u64 + 1).expect("a hole");
    let error = read_file(&path).expect_err("too large");
    assert!(error.to_string().ends_with("a.yaml: larger than 64 MiB, the limit for one file"), "{error}");
    let error = super::read_stream(Path::new("/dev/zero")).expect_err("endless");
    assert!(error.to_string().starts_with("/dev/zero: larger than"), "{error}");
}

#[test]
fn files_belong_to_the_folders_above_them_and_to_the_patterns_they_fit() {
    for (root, file, belongs) in [
        ("/cfg", "/cfg/a.yaml", true),
        ("/cfg", "/cfg/b/a.yaml", true),
        ("/cfg", "/cfg-2/a.yaml", false),
        ("/cfg/a.yaml", "/cfg/a.yaml", true),
        ("/cfg/*.yaml", "/cfg/a.yaml", true),
        ("/cfg/?.yaml", "/cfg/ab.yaml", false),
        ("/cfg/*.yaml", "/cfg/b/a.yaml", false),
        ("/cfg/*.yaml", "/mnt/a.yaml", false),
    ] {
        assert_eq!(belongs_to(Path::new(root), Path::new(file)), belongs, "{root} {file}");
    }
}

#[test]
fn of_a_mounted_config_map_each_file_is_read_once() {
    let folder = Folder::new("config-map");
    folder.file("..2026_01_01/a.yaml", "new");
    std::os::unix::fs::symlink("..2026_01_01", folder.0.join("..data")).expect("a link");
    std::os::unix::fs::symlink(Path::new("..data/a.yaml"), folder.0.join("a.yaml")).expect("a link");
    assert_eq!(folder.read(""), ["a.yaml=new"]);
}

#[test]
fn bytes_that_are_not_text_do_not_stop_the_reading() {
    let folder = Folder::new("bytes");
    fs::write(folder.0.join("a.yaml"), b"a: \xff\n").expect("a file");
    assert_eq!(folder.read(""), ["a.yaml=a: \u{fffd}\n"]);
}

proptest! {
    #[test]
    fn a_star_stands_for_any_text(head in "[ab]{0,4}", tail in "[ab]{0,4}", middle in "[ab]{0,6}") {
        let pattern = format!("{head}*{tail}");
        let name = format!("{head}{middle}{tail}");
        prop_assert!(matches(pattern.as_bytes(), name.as_bytes()));
        let never = format!("{name}c");
        prop_assert_eq!(matches(pattern.as_bytes(), never.as_bytes()), tail.is_empty());
    }
}
