//! Writing the rules: look first, change only what must change, in as few transactions as there can be; look again, and take
//! everything back if anything failed.
//!
//! Where Istio's tool removes old rules and adds new ones in separate steps, the old and the new here change places in one
//! transaction per table, or with nftables in one altogether. Only where that is not enough (several tables, another backend's
//! rules) temporary rules drop everything meanwhile.

mod iptables;
mod nftables;

use crate::address;
use crate::guard::Guard;
use crate::leftover::Leftover;
use crate::netlink::Change;
use crate::routing;
use crate::rule::Family;
use crate::settings::{Backend, Options, Settings};
use crate::tool::Tool;
use crate::undo::Undo;
use crate::{Error, Outcome, capability, detect, leftover};

/// What stands and what is wanted, looked at before anything is changed.
struct Work {
    families: Vec<Family>,
    writer: Writer,
    leftovers: Vec<Leftover>,
}

enum Writer {
    Iptables(Vec<iptables::Work>),
    Native(nftables::Work),
}

/// Brings the namespace to exactly the rules of `settings`.
///
/// # Errors
/// Other rules of ours stand there and neither `--reconcile` nor `--force-apply` was given; or something is missing or fails. Then what
/// stood before stands again.
pub fn apply(settings: &Settings, options: &Options) -> Result<Outcome, Error> {
    capability::check()?;
    let work = look(settings, options)?;
    let resumes = work.has_guard();
    if resumes {
        tracing::warn!("a run was ended while its temporary rules dropped everything: what it began is finished now");
    } else if !options.reconcile && !options.force_apply {
        work.refuse_other_rules(settings)?;
    }
    let (mut undo, mut guard) = (Undo::default(), None);
    let result = change(&work, settings, options, &mut undo, &mut guard);
    if result.is_err() {
        undo.run();
    }
    // Half of an earlier run's rules are not to act alone.
    match guard {
        Some(guard) if resumes && result.is_err() => guard.keep(),
        guard => drop(guard),
    }
    work.release_locks();
    if result.is_ok() {
        work.log_final_state();
    }
    result
}

fn look(settings: &Settings, options: &Options) -> Result<Work, Error> {
    let families = detect::families(settings, options);
    match detect::backend(options) {
        Backend::Iptables(flavour) => {
            let works = iptables::look(settings, options, flavour, &families)?;
            let tools: Vec<Tool> = works.iter().map(iptables::Work::tool).collect();
            let leftovers = leftover::beside_iptables(&tools);
            Ok(Work { families: tools.iter().map(|tool| tool.family).collect(), writer: Writer::Iptables(works), leftovers })
        }
        Backend::Native => {
            let work = nftables::look(settings, &families)?;
            let leftovers = leftover::beside_nftables(&families, options.lock());
            Ok(Work { families, writer: Writer::Native(work), leftovers })
        }
    }
}

/// Everything that changes the machine, each step with its way back. Routes come before the rules that need them.
fn change(work: &Work, settings: &Settings, options: &Options, undo: &mut Undo, guard: &mut Option<Guard>) -> Result<Outcome, Error> {
    prepare(work, settings, undo)?;
    if !options.force_apply && !work.needs_change() && !work.has_guard() {
        return Ok(Outcome::AlreadyInPlace);
    }
    if work.needs_guard(settings, options) {
        *guard = Some(work.raise_guard()?);
    }
    work.write(settings, options, undo)?;
    for leftover in &work.leftovers {
        // A removal of several tables can fail between them.
        let as_it_was = leftover.clone();
        undo.push(move || as_it_was.put_back());
        leftover.remove(settings)?;
    }
    work.verify(settings)?;
    remove_stale_routes(work, settings)?;
    Ok(Outcome::Applied)
}

/// The address `::6` and the routes of TPROXY.
fn prepare(work: &Work, settings: &Settings, undo: &mut Undo) -> Result<(), Error> {
    if work.families.contains(&Family::V6) && address::passthrough_on_loopback(Change::Add)? {
        undo.push(|| address::passthrough_on_loopback(Change::Remove).map(drop));
    }
    let Some(tproxy) = settings.tproxy else { return Ok(()) };
    for family in work.families.iter().copied().filter(|family| *family == Family::V4 || !address::is_disabled()) {
        for part in routing::PARTS {
            if routing::change(tproxy, family, part, Change::Add)? {
                tracing::info!("{}", routing::command(tproxy, family, part));
                undo.push(move || routing::change(tproxy, family, part, Change::Remove).map(drop));
            }
        }
    }
    Ok(())
}

