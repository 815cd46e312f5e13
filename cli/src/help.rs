//! `outrigger --help`: the subcommands in groups, which clap has headings for only among options.

use clap::Command;
use clap::builder::StyledStr;

/// Every subcommand that is shown, under its heading.
const GROUPS: &[(&str, &[&str])] = &[
    ("Mesh", &["proxy", "inject", "uninject", "check-inject", "injector", "iptables", "request", "wait"]),
    ("This machine", &["demo", "up", "ps", "logs", "exec", "down"]),
    ("Load", &["load"]),
    ("About", &["version", "help"]),
];

/// What clap says of the subcommand that it adds once it parses.
const HELP: &str = "Print this message or the help of the given subcommand(s)";

/// The command with its help in groups.
pub fn grouped(command: Command) -> Command {
    let template = template(&command);
    command.help_template(template)
}

fn template(command: &Command) -> StyledStr {
    let styles = command.get_styles();
    let (header, literal) = (styles.get_header(), styles.get_literal());
    let width = GROUPS.iter().flat_map(|(_, names)| *names).map(|name| name.len()).max().unwrap_or(0);
    let mut text = String::from("{about-with-newline}\n{usage-heading} {usage}\n");
    for (heading, names) in GROUPS {
        text.push_str(&format!("\n{header}{heading}:{header:#}\n"));
        for name in *names {
            let about = command.find_subcommand(name).and_then(Command::get_about).map_or_else(|| HELP.to_owned(), ToString::to_string);
            text.push_str(&format!("  {literal}{name:width$}{literal:#}  {about}\n"));
        }
    }
    text.push_str(&format!("\n{header}Options:{header:#}\n{{options}}{{after-help}}"));
    text.into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_subcommand_that_is_not_hidden_stands_in_one_group_with_its_text() {
        let mut command = grouped(crate::Cli::command());
        command.build();
        let grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| *names).copied().collect();
        let shown: BTreeSet<String> =
            command.get_subcommands().filter(|command| !command.is_hide_set()).map(|command| command.get_name().to_owned()).collect();
        assert_eq!(grouped.len(), shown.len());
        assert_eq!(grouped.into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), shown);
        let help = command.render_help().to_string();
        let first = "A service-mesh data plane that understands Istio's API, its injector, a testbed and a load generator\n";
        assert!(help.starts_with(first), "{help}");
        assert_eq!(command.find_subcommand("help").and_then(Command::get_about).map(ToString::to_string).as_deref(), Some(HELP));
        assert!(help.contains("\nThis machine:\n  demo          Run the shopfront on this machine and count its answers\n"), "{help}");
        assert!(help.contains("\nLoad:\n  load          Send requests, measure the answers and count who gave them\n"), "{help}");
        assert!(help.contains("\nExamples:\n  outrigger demo "), "{help}");
    }
}
