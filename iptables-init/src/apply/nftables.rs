//! Both families by nftables itself.

use crate::merge::{Merged, merge};
use crate::native::{Listing, program, text};
use crate::rule::{Chain, Family};
use crate::settings::Settings;
use crate::state::State;
use crate::undo::Undo;
use crate::{Error, native};

/// What is to happen, decided before anything is changed.
pub(super) struct Work {
    rules: Vec<Merged>,
    wanted: Listing,
    /// Our tables as they stand.
    printed: String,
    state: State,
}

pub(super) fn look(settings: &Settings, families: &[Family]) -> Result<Work, Error> {
    if !program::is_installed() {
        return Err(Error::NoNftables);
    }
    let rules = merge(settings, families);
    let wanted = Listing::wanted(&rules);
    let printed = program::list()?;
    let state = Listing::parse(&printed).compare(&wanted);
    Ok(Work { rules, wanted, printed, state })
}

impl Work {
    pub(super) fn needs_change(&self) -> bool {
        self.state != State::Same
    }

    pub(super) fn replaces(&self) -> bool {
        matches!(self.state, State::Different(_))
    }

    pub(super) fn had_tproxy(&self) -> bool {
        self.printed.contains(&Chain::IstioTproxy.native_name())
    }

    pub(super) fn refuse_other_rules(&self) -> Result<(), Error> {
        match &self.state {
            State::Different(detail) => Err(Error::Different { place: "nftables".to_owned(), detail: detail.clone() }),
            State::Absent | State::Same => Ok(()),
        }
    }

    pub(super) fn write(&self, undo: &mut Undo) -> Result<(), Error> {
        let batch = text::replacement(&self.rules);
        tracing::info!("nft -f:\n{batch}");
        program::load(&batch)?;
        let printed = self.printed.clone();
        undo.push(move || program::load(&(native::text::removal() + &printed)));
        Ok(())
    }

    pub(super) fn verify(&self) -> Result<(), Error> {
        let place = || "nftables".to_owned();
        match Listing::parse(&program::list()?).compare(&self.wanted) {
            State::Same => Ok(()),
            State::Absent => Err(Error::NotAsWritten { place: place(), detail: "nothing stands".to_owned() }),
            State::Different(detail) => Err(Error::NotAsWritten { place: place(), detail }),
        }
    }

    pub(super) fn log_final_state(&self) {
        match program::list() {
            Ok(text) => tracing::info!("nftables rules now:\n{text}"),
            Err(error) => tracing::warn!("nftables rules were written but cannot be shown: {error}"),
        }
    }
}
