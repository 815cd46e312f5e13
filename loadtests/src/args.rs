//! The command line of `outrigger load`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use http::{HeaderName, HeaderValue, Method};

use crate::{
    demands::Demands,
    plan::{Amount, CountBy, Plan, Tls},
};

/// Arguments of `outrigger load`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// http, https, ws or tcp://HOST[:PORT][/PATH]
    pub url: String,
    /// Number of requests
    #[arg(short = 'n', long, default_value_t = 100, value_name = "N")]
    pub requests: u64,
    /// Send for so long instead, such as 500ms, 10s or 2m
    #[arg(long, value_parser = parse_duration, value_name = "TIME")]
    pub duration: Option<Duration>,
    /// Requests in flight at a time
    #[arg(short = 'c', long, default_value_t = 1, value_name = "N")]
    pub concurrency: usize,
    /// Start at most so many requests per second
    #[arg(long, value_name = "PER-SECOND")]
    pub rate: Option<f64>,
    /// Connect here instead of to the URL's host and port
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub connect: Option<SocketAddr>,
    /// Host header (HTTP/2: authority) instead of the URL's
    #[arg(long)]
    pub host: Option<String>,
    /// HTTP/2, with prior knowledge where there is no TLS
    #[arg(long)]
    pub http2: bool,
    /// HTTP/2 connections to share
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub connections: usize,
    /// A new connection for every request
    #[arg(long)]
    pub new_connections: bool,
    /// Send the body as a gRPC message
    #[arg(long)]
    pub grpc: bool,
    /// Request method
    #[arg(short = 'X', long, default_value = "GET")]
    pub method: Method,
    /// Request header, repeatable
    #[arg(short = 'H', long = "header", value_parser = parse_header, value_name = "NAME: VALUE")]
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Request body
    #[arg(short = 'd', long, default_value = "", value_name = "TEXT")]
    pub data: String,
    /// A request without a complete answer by then is an error
    #[arg(long, value_parser = parse_duration, default_value = "30s", value_name = "TIME")]
    pub timeout: Duration,
    /// Roots to trust, in PEM
    #[arg(long, value_name = "FILE")]
    pub cacert: Option<PathBuf>,
    /// Certificate chain to show, in PEM
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// Its private key, in PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// Accept any server certificate
    #[arg(long)]
    pub insecure: bool,
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
    /// What has to hold.
    #[command(flatten)]
    pub demands: Demands,
    /// Output format
    #[arg(short = 'o', long, value_enum, default_value = "text")]
    pub output: Output,
}

/// How a report is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// Tables for people.
    Text,
    /// The serialised [`crate::Report`].
    Json,
}

impl Args {
    /// The plan these arguments describe.
    ///
    /// # Errors
    /// A host that cannot stand in a header.
    pub fn plan(&self) -> anyhow::Result<Plan> {
        let plan = Plan {
            url: self.url.clone(),
            amount: self.duration.map_or(Amount::Requests(self.requests), Amount::For),
            concurrency: self.concurrency,
            connect: self.connect,
            http2: self.http2,
            connections: self.connections,
            new_connections: self.new_connections,
            grpc: self.grpc,
            method: self.method.clone(),
            headers: self.headers.clone(),
            body: self.data.clone().into_bytes(),
            rate: self.rate,
            timeout: self.timeout,
            tls: Tls { roots: self.cacert.clone(), identity: self.cert.clone().zip(self.key.clone()), insecure: self.insecure, sni: None },
            count_by: self.count_by.clone(),
            keep_answers: self.answers,
            keep_headers: self.keep_headers,
            keep_bodies: self.keep_bodies,
            ..Plan::new(self.url.clone(), self.requests)
        };
        match &self.host {
            Some(host) => plan.header("host", host),
            None => Ok(plan),
        }
    }
}

