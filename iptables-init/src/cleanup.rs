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
/// the one that is forced. What is not there is no error, nor is a flavour that this kernel does not have. A failure does not keep
/// the rest from being removed.
///
/// # Errors
/// The forced flavour is not installed, nothing at all can be listed, a removal failed (the first is returned, all are logged), or rules
/// are still there afterwards.
pub fn clean_up(settings: &Settings, options: &Options) -> Result<Outcome, Error> {
    capability::check()?;
    // A run that detected IPv6 may have been followed by the loss of the address: both families are looked at.
    let families = detect::kernel_families();
    let mut failures = Vec::new();
    for leftover in find(options, &families)? {
        tracing::info!("removing the rules that {} shows", leftover.place());
        failures.extend(leftover.remove(settings).err());
    }
    let rest = find(options, &families)?;
    failures.extend(rest.iter().map(|rest| Error::Remains { place: rest.place(), detail: rest.text().replace('\n', "; ") }));
    failures.extend(remove_routes(settings, &families).err());
    if families.contains(&Family::V6) {
        failures.extend(address::passthrough_on_loopback(Change::Remove).err());
    }
    failures.iter().for_each(|failure| tracing::error!("cleaning up: {failure}"));
    failures.into_iter().next().map_or(Ok(Outcome::CleanedUp), Err)
}

fn find(options: &Options, families: &[Family]) -> Result<Vec<Leftover>, Error> {
    let mut listings = Vec::new();
    if !matches!(options.backend, Backend::Iptables(Some(_))) {
        listings.push(leftover::in_nftables());
    }
    if let Backend::Iptables(forced) = options.backend {
        for family in families {
            listings.extend(tools(*family, forced, options)?.into_iter().map(leftover::in_iptables));
        }
    }
    let is_forced = options.backend != Backend::Iptables(None);
    if is_forced || listings.iter().all(Result::is_err) {
        return listings.into_iter().filter_map(Result::transpose).collect();
    }
    Ok(listings.into_iter().filter_map(listed).collect())
}

fn listed(listing: Result<Option<Leftover>, Error>) -> Option<Leftover> {
    listing.unwrap_or_else(|error| {
        tracing::warn!("not cleaned up, since it cannot be listed: {error}");
        None
    })
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
