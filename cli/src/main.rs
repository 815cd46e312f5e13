//! `outrigger`: the one binary for every role. Each subcommand is a thin function in a file of its own; the work is in
//! the crate that owns the role.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod agent;
mod demo;
mod down;
mod exec;
mod failure;
mod help;
mod inject;
mod injector;
mod iptables;
mod load;
mod logs;
mod pod_exec;
mod proxy;
mod ps;
mod request;
mod running;
mod sidecar;
mod stand_in;
mod stdio;
mod sys;
mod table;
mod up;
mod version;
mod wait;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

/// A service-mesh data plane that understands Istio's API, its injector, a testbed and a load generator.
#[derive(Parser)]
#[command(name = "outrigger", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  outrigger demo                      run the shopfront and count its answers
  outrigger up -f examples/shopfront  run manifests on this machine, a network namespace per pod
  outrigger ps                        list the pods of a running `up`
  outrigger inject -f app.yaml        put the proxy into the pods of manifests
  outrigger load http://shop.local/   send requests and measure the answers";

#[derive(Subcommand)]
enum Command {
    /// Run the shopfront on this machine and count its answers
    Demo(demo::Args),
    /// Run manifests on this machine, a network namespace per pod, until Ctrl-C
    Up(up::Args),
    /// List the pods of a running `up`
    Ps(ps::Args),
    /// Print what a container has printed
    Logs(logs::Args),
    /// Run a command inside a pod
    Exec(exec::Args),
    /// End a running `up`, and remove what crashed ones left behind
    Down(down::Args),
    /// Put the proxy into the pods of manifests
    Inject(inject::command::Args),
    /// Take the proxy out of the pods of manifests
    Uninject(inject::uninject::Args),
    /// Say whether and why workloads would be injected in a cluster
    CheckInject(inject::check::Args),
    /// Write, remove or show the rules that redirect a pod's traffic into the proxy
    #[command(after_help = iptables::EXAMPLES)]
    Iptables(Box<outrigger_iptables_init::Args>),
    /// The same under Istio's name, ignoring flags it does not know
    #[command(name = "istio-iptables", hide = true, disable_help_flag = true)]
    IstioIptables(iptables::Lenient),
    /// Send requests, measure the answers and count who gave them
    #[command(after_help = outrigger_loadtests::args::EXAMPLES)]
    Load(Box<load::Load>),
    /// Put the proxy into pods as they are created: the cluster's admission webhook
    Injector(Box<injector::Args>),
    /// Become a process of a pod
    #[command(hide = true)]
    PodExec(outrigger_testbed::container::enter::PodExec),
    /// Serve as the data plane of one workload
    Proxy(proxy::ProxyArgs),
    /// Ask this pod's proxy something
    Request(request::RequestArgs),
    /// Say which version this is
    Version(version::VersionArgs),
    /// Wait until this pod's proxy is ready
    Wait(wait::WaitArgs),
    /// The sample application of `outrigger up`
    #[command(hide = true)]
    StandIn(outrigger_testbed::stand_in::Args),
}

fn main() -> ExitCode {
    let done = |outcome: anyhow::Result<()>| outcome.map(|()| ExitCode::SUCCESS);
    let (arguments, skipped) = agent::arguments(&Cli::command(), std::env::args_os());
    let matches = help::grouped(Cli::command()).get_matches_from(arguments);
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    skipped.iter().for_each(|flag| stdio::warn(&format!("outrigger: warning: {flag} is not known to this version and ignored")));
    let outcome = match cli.command {
        Command::Demo(args) => demo::run(&args),
        Command::Up(args) => done(up::run(args)),
        Command::Ps(args) => done(ps::run(args)),
        Command::Logs(args) => done(logs::run(args)),
        Command::Exec(args) => done(exec::run(args)),
        Command::Down(args) => done(down::run(args)),
        Command::Inject(args) => inject::command::run(&args),
        Command::Uninject(args) => inject::uninject::run(&args),
        Command::CheckInject(args) => inject::check::run(&args),
        Command::Iptables(args) => iptables::run(*args),
        Command::IstioIptables(lenient) => iptables::run_as_istio(lenient),
        Command::Injector(args) => done(injector::run(*args)),
        Command::Load(load) => Ok(load::run(&load)),
        Command::Proxy(args) => proxy::run(args),
        Command::Request(args) => request::run(&args),
        Command::Version(args) => version::run(&args),
        Command::Wait(args) => wait::run(&args),
        Command::StandIn(args) => stand_in::run(args).map(|()| ExitCode::SUCCESS),
        Command::PodExec(arguments) => pod_exec::run(arguments).map(|()| ExitCode::SUCCESS),
    };
    outcome.unwrap_or_else(|error| failure::report(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What clap asserts at the first use of a subcommand in a build for tests, and nowhere else, for all of them.
    #[test]
    fn no_subcommand_has_flags_that_contradict_each_other() {
        Cli::command().debug_assert();
    }
}
