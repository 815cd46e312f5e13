//! One family by the iptables programs.

use crate::rule::{Family, Rule};
use crate::settings::{Flavour, Options, Settings};
use crate::state::{Order, Ruleset, State};
use crate::tool::Tool;
use crate::undo::Undo;
use crate::{Error, detect, features, plan, render};

/// What is to happen in one family, decided before anything is changed.
pub(super) struct Work {
    tool: Tool,
    rules: Vec<Rule>,
    wanted: Ruleset,
    /// Everything that stands, ours or not, to be put back after a failure.
    saved: String,
    here: Ruleset,
    state: State,
}

/// Without usable ip6tables the pod is refused, unless it has no IPv6 address by which traffic could get past the proxy.
pub(super) fn look(settings: &Settings, options: &Options, flavour: Option<Flavour>, families: &[Family]) -> Result<Vec<Work>, Error> {
    let mut works = Vec::new();
    for family in families {
        match look_at(settings, options, flavour, *family) {
            Ok(work) => works.push(work),
            Err(error @ (Error::Missing { .. } | Error::Unusable { .. })) if *family == Family::V6 && !detect::has_ipv6_address() => {
                tracing::warn!("only IPv4 is captured; no IPv6 address is here now, and none must be added later: {error}");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(works)
}

fn look_at(settings: &Settings, options: &Options, flavour: Option<Flavour>, family: Family) -> Result<Work, Error> {
    let tool = detect::choose(family, flavour, options.lock())?;
    features::check(settings, tool)?;
    let rules = plan(settings, family);
    let wanted = Ruleset::wanted(&rules);
    let saved = tool.save()?;
    let here = Ruleset::parse(&saved);
    let state = here.compare(&wanted, order(settings));
    Ok(Work { tool, rules, wanted, saved, here, state })
}

fn order(settings: &Settings) -> Order {
    if settings.like_istio.unordered { Order::Ignored } else { Order::Counts }
}

impl Work {
    pub(super) fn tool(&self) -> Tool {
        self.tool
    }

    pub(super) fn needs_change(&self) -> bool {
        self.state != State::Same
    }

    pub(super) fn replaces(&self) -> bool {
        matches!(self.state, State::Different(_))
    }

    /// `iptables-restore` commits table by table.
    pub(super) fn is_one_transaction(&self) -> bool {
        let mut tables = self.here.tables(&self.wanted);
        tables.extend(self.rules.iter().map(|rule| rule.table));
        tables.sort();
        tables.dedup();
        tables.len() <= 1
    }

    pub(super) fn has_guard(&self) -> bool {
        self.here.has_guard()
    }

    pub(super) fn had_tproxy(&self) -> bool {
        self.here.has_tproxy()
    }

    /// Wanted rules of which only the first tables stand are not other rules: a first run was ended between two tables.
    pub(super) fn refuse_other_rules(&self, settings: &Settings) -> Result<(), Error> {
        match &self.state {
            State::Different(_) if self.here.is_beginning_of(&self.wanted, order(settings)) => Ok(()),
            State::Different(detail) => Err(Error::Different { place: self.tool.family.to_string(), detail: detail.clone() }),
            State::Absent | State::Same => Ok(()),
        }
    }

    /// Removes the old and adds the new in one batch. A batch of several tables can fail between them, so the way back is
    /// remembered first.
    pub(super) fn write(&self, settings: &Settings, undo: &mut Undo) -> Result<(), Error> {
        let (tool, saved, wanted) = (self.tool, self.saved.clone(), Ruleset::wanted(&plan(settings, self.tool.family)));
        undo.push(move || put_back(tool, &saved, &wanted));
        let batch = render::render_after(&self.rules, |table| self.here.removal(&self.wanted, table));
        tracing::info!("{}:\n{batch}", tool.program("restore"));
        tool.restore(&batch)
    }

    pub(super) fn verify(&self, settings: &Settings) -> Result<(), Error> {
        let place = self.tool.family.to_string();
        match Ruleset::parse(&self.tool.save()?).compare(&self.wanted, order(settings)) {
            State::Same => Ok(()),
            State::Absent => Err(Error::NotAsWritten { place, detail: "nothing stands".to_owned() }),
            State::Different(detail) => Err(Error::NotAsWritten { place, detail }),
        }
    }

    pub(super) fn log_final_state(&self) {
        match self.tool.save() {
            Ok(text) => tracing::info!("{} rules now:\n{text}", self.tool.family),
            Err(error) => tracing::warn!("{} rules were written but cannot be shown: {error}", self.tool.family),
        }
    }
}

/// Takes away what was written, then makes the tables what they were, other people's rules and their order included.
fn put_back(tool: Tool, saved: &str, wanted: &Ruleset) -> Result<(), Error> {
    let written = Ruleset::parse(&tool.save()?);
    let batch = render::render_after(&[], |table| written.removal(wanted, table));
    if !batch.is_empty() {
        tool.restore(&batch)?;
    }
    if Ruleset::parse(saved).is_absent() { Ok(()) } else { tool.restore_whole(saved) }
}