impl Plan {
    /// The arguments of `outrigger load` that describe this plan, ending in a JSON report: how a plan is carried out in
    /// another process, in a pod's network namespace.
    pub fn to_arguments(&self) -> Vec<String> {
        let mut arguments = vec![self.url.clone(), "--output=json".to_owned()];
        match self.amount {
            Amount::Requests(requests) => arguments.push(format!("--requests={requests}")),
            Amount::For(time) => arguments.push(format!("--duration={}ms", time.as_millis())),
        }
        arguments.push(format!("--concurrency={}", self.concurrency));
        arguments.push(format!("--connections={}", self.connections));
        arguments.push(format!("--timeout={}ms", self.timeout.as_millis()));
        arguments.push(format!("--method={}", self.method));
        arguments.push(format!("--data={}", String::from_utf8_lossy(&self.body)));
        let header = |(name, value): &(HeaderName, HeaderValue)| format!("--header={name}: {}", String::from_utf8_lossy(value.as_bytes()));
        arguments.extend(self.headers.iter().map(header));
        arguments.extend(self.count_by.iter().map(|property| format!("--count-by={}", property.name)));
        arguments.extend(self.connect.map(|address| format!("--connect={address}")));
        arguments.extend(self.rate.map(|rate| format!("--rate={rate}")));
        let file = |flag: &str, file: &PathBuf| format!("--{flag}={}", file.display());
        arguments.extend(self.tls.roots.iter().map(|roots| file("cacert", roots)));
        arguments.extend(self.tls.identity.iter().flat_map(|(chain, key)| [file("cert", chain), file("key", key)]));
        let switches = [
            ("--http2", self.http2),
            ("--new-connections", self.new_connections),
            ("--grpc", self.grpc),
            ("--insecure", self.tls.insecure),
            ("--answers", self.keep_answers),
            ("--keep-headers", self.keep_headers),
            ("--keep-bodies", self.keep_bodies),
        ];
        arguments.extend(switches.into_iter().filter(|(_, on)| *on).map(|(switch, _)| switch.to_owned()));
        arguments
    }
}

/// `NAME: VALUE` as curl takes it.
fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or_else(|| format!("{text:?}: expected NAME: VALUE"))?;
    let name = name.trim().parse().map_err(|error| format!("{name:?}: {error}"))?;
    let value = HeaderValue::from_str(value.trim()).map_err(|error| format!("{value:?}: {error}"))?;
    Ok((name, value))
}

/// A number with `ms`, `s`, `m` or `h` behind it.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let expected = || format!("{text:?}: expected a time such as 500ms, 10s or 2m");
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(expected)?;
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| expected())?;
    let seconds = match unit {
        "ms" => number / 1000.0,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(expected()),
    };
    Duration::try_from_secs_f64(seconds).map_err(|_| expected())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1500)));
        for text in ["", "10", "s", "1d", "1..2s"] {
            assert!(parse_duration(text).is_err(), "{text:?}");
        }
    }

    #[derive(clap::Parser)]
    struct Load {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn a_plan_survives_the_way_through_arguments() -> anyhow::Result<()> {
        let mut plan = Plan::new("http://shop/a?b=c d", 7).header("x-user", "jason: 1")?;
        plan.amount = Amount::For(Duration::from_millis(1500));
        plan.concurrency = 3;
        plan.http2 = true;
        plan.keep_bodies = true;
        plan.body = b"--data with spaces".to_vec();
        plan.connect = Some(([127, 0, 0, 1], 80).into());
        plan.count_by.push("header:x-pod".parse()?);
        let argv = std::iter::once("load".to_owned()).chain(plan.to_arguments());
        let parsed = <Load as clap::Parser>::try_parse_from(argv)?.args;
        assert_eq!(parsed.output, Output::Json);
        assert_eq!(format!("{:?}", parsed.plan()?), format!("{plan:?}"));
        Ok(())
    }

    #[test]
    fn headers_are_written_as_for_curl() {
        let parsed = parse_header("End-User:  jason ");
        assert_eq!(parsed, Ok((HeaderName::from_static("end-user"), HeaderValue::from_static("jason"))));
        assert!(parse_header("no colon").is_err());
    }
}
