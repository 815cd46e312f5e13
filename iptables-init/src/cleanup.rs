//! Removing everything of ours, whichever backend wrote it, and checking that it is gone.

use crate::address;
use crate::apply::remove_routes;
use crate::leftover::{self, Leftover};
use crate::netlink::Change;
use crate::rule::Family;
use crate::settings::{Backend, Flavour, Options, Settings};
use crate::tool::Tool;
use crate::{Error, Outcome, capability, detect};

/// Removes jumps, chains, tables, routes and the address `::6`: of every installed flavour of both families and of nftables, or of
/// the one that is forced. What is not there is no error.
///
/// # Errors
/// The forced flavour is not installed, or rules are still there afterwards.
pub fn clean_up(settings: &Settings, options: &Options) -> Result<Outcome, Error> {
    capability::check()?;
    // A run that detected IPv6 may have been followed by the loss of the address: both families are looked at.
    let families = detect::kernel_families();
    find(options, &families)?.iter().try_for_each(|leftover| {
        tracing::info!("removing the rules that {} shows", leftover.place());
        leftover.remove(settings)
    })?;
    if let Some(rest) = find(options, &families)?.first() {
        return Err(Error::Remains { place: rest.place(), detail: rest.text().replace('\n', "; ") });
    }
    remove_routes(settings, &families)?;
    if families.contains(&Family::V6) {
        address::passthrough_on_loopback(Change::Remove)?;
    }
    Ok(Outcome::CleanedUp)
}

fn find(options: &Options, families: &[Family]) -> Result<Vec<Leftover>, Error> {
    let mut found = Vec::new();
    if !matches!(options.backend, Backend::Iptables(Some(_))) {
        found.extend(leftover::in_nftables()?);
    }
    if let Backend::Iptables(forced) = options.backend {
        for family in families {
            found.extend(leftover::in_iptables(tools(*family, forced, options)?.into_iter())?);
        }
    }
    Ok(found)
}

fn tools(family: Family, forced: Option<Flavour>, options: &Options) -> Result<Vec<Tool>, Error> {
    let tool = |flavour| Tool { family, flavour, lock: options.lock() };
    let tools = match forced {
        None => detect::installed(family, options.lock()),
        Some(flavour) => Some(tool(flavour)).filter(|tool| tool.is_installed()).into_iter().collect(),
    };
    if tools.is_empty() && forced.is_some() {
        return Err(Error::Missing { family, wanted: tool(forced.unwrap_or(Flavour::Plain)).program("restore") });
    }
    Ok(tools)
}
