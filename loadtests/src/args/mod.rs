//! The command line of `outrigger load`.

mod fit;
mod parse;
mod plan;
mod reverse;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use http::{HeaderName, HeaderValue, Method};

pub use self::parse::{Rate, Stages, duration as parse_duration};
use crate::{connect::Resolve, demands::Demands, plan::CountBy, schedule::Arrivals, slo::Slo};

/// What to try after reading the options.
pub const EXAMPLES: &str = "\
Examples:
  outrigger load http://shop/ -c 64 -d 30s           as fast as it goes, 64 requests in flight
  outrigger load http://shop/ -q 1000 -c 64 -d 30s   1000 a second, whatever the answers do
  outrigger load http://shop/ --ramp 100..2000:1m    from 100 to 2000 a second within a minute
  outrigger load http://shop/ --find-max 'p99<5ms,errors<0.1%'
  outrigger load http://shop/ -n 1000 --expect v1=90,v2=10 --tolerance 1
  outrigger load http://shop.example.com/ --connect 10.0.0.7:80 --count-by header:x-pod
  outrigger load https://a/ https://b/ --weights 3,1 --http2 --cacert ca.pem
  outrigger load http://shop/pay --data-file order.json -H 'content-type: application/json'
  outrigger exec POD -- outrigger load http://shop/ -q 100
  outrigger load http://shop/ -q 500 --html report.html -o json > run.json
  outrigger load compare a1.json,a2.json,a3.json b1.json,b2.json,b3.json

-q decides how latency is measured. With a rate, requests are due at times fixed
beforehand, and each latency counts from when its request was due, also when the
server stalled and the request had to wait for a connection: nothing is omitted.
The time from sending alone stands beside it as raw. Without a rate (-q max) each
connection sends its next request as soon as the last is answered; then the two
are the same.

Exit status: 0; 1 when a demand was not met or nothing was answered; 2 when the
options or the target are unusable. Ctrl-C ends a run early, with its report.
docs/load.md explains every figure, and names the options of other generators.";

/// Arguments of `outrigger load`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Where to: http, https, ws or tcp://HOST[:PORT][/PATH]; several take turns
    #[arg(required = true, value_name = "URL")]
    pub urls: Vec<String>,
    /// How much, how fast.
    #[command(flatten)]
    pub amount: AmountArgs,
    /// Which rate, if it is to be found out.
    #[command(flatten)]
    pub search: SearchArgs,
    /// What to send.
    #[command(flatten)]
    pub request: RequestArgs,
    /// Over what.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// TLS.
    #[command(flatten)]
    pub tls: TlsArgs,
    /// What to count and keep.
    #[command(flatten)]
    pub answers: AnswerArgs,
    /// What has to hold.
    #[command(flatten)]
    pub demands: Demands,
    /// Life beside a proxy.
    #[command(flatten)]
    pub sidecar: SidecarArgs,
    /// Write the report also as one HTML file with plots
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub html: Option<PathBuf>,
    /// Output format
    #[arg(short = 'o', long, value_enum, default_value = "text", help_heading = "Output")]
    pub output: Output,
}

