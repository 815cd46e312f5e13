//! Options that would have no effect on what is sent are refused before anything is: a run that ignores what it was told
//! measures something else than its user believes.

use anyhow::{bail, ensure};
use http::Method;

use super::{Args, Rate};
use crate::plan::{Plan, Property};

/// The longest message a WebSocket URL can send: one that needs no extended length.
const WEBSOCKET_MESSAGE: usize = 125;

/// # Errors
/// An option that does not fit the others or the URLs.
pub(super) fn options(args: &Args) -> anyhow::Result<()> {
    misplaced_value(args)?;
    schedule(args)?;
    tls(args)?;
    protocol(args)
}

/// Values of these options stand behind a `=`; without one they are taken for a URL.
fn misplaced_value(args: &Args) -> anyhow::Result<()> {
    let Some(word) = args.urls.iter().find(|url| !url.contains(['/', ':', '.'])) else { return Ok(()) };
    let given = [
        ("--jitter", args.amount.jitter.is_some() && ["even", "uniform", "poisson"].contains(&word.as_str())),
        ("--wait-for-proxy", args.sidecar.wait_for_proxy.is_some() && super::parse_duration(word).is_ok()),
        ("--expect-round-robin", args.demands.expect_round_robin == Some(None)),
    ];
    match given.into_iter().find(|(_, given)| *given) {
        Some((option, _)) => bail!("{word:?} is no URL: a value of {option} stands behind a =, as in {option}={word}"),
        None => Ok(()),
    }
}

fn schedule(args: &Args) -> anyhow::Result<()> {
    let amount = &args.amount;
    let open = amount.rate != Rate::Max || amount.ramp.is_some() || amount.steps.is_some() || args.search.find_max.is_some();
    if let (Some(Rate::PerSecond(most)), Rate::PerSecond(first)) = (args.search.max_rate, amount.rate) {
        ensure!(first <= most, "-q {first} is where the search begins: expected no more than --max-rate {most}");
    }
    ensure!(amount.jitter.is_none() || open, "--jitter varies a schedule: expected -q RATE, --ramp or --steps with it");
    Ok(())
}

fn tls(args: &Args) -> anyhow::Result<()> {
    let tls = &args.tls;
    // Not --insecure, which changes nothing that is measured: scripts give it whatever URL they are given.
    let given = [("--cacert", tls.cacert.is_some()), ("--cert", tls.cert.is_some()), ("--sni", tls.sni.is_some())];
    match given.into_iter().find(|(_, given)| *given) {
        Some((option, _)) if !args.urls.iter().any(|url| has_scheme(url, "https")) => {
            bail!("{option} is for https URLs, and there is none")
        }
        _ => Ok(()),
    }
}

/// Schemes are the same in capitals.
fn has_scheme(url: &str, scheme: &str) -> bool {
    url.split_once(':').is_some_and(|(before, _)| before.eq_ignore_ascii_case(scheme))
}

