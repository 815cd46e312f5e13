//! From arguments to the plan of a run, or to a search.

use std::{io::Read, path::Path, time::Duration};

use anyhow::Context;
use http::Method;

use super::{AmountArgs, AnswerArgs, Args, ConnectionArgs, Rate, RequestArgs, SearchArgs, TlsArgs, fit};
use crate::{
    find_max::Search,
    plan::{Amount, Plan, Tls},
    schedule::Stage,
};

/// How long a run is when nothing says so.
const LENGTH: Duration = Duration::from_secs(10);
/// Requests in flight when nothing says how many: of a run, and of a search, which must not end at them.
const IN_FLIGHT: usize = 10;
const IN_FLIGHT_SEARCHING: usize = 64;

/// A search goes no higher when nothing says how high, nor where it begins.
const MOST_RATE: f64 = 1e6;

impl Args {
    /// The plan these arguments describe.
    ///
    /// # Errors
    /// A body that cannot be read, a host that cannot stand in a header, options that do not fit each other.
    pub fn plan(&self) -> anyhow::Result<Plan> {
        fit::options(self)?;
        let (url, more_urls) = self.urls.split_first().context("no URL")?;
        let keep_order = self.demands.expect_round_robin.is_some();
        let mut plan = Plan { more_urls: more_urls.to_vec(), tls: self.tls.settings(), keep_order, ..Plan::new(url, 0) };
        let in_flight = if self.search.find_max.is_some() { IN_FLIGHT_SEARCHING } else { IN_FLIGHT };
        plan.concurrency = self.amount.concurrency.unwrap_or(in_flight);
        self.amount.describe(&mut plan);
        self.connection.describe(&mut plan);
        self.answers.describe(&mut plan);
        self.request.describe(&mut plan)?;
        fit::body(&plan)?;
        match &self.request.host {
            Some(host) => plan.header("host", host),
            None => Ok(plan),
        }
    }
}

impl Args {
    /// The search these arguments ask for.
    pub fn search(&self) -> Option<Search> {
        let SearchArgs { find_max, probe, precision, max_rate } = &self.search;
        let number = |rate: Rate, otherwise: f64| if let Rate::PerSecond(rate) = rate { rate } else { otherwise };
        let first = number(self.amount.rate, 100.0);
        Some(Search {
            slo: find_max.clone()?,
            first,
            most: max_rate.map_or(MOST_RATE.max(first), |rate| number(rate, f64::INFINITY)),
            probe: *probe,
            precision: *precision,
        })
    }
}

impl AmountArgs {
    fn describe(&self, plan: &mut Plan) {
        plan.weights.clone_from(&self.weights);
        plan.amount = self.amount();
        plan.at_most = self.duration.and(self.requests);
        plan.rate = self.per_second();
        plan.stages = self.stages();
        plan.arrivals = self.jitter.unwrap_or_default();
        plan.warmup = self.warmup;
        plan.timeout = self.timeout;
        plan.patience = self.patience;
        plan.threads = self.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    }

    fn amount(&self) -> Amount {
        match (self.duration, self.requests) {
            (Some(time), _) => Amount::For(time),
            (None, Some(requests)) => Amount::Requests(requests),
            (None, None) if self.stages().is_empty() => Amount::For(LENGTH),
            (None, None) => Amount::Requests(u64::MAX),
        }
    }

    fn per_second(&self) -> Option<f64> {
        match self.rate {
            Rate::Max => None,
            Rate::PerSecond(rate) => Some(rate),
        }
    }

    fn stages(&self) -> Vec<Stage> {
        self.ramp.as_ref().or(self.steps.as_ref()).map(|stages| stages.0.clone()).unwrap_or_default()
    }
}

impl ConnectionArgs {
    /// Behind the amount, which says how many threads there are.
    fn describe(&self, plan: &mut Plan) {
        plan.connect_timeout = self.connect_timeout;
        (plan.preconnect, plan.give_up) = (!self.lazy_connect, !self.lazy_connect);
        plan.connect = self.connect;
        plan.resolve.clone_from(&self.resolve);
        plan.unix_socket.clone_from(&self.unix_socket);
        plan.http2 = self.http2;
        plan.connections = self.connections.unwrap_or(plan.threads);
        plan.new_connections = self.new_connections;
        plan.requests_per_connection = self.requests_per_connection;
    }
}

impl AnswerArgs {
    fn describe(&self, plan: &mut Plan) {
        plan.count_by.clone_from(&self.count_by);
        plan.keep_answers = self.answers;
        plan.keep_headers = self.keep_headers;
        plan.keep_bodies = self.keep_bodies;
    }
}

