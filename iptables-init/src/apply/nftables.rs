//! Both families by nftables itself.

use crate::Error;
use crate::merge::{Merged, merge};
use crate::native::{Listing, Nftables, Standing, text};
use crate::rule::Family;
use crate::settings::Settings;
use crate::state::State;
use crate::undo::Undo;

/// What is to happen, decided before anything is changed.
pub(super) struct Work {
    rules: Vec<Merged>,
    wanted: Listing,
    nftables: Nftables,
    /// Our tables as they stand.
    here: Standing,
    has_guard: bool,
    state: State,
}

pub(super) fn look(settings: &Settings, families: &[Family]) -> Result<Work, Error> {
    let (rules, nftables) = (merge(settings, families), Nftables::here());
    let wanted = Listing::wanted(&rules);
    let here = nftables.read()?;
    let state = here.listing().compare(&wanted);
    let has_guard = nftables.has_guard()?;
    Ok(Work { rules, wanted, nftables, here, has_guard, state })
}

impl Work {
    pub(super) fn needs_change(&self) -> bool {
        self.state != State::Same
    }

    pub(super) fn replaces(&self) -> bool {
        matches!(self.state, State::Different(_))
    }

    pub(super) fn has_guard(&self) -> bool {
        self.has_guard
    }

    pub(super) fn had_tproxy(&self) -> bool {
        self.here.has_tproxy()
    }

    pub(super) fn nftables(&self) -> Nftables {
        self.nftables
    }

    pub(super) fn refuse_other_rules(&self) -> Result<(), Error> {
        match &self.state {
            State::Different(detail) => Err(Error::Different { place: "nftables".to_owned(), detail: detail.clone() }),
            State::Absent | State::Same => Ok(()),
        }
    }

    pub(super) fn write(&self, undo: &mut Undo) -> Result<(), Error> {
        tracing::info!("nftables:\n{}", text::replacement(&self.rules));
        self.nftables.replace(&self.rules)?;
        let (nftables, here) = (self.nftables, self.here.clone());
        undo.push(move || nftables.put_back(&here));
        Ok(())
    }

    pub(super) fn verify(&self) -> Result<(), Error> {
        let place = || "nftables".to_owned();
        match self.nftables.read()?.listing().compare(&self.wanted) {
            State::Same => Ok(()),
            State::Absent => Err(Error::NotAsWritten { place: place(), detail: "nothing stands".to_owned() }),
            State::Different(detail) => Err(Error::NotAsWritten { place: place(), detail }),
        }
    }

    pub(super) fn log_final_state(&self) {
        match self.nftables.read() {
            Ok(standing) => tracing::info!("nftables rules now:\n{}", standing.listing()),
            Err(error) => tracing::warn!("nftables rules were written but cannot be shown: {error}"),
        }
    }
}