/// After a change from TPROXY to REDIRECT nothing bears the mark; what is left of its routing, under Istio's numbers, goes.
fn remove_stale_routes(work: &Work, settings: &Settings) -> Result<(), Error> {
    if settings.tproxy.is_none() && work.had_tproxy() {
        remove_routes(settings, &work.families)?;
    }
    Ok(())
}

/// Removes what TPROXY needs of routing, if it is there; what can be removed is, whatever happens to the rest.
///
/// # Errors
/// [`Error::Routing`] for the first part that could not.
pub(crate) fn remove_routes(settings: &Settings, families: &[Family]) -> Result<(), Error> {
    let tproxy = settings.tproxy.unwrap_or(crate::settings::Tproxy::DEFAULT);
    let mut result = Ok(());
    for family in families {
        for part in routing::PARTS.into_iter().rev() {
            result = result.and(routing::change(tproxy, *family, part, Change::Remove).map(drop));
        }
    }
    result
}

impl Work {
    fn refuse_other_rules(&self, settings: &Settings) -> Result<(), Error> {
        match &self.writer {
            Writer::Iptables(works) => works.iter().try_for_each(|work| work.refuse_other_rules(settings))?,
            Writer::Native(work) => work.refuse_other_rules()?,
        }
        match self.leftovers.first() {
            None => Ok(()),
            Some(leftover) => Err(Error::Different { place: leftover.place(), detail: "written by another backend".to_owned() }),
        }
    }

    fn needs_change(&self) -> bool {
        let differs = match &self.writer {
            Writer::Iptables(works) => works.iter().any(iptables::Work::needs_change),
            Writer::Native(work) => work.needs_change(),
        };
        differs || !self.leftovers.is_empty()
    }

    /// Whether an earlier run's temporary rules stand.
    fn has_guard(&self) -> bool {
        let here = match &self.writer {
            Writer::Iptables(works) => works.iter().any(iptables::Work::has_guard),
            Writer::Native(work) => work.has_guard(),
        };
        here || self.leftovers.iter().any(Leftover::has_guard)
    }

    /// Whether old rules would for a moment be gone, or mixed with the new ones.
    fn needs_guard(&self, settings: &Settings, options: &Options) -> bool {
        let (replaces, in_one) = match &self.writer {
            Writer::Iptables(works) => (works.iter().any(iptables::Work::replaces), works.iter().all(iptables::Work::is_one_transaction)),
            Writer::Native(work) => (work.replaces(), true),
        };
        let asked = settings.like_istio.guards && options.reconcile && (replaces || !self.leftovers.is_empty());
        asked || (replaces && !in_one) || !self.leftovers.is_empty() || self.has_guard()
    }

    fn raise_guard(&self) -> Result<Guard, Error> {
        match &self.writer {
            Writer::Iptables(works) => Guard::by_iptables(&works.iter().map(iptables::Work::tool).collect::<Vec<_>>()),
            Writer::Native(work) => Guard::by_nftables(work.nftables()),
        }
    }

    fn write(&self, settings: &Settings, options: &Options, undo: &mut Undo) -> Result<(), Error> {
        match &self.writer {
            Writer::Iptables(works) => {
                let needed = works.iter().filter(|work| options.force_apply || work.needs_change());
                needed.into_iter().try_for_each(|work| work.write(settings, undo))
            }
            Writer::Native(work) => work.write(undo),
        }
    }

    fn verify(&self, settings: &Settings) -> Result<(), Error> {
        match &self.writer {
            Writer::Iptables(works) => works.iter().try_for_each(|work| work.verify(settings)),
            Writer::Native(work) => work.verify(),
        }
    }

    fn had_tproxy(&self) -> bool {
        let here = match &self.writer {
            Writer::Iptables(works) => works.iter().any(iptables::Work::had_tproxy),
            Writer::Native(work) => work.had_tproxy(),
        };
        here || self.leftovers.iter().any(Leftover::has_tproxy)
    }

    fn log_final_state(&self) {
        match &self.writer {
            Writer::Iptables(works) => works.iter().for_each(iptables::Work::log_final_state),
            Writer::Native(work) => work.log_final_state(),
        }
    }

    fn release_locks(&self) {
        if let Writer::Iptables(works) = &self.writer {
            works.iter().for_each(|work| work.tool().lock.remove());
        }
    }
}