/// How much, how fast.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Load")]
pub struct AmountArgs {
    /// Send for so long, such as 500ms, 10s or 2m [default: 10s, if no other option says how much]
    #[arg(short = 'd', long, short_alias = 'z', value_parser = parse::some_duration, value_name = "TIME")]
    pub duration: Option<Duration>,
    /// Send so many requests, such as 500 or 20k; with -d, whichever ends first
    #[arg(short = 'n', long, value_parser = parse::requests, value_name = "N")]
    pub requests: Option<u64>,
    /// Requests in flight at a time, each over its own connection unless they share HTTP/2 connections [default: 10; 64 with
    /// --find-max]
    #[arg(short = 'c', long, value_parser = at_least_one, value_name = "N")]
    pub concurrency: Option<usize>,
    /// Requests per second on a fixed schedule, such as 500 or 20k; max: each as soon as the last is answered
    #[arg(
        short = 'q', long, visible_alias = "qps", short_alias = 'R', allow_negative_numbers = true,
        default_value = "max", value_parser = parse::rate, value_name = "N|max"
    )]
    pub rate: Rate,
    /// Rates that change evenly, one stretch after the other, such as 0..1000:30s,1000..1000:1m
    #[arg(long, value_parser = parse::ramp, value_name = "FROM..TO:TIME,...", conflicts_with_all = ["rate", "duration", "steps"])]
    pub ramp: Option<Stages>,
    /// Rates one after the other, each for TIME, such as 100,200,400:10s
    #[arg(long, value_parser = parse::steps, value_name = "N,...:TIME", conflicts_with_all = ["rate", "duration"])]
    pub steps: Option<Stages>,
    /// Distances between requests vary: uniform keeps each within its own, poisson is as of many independent users
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "uniform", value_name = "KIND")]
    pub jitter: Option<Arrivals>,
    /// Send for so long before anything is counted
    #[arg(long, value_parser = parse_duration, default_value = "0s", value_name = "TIME")]
    pub warmup: Duration,
    /// Weights of the URLs in their order; exactly kept, not by chance
    #[arg(long, value_delimiter = ',', value_name = "N,...")]
    pub weights: Vec<u32>,
    /// Threads to send from [default: one per core]
    #[arg(long, value_parser = at_least_one, value_name = "N")]
    pub threads: Option<usize>,
    /// A request without a complete answer so long after sending is an error
    #[arg(long, value_parser = parse::some_duration, default_value = "10s", value_name = "TIME")]
    pub timeout: Duration,
    /// Once stopped (Ctrl-C), wait so long for answers still to come
    #[arg(long, value_parser = parse_duration, default_value = "2s", value_name = "TIME")]
    pub patience: Duration,
}

/// The search for the highest rate.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Search")]
pub struct SearchArgs {
    /// Find the highest rate that meets an objective, such as p99<5ms,errors<0.1%; begins at -q, or at 100
    #[arg(long, value_parser = parse::limits, value_name = "METRIC<LIMIT,...", conflicts_with_all = ["ramp", "steps", "requests", "duration", "slo", "expect", "expect_round_robin", "answers"])]
    pub find_max: Option<Slo>,
    /// Length of each probe
    #[arg(long, value_parser = parse::some_duration, default_value = "5s", requires = "find_max", value_name = "TIME")]
    pub probe: Duration,
    /// Stop when the highest good and the lowest bad rate are so close
    #[arg(long, value_parser = parse::percent, default_value = "5%", requires = "find_max", value_name = "PERCENT")]
    pub precision: f64,
    /// Try no higher rate [default: 1000000, or -q where that is more]
    #[arg(long, value_parser = parse::rate, requires = "find_max", value_name = "N")]
    pub max_rate: Option<Rate>,
}

/// What to send.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Request")]
pub struct RequestArgs {
    /// Method [default: GET, with a body POST]
    #[arg(short = 'X', long, short_alias = 'm')]
    pub method: Option<Method>,
    /// Header, repeatable
    #[arg(short = 'H', long = "header", value_parser = parse::header, value_name = "NAME: VALUE")]
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Host header (HTTP/2: authority) instead of the URL's
    #[arg(long, value_parser = parse::host, value_name = "HOST[:PORT]")]
    pub host: Option<String>,
    /// Body; with tcp URLs the line to send, its end is added if it has none
    #[arg(long, aliases = ["body", "payload"], value_name = "TEXT")]
    pub data: Option<String>,
    /// Body from a file, or from standard input (-)
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    pub data_file: Option<PathBuf>,
    /// Unary gRPC call: the body is the message, grpc-status the outcome; the URL's path is /SERVICE/METHOD
    #[arg(long)]
    pub grpc: bool,
    /// With tcp URLs: keep the connection and expect each body back, instead of one line per connection
    #[arg(long)]
    pub tcp_echo: bool,
}

