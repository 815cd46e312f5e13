//! Writing the rules: look first, change only what must change, one transaction per table.
//!
//! Where Istio's tool removes old rules and adds new ones in separate steps (behind temporary rules that drop everything), the
//! old and the new here change places in one `iptables-restore` transaction, so nothing leaks and nothing is dropped.

use crate::address::{self, Change};
use crate::detect;
use crate::render;
use crate::rule::{Family, Rule};
use crate::settings::{Options, Settings};
use crate::state::{Ruleset, State};
use crate::tool::Tool;
use crate::{Error, Outcome, plan};

/// What is to happen in one family, decided before anything is changed.
struct Work {
    tool: Tool,
    rules: Vec<Rule>,
    wanted: Ruleset,
    here: Ruleset,
    state: State,
    /// Other flavours that hold rules of ours; both would act.
    elsewhere: Vec<(Tool, Ruleset)>,
}

/// Brings the namespace to exactly the rules of `settings`, in both families.
///
/// # Errors
/// Other rules of ours stand there and neither `--reconcile` nor `--force-apply` was given; or the programs are missing or fail.
pub fn apply(settings: &Settings, options: &Options) -> Result<Outcome, Error> {
    let works = look_everywhere(settings, options)?;
    if !options.reconcile && !options.force_apply {
        works.iter().try_for_each(refuse_other_rules)?;
    }
    if works.iter().any(|work| work.tool.family == Family::V6) {
        address::passthrough_on_loopback(Change::Add)?;
    }
    let mut outcome = Outcome::AlreadyInPlace;
    for work in works.iter().filter(|work| options.force_apply || work.needs_change()) {
        write(work)?;
        outcome = Outcome::Applied;
    }
    works.iter().for_each(|work| log_final_state(work.tool));
    Ok(outcome)
}

/// Without usable ip6tables the pod is refused, unless it has no IPv6 address by which traffic could get past the proxy.
fn look_everywhere(settings: &Settings, options: &Options) -> Result<Vec<Work>, Error> {
    let mut works = Vec::new();
    for family in detect::families() {
        match look(settings, options, family) {
            Ok(work) => works.push(work),
            Err(error @ (Error::Missing { .. } | Error::Unusable { .. })) if family == Family::V6 && !detect::has_ipv6_address() => {
                tracing::warn!("only IPv4 is captured; no IPv6 address is here now, and none must be added later: {error}");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(works)
}

fn look(settings: &Settings, options: &Options, family: Family) -> Result<Work, Error> {
    let tool = detect::choose(family, options.flavour)?;
    let rules = plan(settings, family);
    let wanted = Ruleset::wanted(&rules);
    let here = Ruleset::parse(&tool.save()?);
    let state = here.compare(&wanted);
    Ok(Work { tool, rules, wanted, here, state, elsewhere: elsewhere(tool)? })
}

/// Plain `iptables` shows what one of the named flavours shows, so it is compared with neither.
fn elsewhere(chosen: Tool) -> Result<Vec<(Tool, Ruleset)>, Error> {
    let mut found = Vec::new();
    for tool in detect::installed(chosen.family).into_iter().filter(|tool| *tool != chosen && !is_plain(chosen)) {
        let rules = Ruleset::parse(&tool.save()?);
        if !rules.is_absent() {
            found.push((tool, rules));
        }
    }
    Ok(found)
}

fn is_plain(tool: Tool) -> bool {
    tool.flavour == crate::settings::Flavour::Plain
}

impl Work {
    fn needs_change(&self) -> bool {
        self.state != State::Same || !self.elsewhere.is_empty()
    }
}

fn refuse_other_rules(work: &Work) -> Result<(), Error> {
    let family = work.tool.family;
    if let State::Different(detail) = &work.state {
        return Err(Error::Different { family, detail: detail.clone() });
    }
    match work.elsewhere.first() {
        None => Ok(()),
        Some((tool, _)) => Err(Error::Different { family, detail: format!("found by {}", tool.program("save")) }),
    }
}

/// New rules first, then what another flavour holds: for a moment both capture, to the same end.
fn write(work: &Work) -> Result<(), Error> {
    let batch = render::render_after(&work.rules, |table| work.here.removal(&work.wanted, table));
    tracing::info!("{}:\n{batch}", work.tool.program("restore"));
    work.tool.restore(&batch)?;
    for (tool, rules) in &work.elsewhere {
        tool.restore(&render::render_after(&[], |table| rules.removal(&work.wanted, table)))?;
    }
    Ok(())
}

fn log_final_state(tool: Tool) {
    match tool.save() {
        Ok(text) => tracing::info!("{} rules now:\n{text}", tool.family),
        Err(error) => tracing::warn!("{} rules were written but cannot be shown: {error}", tool.family),
    }
}