impl RequestArgs {
    fn describe(&self, plan: &mut Plan) -> anyhow::Result<()> {
        plan.body = self.body()?;
        let method = if plan.body.is_empty() { Method::GET } else { Method::POST };
        plan.method = self.method.clone().unwrap_or(method);
        plan.headers.clone_from(&self.headers);
        plan.grpc = self.grpc;
        plan.tcp_echo = self.tcp_echo;
        Ok(())
    }

    fn body(&self) -> anyhow::Result<Vec<u8>> {
        let Some(path) = &self.data_file else { return Ok(self.data.clone().unwrap_or_default().into_bytes()) };
        let mut body = Vec::new();
        let read = if path == Path::new("-") {
            std::io::stdin().read_to_end(&mut body).map(drop)
        } else {
            std::fs::read(path).map(|bytes| body = bytes)
        };
        read.with_context(|| format!("--data-file: reading {}", path.display()))?;
        Ok(body)
    }
}

impl TlsArgs {
    fn settings(&self) -> Tls {
        let identity = self.cert.clone().zip(self.key.clone());
        Tls { roots: self.cacert.clone(), identity, insecure: self.insecure, sni: self.sni.clone() }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::Output;

    #[derive(clap::Parser)]
    struct Load {
        #[command(flatten)]
        args: Args,
    }

    fn plan(line: &str) -> anyhow::Result<Plan> {
        Load::try_parse_from(std::iter::once("load").chain(line.split(' ')))?.args.plan()
    }

    #[test]
    fn a_plan_survives_the_way_through_arguments() -> anyhow::Result<()> {
        let mut plan = Plan::new("http://shop/a?b=c d", 7).header("x-user", "jason: 1")?;
        plan.more_urls = vec!["http://other/".into()];
        plan.weights = vec![3, 1];
        plan.amount = Amount::For(Duration::from_millis(1500));
        plan.concurrency = 3;
        plan.rate = Some(12.5);
        plan.warmup = Duration::from_secs(1);
        plan.http2 = true;
        plan.keep_bodies = true;
        plan.body = b"--data with spaces".to_vec();
        plan.connect = Some(([127, 0, 0, 1], 80).into());
        plan.resolve.extend("shop:80:[::1]".parse());
        plan.requests_per_connection = Some(5);
        plan.count_by.push("header:x-pod".parse()?);
        let argv = std::iter::once("load".to_owned()).chain(plan.to_arguments());
        let parsed = Load::try_parse_from(argv)?.args;
        assert_eq!(parsed.output, Output::Json);
        assert_eq!(format!("{:?}", parsed.plan()?), format!("{plan:?}"));
        Ok(())
    }

    #[test]
    fn without_a_word_about_it_ten_seconds_are_sent_as_fast_as_possible() -> anyhow::Result<()> {
        let plan = plan("http://a")?;
        assert_eq!((plan.amount, plan.rate, plan.method), (Amount::For(LENGTH), None, Method::GET));
        Ok(())
    }

    #[test]
    fn requests_and_time_together_end_with_the_first() -> anyhow::Result<()> {
        let both = plan("http://a -n 100 -d 30s -q 1k --data x")?;
        assert_eq!((both.amount, both.at_most, both.rate), (Amount::For(Duration::from_secs(30)), Some(100), Some(1000.0)));
        assert_eq!(both.method, Method::POST);
        assert_eq!(plan("http://a -n 100")?.amount, Amount::Requests(100));
        assert_eq!(plan("http://a --steps 10,20:1s")?.stages.len(), 2);
        Ok(())
    }

    #[test]
    fn options_that_other_generators_have_mean_the_same_here() -> anyhow::Result<()> {
        let ours = plan("http://a -d 3s -q 50 -X PUT --data x --new-connections")?;
        for line in [
            "http://a -z 3s -q 50 -m PUT --body x --disable-keepalive",
            "http://a -d 3s -R 50 -X PUT --payload x --no-keepalive",
            "http://a -d 3s --qps 50 -X PUT --data x --new-connections",
        ] {
            assert_eq!(format!("{:?}", plan(line)?), format!("{ours:?}"), "{line}");
        }
        Ok(())
    }

    #[test]
    fn an_unreadable_body_file_is_named() {
        let error = plan("http://a --data-file /nowhere/body").expect_err("no such file");
        assert!(format!("{error:#}").contains("/nowhere/body"), "{error:#}");
    }
}
