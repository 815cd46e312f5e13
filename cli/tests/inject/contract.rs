//! The transformation's own golden inputs through the command line: what comes out is what the library makes of the pod, in the text that
//! went in. What is right about the pods themselves is tested beside the transformation.

use std::path::{Path, PathBuf};

use outrigger_injector::manifest::{Workload, kind};
use outrigger_injector::settings::Policy;
use outrigger_injector::{Configuration, Context, Namespace, decide_selected, inject};
use serde_json::Value;

use super::{outrigger, read, root};

/// Manifests of one folder, which share their configuration.
struct Folder {
    path: PathBuf,
    configuration: Configuration,
}

fn folders() -> Vec<Folder> {
    let golden = root().join("injector/tests/golden");
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(golden).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    paths.sort();
    paths.into_iter().map(Folder::new).collect()
}

impl Folder {
    fn new(path: PathBuf) -> Self {
        let text = |key: &str| std::fs::read_to_string(path.join("configuration").join(format!("{key}.yaml"))).ok();
        let read = Configuration::read(&text("config").unwrap_or_default(), text("values").as_deref(), text("mesh").as_deref());
        let mut configuration = read.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        configuration.settings.policy = Policy::Enabled;
        Folder { path, configuration }
    }

    /// The command's flags for this configuration.
    fn flags(&self) -> Vec<String> {
        let files = [("--injectConfigFile", "config"), ("--valuesFile", "values"), ("--meshConfigFile", "mesh")];
        let given = files.map(|(flag, key)| (flag, self.path.join("configuration").join(format!("{key}.yaml"))));
        given.into_iter().filter(|(_, path)| path.exists()).flat_map(|(flag, path)| [flag.to_owned(), path.display().to_string()]).collect()
    }

    fn manifests(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.path).unwrap().map(|entry| entry.unwrap().path());
        let mut found: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")).collect();
        found.sort();
        found
    }

    /// What the library makes of a file's objects, or that it refuses one.
    fn expected(&self, file: &Path) -> Option<Vec<Value>> {
        let mut objects = read(&std::fs::read_to_string(file).unwrap());
        for object in &mut objects {
            for workload in kind::workloads(object).unwrap() {
                let pod = object.pointer_mut(&workload.pod).unwrap();
                let context = self.context(&workload);
                if decide_selected(pod, &context).inject {
                    *pod = inject(pod, &context).ok()?.pod;
                }
            }
        }
        Some(objects)
    }

    fn context(&self, workload: &Workload) -> Context {
        let namespace = Namespace { name: workload.namespace.clone().unwrap_or_else(|| "shop".to_owned()), ..Namespace::default() };
        Context { namespace, settings: self.configuration.settings.clone(), workload: workload.owner(), ..Context::default() }
    }

    fn run(&self, command: &[&str], files: &[PathBuf], input: &str) -> super::Done {
        let flags = if command[0] == "inject" { self.flags() } else { Vec::new() };
        let mut arguments: Vec<&str> = command.to_vec();
        arguments.extend(flags.iter().map(String::as_str));
        let files: Vec<&str> = files.iter().map(|file| file.to_str().unwrap()).collect();
        arguments.extend(files.iter().flat_map(|file| ["-f", file]));
        outrigger(&arguments, input)
    }
}

/// Comments of a text that stand on lines of their own.
fn comments(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| line.starts_with('#'))
}

#[test]
fn the_transformations_golden_inputs_come_out_of_the_command_as_out_of_the_library() {
    let mut count = 0;
    for folder in folders() {
        let name = folder.path.display();
        let (accepted, refused): (Vec<PathBuf>, Vec<PathBuf>) =
            folder.manifests().into_iter().partition(|file| folder.expected(file).is_some());
        count += accepted.len() + refused.len();

        let done = folder.run(&["inject", "-n", "shop"], &accepted, "");
        assert_eq!(done.code, Some(0), "{name}: {}", done.err);
        let expected: Vec<Value> = accepted.iter().flat_map(|file| folder.expected(file).unwrap()).collect();
        let objects = read(&done.out);
        assert_eq!(objects.len(), expected.len(), "{name}");
        for (object, expected) in objects.iter().zip(&expected) {
            assert_eq!(object, expected, "{name}");
        }
        for file in &accepted {
            for comment in comments(&std::fs::read_to_string(file).unwrap()) {
                assert!(done.out.contains(comment), "{name}: {comment} is gone\n{}", done.err);
            }
        }
        let again = folder.run(&["inject", "-n", "shop"], &["-".into()], &done.out);
        assert_eq!(again.out, done.out, "{name}: {}", again.err);
        let original: Vec<Value> = accepted.iter().flat_map(|file| read(&std::fs::read_to_string(file).unwrap())).collect();
        let back = folder.run(&["uninject"], &["-".into()], &done.out);
        assert_eq!(read(&back.out), original, "{name}: {}", back.err);

        for file in refused {
            let done = folder.run(&["inject", "-n", "shop"], std::slice::from_ref(&file), "");
            assert_eq!((done.code, done.out.as_str()), (Some(1), ""), "{}", file.display());
            assert!(done.err.contains(file.to_str().unwrap()) && done.err.contains("the pod is refused"), "{}", done.err);
        }
    }
    assert!(count >= 60, "only {count} files");
}
