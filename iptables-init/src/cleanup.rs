//! Removing everything of ours, whichever flavour wrote it, and checking that it is gone.

use crate::address::{self, Change};
use crate::detect;
use crate::render;
use crate::rule::Family;
use crate::settings::{Flavour, Options, Settings};
use crate::state::Ruleset;
use crate::tool::Tool;
use crate::{Error, Outcome, plan};

/// Removes jumps, chains and the address `::6` from every installed flavour (or the forced one) of both families. Rules that
/// are not there are no error.
///
/// # Errors
/// No iptables is installed, or rules are still there afterwards.
pub fn clean_up(settings: &Settings, options: &Options) -> Result<Outcome, Error> {
    for family in detect::families() {
        let tools = tools(family, options.flavour);
        if tools.is_empty() {
            return Err(Error::Missing { family, wanted: Tool { family, flavour: Flavour::Plain }.program("restore") });
        }
        let wanted = Ruleset::wanted(&plan(settings, family));
        tools.into_iter().try_for_each(|tool| remove(tool, &wanted))?;
        if family == Family::V6 {
            address::passthrough_on_loopback(Change::Remove)?;
        }
    }
    Ok(Outcome::CleanedUp)
}

fn tools(family: Family, forced: Option<Flavour>) -> Vec<Tool> {
    match forced {
        None => detect::installed(family),
        Some(flavour) => Some(Tool { family, flavour }).filter(|tool| tool.is_installed()).into_iter().collect(),
    }
}

fn remove(tool: Tool, wanted: &Ruleset) -> Result<(), Error> {
    let batch = removal(&Ruleset::parse(&tool.save()?), wanted);
    if batch.is_empty() {
        return Ok(());
    }
    tracing::info!("{}:\n{batch}", tool.program("restore"));
    tool.restore(&batch)?;
    let rest = removal(&Ruleset::parse(&tool.save()?), wanted);
    if rest.is_empty() { Ok(()) } else { Err(Error::Remains { family: tool.family, detail: rest.replace('\n', "; ") }) }
}

fn removal(found: &Ruleset, wanted: &Ruleset) -> String {
    render::render_after(&[], |table| found.removal(wanted, table))
}
