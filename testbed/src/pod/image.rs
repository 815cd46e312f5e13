//! Which program stands for an image: there is no registry here to pull one from.
//!
//! In this order: what `--image` says; the container's own command, when that program exists on this machine; the
//! built-in stand-in application.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::str::FromStr;

use outrigger_config::api::kubernetes::Container;

use crate::container::spec::{DEFAULT_PATH, PROGRAM};

/// One `--image NAME=COMMAND`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRule {
    /// The image as written, or without tag, or only its last part.
    pub image: String,
    /// Program and arguments.
    pub command: Vec<String>,
}

impl FromStr for ImageRule {
    type Err = String;

    fn from_str(text: &str) -> Result<ImageRule, String> {
        let (image, command) = text.split_once('=').ok_or_else(|| format!("{text:?}: expected NAME=COMMAND"))?;
        let command = split_words(command)?;
        if image.is_empty() || command.is_empty() {
            return Err(format!("{text:?}: expected NAME=COMMAND"));
        }
        Ok(ImageRule { image: image.to_owned(), command })
    }
}

impl ImageRule {
    fn fits(&self, image: &str) -> bool {
        let untagged = image.split_once('@').map_or(image, |(name, _)| name);
        let untagged = match untagged.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => name,
            _ => untagged,
        };
        let last = untagged.rsplit('/').next().unwrap_or(untagged);
        [image, untagged, last].contains(&self.image.as_str())
    }
}

/// What a container runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// This command.
    Command(Vec<String>),
    /// The stand-in application, with these ports as `outrigger stand-in --port` reads them.
    StandIn,
}

/// Decides for one container.
///
/// # Errors
/// When the container names neither an image nor a command.
pub fn choose(container: &Container, rules: &[ImageRule]) -> Result<Program, String> {
    let own: Vec<String> = container.command.iter().chain(&container.args).cloned().collect();
    if container.image.is_empty() && container.command.is_empty() {
        return Err(format!("container {:?} has no image: name one, or give it a command", container.name));
    }
    if let Some(rule) = rules.iter().find(|rule| rule.fits(&container.image)) {
        return Ok(Program::Command(rule.command.iter().chain(&container.args).cloned().collect()));
    }
    // An image without entry point takes its arguments as the command.
    match own.first() {
        Some(program) if exists(program) => Ok(Program::Command(own)),
        _ => Ok(Program::StandIn),
    }
}

/// Whether a program exists where an unprivileged user of the container would find it.
fn exists(program: &str) -> bool {
    let executable = |path: &Path| path.is_file() && path.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o001 != 0);
    if program.contains('/') {
        return program == PROGRAM || program.starts_with('/') && executable(Path::new(program));
    }
    program == "outrigger" || DEFAULT_PATH.split(':').any(|folder| executable(&Path::new(folder).join(program)))
}

/// Words separated by blanks; quotes keep blanks together.
fn split_words(text: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for letter in text.chars() {
        match quote {
            Some(open) if letter == open => quote = None,
            None if letter == '"' || letter == '\'' => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            None if letter.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    if quote.is_some() { Err(format!("{text:?}: a quote is not closed")) } else { Ok(words) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(image: &str, command: &[&str], args: &[&str]) -> Container {
        let texts = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        Container { image: image.into(), command: texts(command), args: texts(args), ..Container::default() }
    }

    fn command(words: &[&str]) -> Result<Program, String> {
        Ok(Program::Command(words.iter().map(ToString::to_string).collect()))
    }

    #[test]
    fn a_rule_applies_to_the_image_with_or_without_registry_and_tag() {
        let rules = ["httpbin=sleep '1 2'".parse::<ImageRule>().unwrap()];
        for image in ["httpbin", "httpbin:1.0", "docker.io:443/kong/httpbin", "docker.io/kong/httpbin@sha256:00"] {
            assert_eq!(choose(&container(image, &[], &[]), &rules), command(&["sleep", "1 2"]), "{image}");
        }
        assert_eq!(choose(&container("httpbin2", &[], &[]), &rules), Ok(Program::StandIn));
    }

    #[test]
    fn a_command_that_exists_here_is_run_and_others_are_stood_in_for() {
        assert_eq!(choose(&container("curl", &["/bin/sleep", "9"], &[]), &[]), command(&["/bin/sleep", "9"]));
        assert_eq!(choose(&container("busybox", &[], &["sleep", "9"]), &[]), command(&["sleep", "9"]));
        assert_eq!(choose(&container("app", &["/app/server"], &[]), &[]), Ok(Program::StandIn));
        assert_eq!(choose(&container("app", &[], &["--verbose"]), &[]), Ok(Program::StandIn));
    }

    #[test]
    fn a_container_without_image_and_command_is_an_error() {
        assert!(choose(&container("", &[], &[]), &[]).unwrap_err().contains("no image"));
    }

    #[test]
    fn a_rule_without_command_is_refused() {
        assert!("httpbin".parse::<ImageRule>().is_err());
        assert!("httpbin=".parse::<ImageRule>().is_err());
        assert!("httpbin='a".parse::<ImageRule>().is_err());
    }
}
