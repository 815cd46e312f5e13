//! A command line written for another release: what is not known is left out and told, what is known still counts.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args as _, Command, FromArgMatches as _};

use crate::Args;

/// Parses what follows the command's name. Unknown arguments are dropped one by one and returned; a value that followed one is
/// then unknown as well.
///
/// # Errors
/// For what is still wrong then, such as a known flag without its value; also for `--help`, whose text is the error's.
pub fn parse(mut arguments: Vec<String>) -> Result<(Args, Vec<String>), clap::Error> {
    let mut ignored = Vec::new();
    loop {
        let command =
            Args::augment_args(Command::new("istio-iptables").no_binary_name(true)).about("Write, remove or show the capture rules");
        let error = match command.try_get_matches_from(&arguments) {
            Ok(matches) => return Ok((Args::from_arg_matches(&matches)?, ignored)),
            Err(error) => error,
        };
        match unknown(&error).and_then(|name| arguments.iter().position(|argument| is(argument, &name))) {
            Some(position) => ignored.push(arguments.remove(position)),
            None => return Err(error),
        }
    }
}

fn unknown(error: &clap::Error) -> Option<String> {
    match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, Some(ContextValue::String(name))) => Some(name.clone()),
        _ => None,
    }
}

fn is(argument: &str, name: &str) -> bool {
    argument.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('=') || !name.starts_with("--"))
}

#[cfg(test)]
mod tests;