/// Connections.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Connections")]
pub struct ConnectionArgs {
    /// HTTP/2, by ALPN over TLS and with prior knowledge otherwise
    #[arg(long)]
    pub http2: bool,
    /// HTTP/2 connections for -c requests in flight to share [default: one per thread]
    #[arg(long, value_parser = at_least_one, value_name = "N")]
    pub connections: Option<usize>,
    /// A new connection for every request
    #[arg(long, visible_alias = "no-keepalive", alias = "disable-keepalive")]
    pub new_connections: bool,
    /// A new connection after so many requests
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..), value_name = "N")]
    pub requests_per_connection: Option<u64>,
    /// Connect here, whatever the URL's host and port
    #[arg(long, value_parser = parse::address, value_name = "ADDRESS:PORT")]
    pub connect: Option<SocketAddr>,
    /// Connect to this address for this host (or *) and port, repeatable
    #[arg(long, value_name = "HOST:PORT:ADDRESS")]
    pub resolve: Vec<Resolve>,
    /// Connect to this unix socket
    #[arg(long, value_name = "PATH", conflicts_with = "connect")]
    pub unix_socket: Option<PathBuf>,
    /// Time for TCP, and as much again for TLS
    #[arg(long, value_parser = parse::some_duration, default_value = "3s", value_name = "TIME")]
    pub connect_timeout: Duration,
    /// Connect when a request needs it, not before the first; a target that cannot be reached is then counted, not refused
    #[arg(long)]
    pub lazy_connect: bool,
}

/// TLS of https URLs.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "TLS")]
pub struct TlsArgs {
    /// Roots to trust, in PEM [default: this machine's]
    #[arg(long, value_name = "FILE")]
    pub cacert: Option<PathBuf>,
    /// Certificate chain to show, in PEM
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// Its private key, in PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// Accept any server certificate
    #[arg(short = 'k', long)]
    pub insecure: bool,
    /// Server name to ask for and to verify instead of the URL's host
    #[arg(long, value_name = "NAME")]
    pub sni: Option<String>,
}

/// What to count and keep.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Answers")]
pub struct AnswerArgs {
    /// Count the answers also by header:NAME, header:NAME~REGEX or body:REGEX, repeatable
    #[arg(long, alias = "count", value_name = "PROPERTY")]
    pub count_by: Vec<CountBy>,
    /// Keep every answer in the JSON
    #[arg(long)]
    pub answers: bool,
    /// Keep response headers with the answers
    #[arg(long, requires = "answers")]
    pub keep_headers: bool,
    /// Keep response bodies with the answers
    #[arg(long, requires = "answers")]
    pub keep_bodies: bool,
}

/// Life beside a proxy, as in a Job.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Sidecar")]
pub struct SidecarArgs {
    /// Before anything is sent, wait until this pod's proxy is ready, at most TIME (60s if not given)
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "60s", value_parser = parse::some_duration, value_name = "TIME", env = "OUTRIGGER_LOAD_WAIT_FOR_PROXY")]
    pub wait_for_proxy: Option<Duration>,
    /// At the end, tell this pod's proxy to end, so that a Job's pod completes
    #[arg(long, env = "OUTRIGGER_LOAD_QUIT_PROXY")]
    pub quit_proxy: bool,
}

/// How a report is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// Tables for people.
    Text,
    /// One JSON object, described by docs/load.schema.json.
    Json,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| format!("{text:?}: expected a number of at least 1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Load {
        #[command(flatten)]
        _args: Args,
    }

    #[test]
    fn help_fits_a_terminal_and_explains_itself_in_words_of_users() {
        use clap::CommandFactory;
        let wide = EXAMPLES.lines().find(|line| line.chars().count() > 96);
        assert_eq!(wide, None, "clap breaks lines at 100 columns");
        let help = Load::command().render_long_help().to_string();
        assert!(!help.contains("crate::") && !help.contains("[`"), "{help}");
    }
}
