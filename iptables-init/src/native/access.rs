//! Reading and writing nftables: by the program `nft` where there is one, since its messages are the better ones, else by the
//! kernel's own interface.

use std::fmt::Write as _;

use super::{Listing, kernel, program, text};
use crate::Error;
use crate::merge::Merged;
use crate::rule::Chain;

/// The table of temporary rules.
const GUARD: &str = "outrigger-guard";

/// The way there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nftables {
    Program,
    Kernel,
}

/// What our tables hold, in the form that the way of reading gives and takes back.
#[derive(Clone, Debug)]
pub(crate) enum Standing {
    Printed(String),
    Items(Vec<kernel::Item>),
}

impl Standing {
    /// For comparing.
    pub(crate) fn listing(&self) -> Listing {
        match self {
            Self::Printed(text) => Listing::parse(text),
            Self::Items(items) => kernel::listing(items),
        }
    }

    /// Whether inbound traffic is captured by TPROXY.
    pub(crate) fn has_tproxy(&self) -> bool {
        self.listing().has_chain(&Chain::IstioTproxy.native_name())
    }
}

impl Nftables {
    /// The better way that there is. Whether the kernel knows nftables shows when it is asked.
    pub(crate) fn here() -> Self {
        if program::is_installed() { Self::Program } else { Self::Kernel }
    }

    pub(crate) fn read(self) -> Result<Standing, Error> {
        match self {
            Self::Program => program::list().map(Standing::Printed),
            Self::Kernel => kernel::list().map(Standing::Items),
        }
    }

    /// Replaces everything of ours in one transaction.
    pub(crate) fn replace(self, rules: &[Merged]) -> Result<(), Error> {
        match self {
            Self::Program => program::load(&text::replacement(rules)),
            Self::Kernel => kernel::replace(rules),
        }
    }

    pub(crate) fn remove(self) -> Result<(), Error> {
        match self {
            Self::Program => program::load(&text::removal()),
            Self::Kernel => kernel::remove(),
        }
    }

    pub(crate) fn put_back(self, standing: &Standing) -> Result<(), Error> {
        match standing {
            Standing::Printed(text) => program::load(&(text::removal() + text)),
            Standing::Items(items) => kernel::put_back(items),
        }
    }

    /// Whether temporary rules of ours drop everything.
    pub(crate) fn has_guard(self) -> Result<bool, Error> {
        match self {
            Self::Program => program::has_table(GUARD),
            Self::Kernel => kernel::has_guard(),
        }
    }

    /// Drops all TCP and UDP.
    pub(crate) fn raise_guard(self) -> Result<(), Error> {
        if self == Self::Kernel {
            return kernel::raise_guard();
        }
        let mut text = format!("table inet {GUARD} {{\n");
        for hook in ["input", "forward", "output"] {
            let _ = writeln!(text, "chain {hook} {{\ntype filter hook {hook} priority -1\nmeta l4proto {{ tcp, udp }} drop\n}}");
        }
        program::load(&(text + "}\n"))
    }

    /// Lets them pass again.
    pub(crate) fn lower_guard(self) -> Result<(), Error> {
        match self {
            Self::Program => program::load(&format!("delete table inet {GUARD}\n")),
            Self::Kernel => kernel::lower_guard(),
        }
    }
}
