//! Rules of ours that another backend wrote: the other iptables flavour, or nftables. Both would act at once.

use crate::native::{Nftables, Standing};
use crate::plan::plan;
use crate::render;
use crate::rule::Family;
use crate::settings::{Flavour, Settings};
use crate::state::Ruleset;
use crate::tool::{Lock, Tool};
use crate::{Error, detect, guard};

/// What one other backend holds.
#[derive(Clone, Debug)]
pub(crate) enum Leftover {
    Iptables { tool: Tool, saved: String },
    Native { nftables: Nftables, standing: Standing, has_guard: bool },
}

/// What stands anywhere but in `chosen`. Plain `iptables` shows what one of the named flavours shows, so beside it neither is looked at.
pub(crate) fn beside_iptables(chosen: &[Tool]) -> Vec<Leftover> {
    let mut found = Vec::new();
    for tool in chosen.iter().filter(|tool| tool.flavour != Flavour::Plain) {
        let others = detect::installed(tool.family, tool.lock).into_iter().filter(|other| other != tool);
        found.extend(others.filter_map(|other| or_empty(&other.program("save"), in_iptables(other))));
    }
    found.extend(or_empty("nftables", in_nftables()));
    found
}

/// What stands in any iptables flavour.
pub(crate) fn beside_nftables(families: &[Family], lock: Lock) -> Vec<Leftover> {
    let tools = families.iter().flat_map(|family| detect::installed(*family, lock));
    tools.filter_map(|tool| or_empty(&tool.program("save"), in_iptables(tool))).collect()
}

/// A backend that was not chosen and cannot be listed holds nothing: the kernel lacks what it needs, and then no rule of it acts either.
fn or_empty(place: &str, listed: Result<Option<Leftover>, Error>) -> Option<Leftover> {
    listed.unwrap_or_else(|error| {
        tracing::warn!("rules that {place} may show are not looked for: {error}");
        None
    })
}

/// What stands in this flavour.
///
/// # Errors
/// The program fails.
pub(crate) fn in_iptables(tool: Tool) -> Result<Option<Leftover>, Error> {
    let saved = tool.save()?;
    let rules = Ruleset::parse(&saved);
    Ok((!rules.is_absent() || rules.has_guard()).then_some(Leftover::Iptables { tool, saved }))
}

/// What stands in nftables. A kernel that cannot be asked holds nothing.
///
/// # Errors
/// The program fails.
pub(crate) fn in_nftables() -> Result<Option<Leftover>, Error> {
    let nftables = Nftables::here();
    match nftables.read() {
        Ok(standing) => {
            let has_guard = nftables.has_guard()?;
            Ok((has_guard || !standing.listing().is_empty()).then_some(Leftover::Native { nftables, standing, has_guard }))
        }
        Err(Error::Nftables(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Leftover {
    /// Where it was found, for people.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::Iptables { tool, .. } => tool.program("save"),
            Self::Native { .. } => "nftables".to_owned(),
        }
    }

    /// All of it, for people.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Iptables { saved, .. } => saved.clone(),
            Self::Native { standing, has_guard: false, .. } => standing.listing().to_string(),
            Self::Native { standing, has_guard: true, .. } => format!("{}temporary rules that drop everything", standing.listing()),
        }
    }

    pub(crate) fn has_tproxy(&self) -> bool {
        match self {
            Self::Iptables { saved, .. } => Ruleset::parse(saved).has_tproxy(),
            Self::Native { standing, .. } => standing.has_tproxy(),
        }
    }

    /// Whether temporary rules that drop everything are among them.
    pub(crate) fn has_guard(&self) -> bool {
        match self {
            Self::Iptables { saved, .. } => Ruleset::parse(saved).has_guard(),
            Self::Native { has_guard, .. } => *has_guard,
        }
    }

    pub(crate) fn remove(&self, settings: &Settings) -> Result<(), Error> {
        match self {
            Self::Iptables { tool, saved } => {
                let wanted = Ruleset::wanted(&plan(settings, tool.family));
                let rules = Ruleset::parse(saved);
                let batch = render::render_after(&[], |table| rules.removal(&wanted, table));
                if !batch.is_empty() {
                    tool.restore(&batch)?;
                }
                guard::lower(*tool)
            }
            Self::Native { nftables, has_guard, .. } => {
                nftables.remove()?;
                if *has_guard { nftables.lower_guard() } else { Ok(()) }
            }
        }
    }

    pub(crate) fn put_back(&self) -> Result<(), Error> {
        match self {
            Self::Iptables { tool, saved } => tool.restore_whole(saved),
            Self::Native { nftables, standing, .. } => nftables.put_back(standing),
        }
    }
}
