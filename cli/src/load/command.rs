//! The shape of `outrigger load`: a URL with options, or a subcommand with reports.

use std::process::ExitCode;

use clap::{ArgMatches, FromArgMatches, Subcommand};
use outrigger_loadtests::args::Args;

use super::{compare, html, merge};

/// Arguments of `outrigger load`: those of a run, or what to do with reports of earlier runs.
pub enum Load {
    /// A run.
    Run(Box<Args>),
    /// Work with reports.
    WithReports(WithReports),
}

/// What to do with reports.
#[derive(clap::Subcommand)]
pub enum WithReports {
    /// Make one report of several runs
    Merge(merge::Arguments),
    /// Say whether the runs of one side are faster than those of another
    Compare(compare::Arguments),
    /// Make an HTML page with plots of a report
    Html(html::Arguments),
}

impl WithReports {
    /// Does it. Ends with 1 when a demand was not met.
    ///
    /// # Errors
    /// Reports that cannot be read, pages that cannot be written.
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Merge(arguments) => merge::run(arguments),
            Self::Compare(arguments) => compare::run(arguments),
            Self::Html(arguments) => html::run(arguments),
        }
    }
}

/// A URL with its options, or a subcommand without: clap's derive has no word for this.
impl clap::Args for Load {
    fn augment_args(command: clap::Command) -> clap::Command {
        let command = WithReports::augment_subcommands(Args::augment_args(command));
        command.subcommand_required(false).arg_required_else_help(false).args_conflicts_with_subcommands(true).subcommand_negates_reqs(true)
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Load {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        match matches.subcommand_name() {
            Some(_) => WithReports::from_arg_matches(matches).map(Self::WithReports),
            None => Args::from_arg_matches(matches).map(Box::new).map(Self::Run),
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