/// What only some protocols have.
fn protocol(args: &Args) -> anyhow::Result<()> {
    let Args { request, connection, answers, .. } = args;
    let all = |schemes: &[&str]| args.urls.iter().all(|url| schemes.iter().any(|scheme| has_scheme(url, scheme)));
    ensure!(
        connection.http2 || request.grpc || connection.connections.is_none(),
        "--connections is for HTTP/2 (--http2, --grpc), where requests share them: expected -c for how many requests are in flight"
    );
    ensure!(!request.tcp_echo || all(&["tcp"]), "--tcp-echo is for tcp://HOST:PORT");
    ensure!(
        !request.grpc || request.method.as_ref().is_none_or(|method| method == Method::POST),
        "--grpc always sends POST: expected no -X"
    );
    let of_headers = answers.count_by.iter().any(|by| matches!(by.property, Property::Header(..)));
    let http = [("--http2", connection.http2), ("--grpc", request.grpc), ("-X", request.method.is_some())];
    let headers = [
        ("-H", !request.headers.is_empty()),
        ("--host", request.host.is_some()),
        ("--count-by header:", of_headers),
        ("--keep-headers", answers.keep_headers),
    ];
    let first = |options: &[(&'static str, bool)]| options.iter().find(|(_, given)| *given).map(|(option, _)| *option);
    if let Some(option) = first(&http).filter(|_| all(&["tcp", "ws"])) {
        bail!("{option} is for http and https URLs, and there is none");
    }
    if let Some(option) = first(&headers).filter(|_| all(&["tcp"])) {
        bail!("{option} is about headers, which tcp URLs have none of");
    }
    Ok(())
}

/// # Errors
/// A body that a protocol needs and that is not there, or that it cannot carry.
pub(super) fn body(plan: &Plan) -> anyhow::Result<()> {
    ensure!(
        !plan.tcp_echo || !plan.body.is_empty(),
        "--tcp-echo sends the body and expects it back: expected --data or --data-file with it"
    );
    ensure!(
        plan.body.len() <= WEBSOCKET_MESSAGE || !plan.urls().any(|url| has_scheme(url, "ws")),
        "the body has {} bytes: a ws URL sends one message of at most {WEBSOCKET_MESSAGE}",
        plan.body.len()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(clap::Parser)]
    struct Load {
        #[command(flatten)]
        args: Args,
    }

    /// What is said about a command line; its words are parted by `|`.
    fn refusal(line: &str) -> String {
        let parsed = Load::try_parse_from(std::iter::once("load").chain(line.split('|')));
        let planned = parsed.map_err(anyhow::Error::from).and_then(|load| load.args.plan());
        planned.err().map(|error| format!("{error:#}")).unwrap_or_else(|| panic!("accepted: {line}"))
    }

    #[test]
    fn options_that_do_not_fit_each_other_are_refused() {
        for (line, words) in [
            ("http://a|-q|5|--ramp|1..2:1s", "--ramp"),
            ("http://a|--jitter", "--jitter varies a schedule"),
            ("http://a|--jitter|poisson", "--jitter=poisson"),
            ("tcp://a:1|--tcp-echo", "expected --data"),
            ("http://a|--cert|x", "--key"),
            ("http://a|--find-max|p99<1ms|-d|5s", "--duration"),
            ("http://a|--unix-socket|/x|--connect|1.2.3.4:5", "--connect"),
            ("http://a|--connections|100", "--connections is for HTTP/2"),
            ("http://a|--tcp-echo|--data|x", "--tcp-echo is for tcp"),
            ("http://a|--grpc|-X|GET", "--grpc always sends POST"),
        ] {
            assert!(refusal(line).contains(words), "{line}: {}", refusal(line));
        }
    }

    #[test]
    fn values_that_cannot_be_meant_are_refused() {
        for (line, words) in [
            ("http://a|-n|0", "0"),
            ("http://a|-c|0", "at least 1"),
            ("http://a|-d|0s", "more than no time"),
            ("http://a|--connect|shop:80", "IP address"),
            ("http://a|-q|-5", "requests per second"),
            ("http://a|-q|1e300", "at most 1000M"),
            ("http://a|--host|a b", "HOST[:PORT]"),
            ("http://a|--expect-round-robin=", "a version"),
            ("http://a|--find-max|p99>5ms", "a lower rate"),
            ("http://a|--find-max|rate<5", "a lower rate"),
        ] {
            assert!(refusal(line).contains(words), "{line}: {}", refusal(line));
        }
    }

    #[test]
    fn options_without_effect_are_refused() {
        for (line, words) in [
            ("http://a|--cacert|/nope", "--cacert is for https"),
            ("http://a|--sni|x", "--sni is for https"),
            ("TCP://a:1|--http2", "--http2 is for http"),
            ("tcp://a:1|--http2", "--http2 is for http"),
            ("tcp://a:1|--grpc", "--grpc is for http"),
            ("tcp://a:1|-X|PUT", "-X is for http"),
            ("ws://a|-X|PUT", "-X is for http"),
            ("tcp://a:1|-H|a: b", "-H is about headers"),
            ("tcp://a:1|--host|a", "--host is about headers"),
            ("tcp://a:1|--count-by|header:x-pod", "--count-by header: is about headers"),
            ("http://a|--tolerance|2", "--expect"),
            ("http://a|--probe|1s", "--find-max"),
            ("http://a|--precision|3%", "--find-max"),
            ("http://a|--max-rate|5", "--find-max"),
            ("http://a|--find-max|p99<1ms|-q|80|--max-rate|40", "no more than --max-rate 40"),
            ("http://a|--find-max|p99<1ms|--expect|v9=1", "--expect"),
            ("http://a|--find-max|p99<1ms|--expect-round-robin", "--expect-round-robin"),
            ("http://a|--find-max|p99<1ms|--answers", "--answers"),
        ] {
            assert!(refusal(line).contains(words), "{line}: {}", refusal(line));
        }
        let long = "x".repeat(200);
        assert!(refusal(&format!("ws://a|--data|{long}")).contains("at most 125"));
    }

    #[test]
    fn an_option_is_accepted_where_one_url_has_a_use_for_it() -> anyhow::Result<()> {
        for line in [
            "http://a|https://b|--sni|c",
            "HTTPS://a|--sni|c",
            "TCP://a:1|--tcp-echo|--data|x",
            "http://a|-k",
            "tcp://a:1|http://b|--http2",
            "tcp://a:1|--count-by|body:x",
            "ws://a|-H|a: b",
            "https://a|-k",
        ] {
            Load::try_parse_from(std::iter::once("load").chain(line.split('|')))?.args.plan()?;
        }
        Ok(())
    }
}
