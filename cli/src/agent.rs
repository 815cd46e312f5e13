//! This program under Istio's names: pod specs and lifecycle hooks call an executable `pilot-agent`, and the init container
//! may call `istio-iptables` itself.
//!
//! A template newer than this program may pass flags that it does not know. Under these names they are skipped, by the rule
//! of pilot-agent's own parser: an unknown flag takes the next word with it unless that begins with a dash. Under its own name
//! the program refuses them, since there they are typing errors. Source: sidecar contract section 0.

use std::ffi::OsString;
use std::path::Path;

use clap::Command;

/// Subcommands that skip unknown flags by themselves.
const LENIENT: [&str; 2] = ["proxy", "istio-iptables"];

/// The command line that `command` is to parse, and the flags that were skipped.
pub fn arguments(command: &Command, words: impl IntoIterator<Item = OsString>) -> (Vec<OsString>, Vec<String>) {
    let mut words = words.into_iter();
    let Some(program) = words.next() else { return (Vec::new(), Vec::new()) };
    let name = Path::new(&program).file_name().unwrap_or_default().to_owned();
    match name.to_str() {
        Some("istio-iptables") => ([program, name].into_iter().chain(words).collect(), Vec::new()),
        Some("pilot-agent") => {
            let (kept, skipped) = as_agent(command, words.collect());
            (std::iter::once(program).chain(kept).collect(), skipped)
        }
        _ => (std::iter::once(program).chain(words).collect(), Vec::new()),
    }
}

fn as_agent(command: &Command, words: Vec<OsString>) -> (Vec<OsString>, Vec<String>) {
    let subcommand = |word: &OsString| word.to_str().and_then(|word| command.find_subcommand(word));
    let Some((position, sub)) = words.iter().enumerate().find_map(|(at, word)| Some((at, subcommand(word)?))) else {
        return (words, Vec::new());
    };
    let (before, after) = words.split_at(position);
    let asks_for_help = before.iter().any(|word| ["-h", "--help", "-V", "--version"].iter().any(|flag| word == flag));
    if asks_for_help {
        return (words, Vec::new());
    }
    let mut skipped: Vec<String> = before.iter().filter_map(flag_name).collect();
    if LENIENT.contains(&sub.get_name()) {
        return (after.to_vec(), skipped);
    }
    let mut kept = after.iter().take(1).cloned().collect();
    known(sub, after.get(1..).unwrap_or_default(), &mut kept, &mut skipped);
    (kept, skipped)
}

/// Sorts the words behind a subcommand into those that it knows and the flags that it does not.
fn known(command: &Command, words: &[OsString], kept: &mut Vec<OsString>, skipped: &mut Vec<String>) {
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        if word == "--" {
            kept.push(word.clone());
            return kept.extend(words.cloned());
        }
        let Some(name) = flag_name(word) else {
            kept.push(word.clone());
            continue;
        };
        let inline = word.to_string_lossy().contains('=');
        match takes_value(command, &name) {
            Some(takes_value) => {
                kept.push(word.clone());
                kept.extend(words.next_if(|_| takes_value && !inline).cloned());
            }
            None => {
                skipped.push(name);
                words.next_if(|next| !inline && flag_name(next).is_none());
            }
        }
    }
}

/// `--name` or `-n`, without a value behind `=`.
fn flag_name(word: &OsString) -> Option<String> {
    let text = word.to_str()?;
    let name = text.split('=').next().unwrap_or(text);
    (name.starts_with('-') && name.len() > 1).then(|| name.to_owned())
}

/// Whether a flag is followed by a value; `None` = the command has no such flag.
fn takes_value(command: &Command, flag: &str) -> Option<bool> {
    if ["--help", "-h"].contains(&flag) {
        return Some(false);
    }
    let matches = |argument: &&clap::Arg| match flag.strip_prefix("--") {
        Some(long) => argument.get_long() == Some(long),
        None => argument.get_short().is_some_and(|short| flag.chars().nth(1) == Some(short)),
    };
    let argument = command.get_arguments().find(matches)?;
    Some(argument.get_action().takes_values())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn sorted(line: &str) -> (String, Vec<String>) {
        let (kept, skipped) = arguments(&crate::Cli::command(), line.split(' ').map(OsString::from));
        let kept: Vec<String> = kept.into_iter().map(|word| word.into_string().expect("text")).collect();
        (kept.join(" "), skipped)
    }

    #[test]
    fn the_name_istio_iptables_is_the_subcommand() {
        let (kept, _) = sorted("/usr/local/bin/istio-iptables -p 15001 --brandNew");
        assert_eq!(kept, "/usr/local/bin/istio-iptables istio-iptables -p 15001 --brandNew");
    }

    #[test]
    fn as_pilot_agent_unknown_flags_are_skipped_with_their_values() {
        for (line, expected, skipped) in [
            ("pilot-agent wait", "pilot-agent wait", vec![]),
            ("pilot-agent wait --timeoutSeconds 5 --brandNew x", "pilot-agent wait --timeoutSeconds 5", vec!["--brandNew"]),
            (
                "pilot-agent request --brandNew=1 --debug-port=15020 POST drain",
                "pilot-agent request --debug-port=15020 POST drain",
                vec!["--brandNew"],
            ),
            ("pilot-agent request --last --debug-port 15020 GET a", "pilot-agent request --debug-port 15020 GET a", vec!["--last"]),
            ("pilot-agent --log_as_json proxy sidecar --brandNew", "pilot-agent proxy sidecar --brandNew", vec!["--log_as_json"]),
            ("pilot-agent exec a --new b -- ls --color", "pilot-agent exec a -- ls --color", vec!["--new"]),
            ("pilot-agent --help wait", "pilot-agent --help wait", vec![]),
            ("pilot-agent nonsense --x", "pilot-agent nonsense --x", vec![]),
        ] {
            assert_eq!(sorted(line), (expected.to_owned(), skipped.into_iter().map(str::to_owned).collect()), "{line}");
        }
    }

    #[test]
    fn under_its_own_name_nothing_is_skipped() {
        assert_eq!(sorted("outrigger wait --brandNew x"), ("outrigger wait --brandNew x".to_owned(), vec![]));
    }
}
