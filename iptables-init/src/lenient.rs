//! A command line written for another release: what is not known is left out and told, what is known still counts.

use clap::{Arg, Args as _, Command, FromArgMatches as _};

use crate::Args;

/// What is done with a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    /// A known flag. With `true` the next word is its value.
    Known(bool),
    /// An unknown flag. With `true` the next word is its value, unless that is a flag.
    Unknown(bool),
    /// No flag.
    Plain,
}

/// Parses what follows the command's name. Unknown flags and words that belong to no flag are left out and returned. By the rule of Istio's
/// own parser an unknown flag takes the next word with it unless that begins with a dash.
///
/// # Errors
/// For what is still wrong then, such as a known flag without its value; also for `--help`, whose text is the error's.
pub fn parse(words: Vec<String>) -> Result<(Args, Vec<String>), clap::Error> {
    let command = Command::new("istio-iptables").no_binary_name(true).about("Write, remove or show the capture rules");
    let mut command = Args::augment_args(command);
    command.build();
    let (known, ignored) = sort(&command, words);
    let matches = command.try_get_matches_from(known)?;
    Ok((Args::from_arg_matches(&matches)?, ignored))
}

/// The words the command knows, and the others, each in their order.
fn sort(command: &Command, words: Vec<String>) -> (Vec<String>, Vec<String>) {
    let (mut known, mut ignored) = (Vec::new(), Vec::new());
    let mut words = words.into_iter().peekable();
    while let Some(word) = words.next() {
        if word == "--" {
            ignored.extend(words);
            break;
        }
        let (place, takes_next) = match kind_of(command, &word) {
            Word::Known(takes_next) => (&mut known, takes_next),
            Word::Unknown(takes_next) => (&mut ignored, takes_next),
            Word::Plain => (&mut ignored, false),
        };
        place.push(word);
        place.extend(words.next_if(|next| takes_next && !is_flag(next)));
    }
    (known, ignored)
}

fn is_flag(word: &str) -> bool {
    word.len() > 1 && word.starts_with('-')
}

fn kind_of(command: &Command, word: &str) -> Word {
    if !is_flag(word) {
        return Word::Plain;
    }
    let Some(long) = word.strip_prefix("--") else { return kind_of_short(command, word) };
    let (name, has_value) = long.split_once('=').map_or((long, false), |(name, _)| (name, true));
    match command.get_arguments().find(|argument| argument.get_long() == Some(name)) {
        Some(argument) => Word::Known(takes_a_word(argument) && !has_value),
        None => Word::Unknown(!has_value),
    }
}

/// `-p`, `-p15001`, `-p=15001`, or several flags of one letter, of which only the last can take a value.
fn kind_of_short(command: &Command, word: &str) -> Word {
    let mut letters = word.chars().skip(1).peekable();
    while let Some(letter) = letters.next() {
        let ends = matches!(letters.peek(), None | Some('='));
        match command.get_arguments().find(|argument| argument.get_short() == Some(letter)) {
            Some(argument) if takes_a_word(argument) => return Word::Known(letters.peek().is_none()),
            Some(_) if ends => return Word::Known(false),
            Some(_) => {}
            None => return Word::Unknown(!word.contains('=')),
        }
    }
    Word::Known(false)
}

/// Booleans take a value behind `=` alone.
fn takes_a_word(argument: &Arg) -> bool {
    argument.get_action().takes_values() && !argument.is_require_equals_set()
}

#[cfg(test)]
mod tests;
