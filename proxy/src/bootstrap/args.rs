//! The command line of `outrigger proxy`, as written.
//!
//! Parsed by a table of our own because the contract (section 0) asks for something no usual parser does: a flag from a
//! newer injection template must be skipped, with its value, instead of stopping the process. Like pilot-agent's parser,
//! an unknown `--flag` takes the next argument with it when that does not start with a dash.

use std::path::PathBuf;

use anyhow::{Context, bail};
use outrigger_config::model::ProxyType;

/// Text of `outrigger proxy --help`.
pub const USAGE: &str = "\
Serve as the data plane of one workload

Usage: outrigger proxy sidecar|router [--config PATH ...] [options]

Options:
  --config PATH             folder, file or glob of manifests; watched; may be repeated
                            [$OUTRIGGER_CONFIG, colons between several]
  --certs DIR               cert-chain.pem, key.pem and root-cert.pem of the workload
                            [/var/run/secrets/workload-spiffe-credentials]
  --concurrency N           worker threads; 0 = one per core [ProxyConfig, else CPU limit, else 2]
  --strict                  refuse to start while a path of --config cannot be read, an object is invalid, or a security
                            policy is not enforced
  --access-log[=PATH]       write access logs, whatever the mesh configuration says [/dev/stdout]
  --access-log-format TEXT  format of those lines, in Envoy's operators [Istio's default]
  --access-log-encoding E   TEXT or JSON [TEXT]
  --domain SUFFIX           DNS domain of the workload's namespace [$POD_NAMESPACE.svc.cluster.local]
  --pod-info DIR            files `labels` and `annotations` of the downward API [/etc/istio/pod]
  --meshConfig FILE         mesh configuration, if the file exists [./etc/istio/config/mesh]
  --proxyLogLevel LEVEL     trace, debug, info, warning, error, critical, off [warning]
  --proxyComponentLogLevel LIST  levels of single components: upstream:debug,config:trace
  --log_as_json             log in JSON
  --serviceCluster NAME     accepted for compatibility, as is every other flag of pilot-agent
  -h, --help                print this
";

/// What was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Args {
    /// `sidecar` or `router`.
    pub proxy_type: ProxyType,
    /// `--config`, in order.
    pub config: Vec<PathBuf>,
    /// `--certs`.
    pub certs: Option<PathBuf>,
    /// `--concurrency`; 0 = one worker per core.
    pub concurrency: Option<u32>,
    /// `--strict`.
    pub strict: bool,
    /// `--access-log`: where lines go.
    pub access_log: Option<String>,
    /// `--access-log-format`.
    pub access_log_format: Option<String>,
    /// `--access-log-encoding JSON`.
    pub access_log_json: bool,
    /// `--domain`.
    pub domain: Option<String>,
    /// `--pod-info`.
    pub pod_info: Option<PathBuf>,
    /// `--meshConfig`.
    pub mesh_config: Option<PathBuf>,
    /// `--proxyLogLevel`.
    pub log_level: Option<String>,
    /// `--proxyComponentLogLevel`.
    pub component_log_level: Option<String>,
    /// `--log_as_json`.
    pub log_as_json: bool,
    /// Flags that were skipped, to be warned about once logging is up.
    pub unknown: Vec<String>,
}

impl Args {
    /// Parses what follows `outrigger proxy`. `None` means that help was asked for.
    ///
    /// # Errors
    /// A missing or unknown role, a known flag without its value, or a value of the wrong type.
    pub fn parse(words: &[String]) -> anyhow::Result<Option<Args>> {
        let mut args = Args::for_role(ProxyType::Sidecar);
        let mut role = None;
        let mut words = Words { rest: words };
        while let Some(word) = words.next() {
            match word.strip_prefix('-') {
                _ if word == "-h" || word == "--help" => return Ok(None),
                Some(flag) => args.flag(flag.strip_prefix('-').unwrap_or(flag), &mut words)?,
                None if role.is_none() => role = Some(parse_role(word)?),
                None => args.unknown.push(word.to_owned()),
            }
        }
        args.proxy_type = role.context("say which role to take: outrigger proxy sidecar, or outrigger proxy router")?;
        Ok(Some(args))
    }

    /// No flags at all.
    pub fn for_role(proxy_type: ProxyType) -> Args {
        Args {
            proxy_type,
            config: Vec::new(),
            certs: None,
            concurrency: None,
            strict: false,
            access_log: None,
            access_log_format: None,
            access_log_json: false,
            domain: None,
            pod_info: None,
            mesh_config: None,
            log_level: None,
            component_log_level: None,
            log_as_json: false,
            unknown: Vec::new(),
        }
    }

    fn flag<'a>(&mut self, flag: &'a str, words: &mut Words<'a>) -> anyhow::Result<()> {
        let (name, inline) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
        match name {
            "config" => self.config.push(words.value(name, inline)?.into()),
            "certs" => self.certs = Some(words.value(name, inline)?.into()),
            "pod-info" => self.pod_info = Some(words.value(name, inline)?.into()),
            "meshConfig" => self.mesh_config = Some(words.value(name, inline)?.into()),
            "concurrency" => self.concurrency = Some(parse_concurrency(words.value(name, inline)?)?),
            "domain" => self.domain = Some(words.value(name, inline)?.to_owned()),
            "proxyLogLevel" => self.log_level = Some(words.value(name, inline)?.to_owned()),
            "proxyComponentLogLevel" => self.component_log_level = Some(words.value(name, inline)?.to_owned()),
            "strict" => self.strict = parse_switch(name, inline)?,
            "log_as_json" => self.log_as_json = parse_switch(name, inline)?,
            "access-log" => self.access_log = Some(inline.unwrap_or("/dev/stdout").to_owned()),
            "access-log-format" => self.access_log_format = Some(words.value(name, inline)?.to_owned()),
            "access-log-encoding" => self.access_log_json = parse_encoding(words.value(name, inline)?)?,
            name if ACCEPTED.contains(&name) => words.skip_value(inline),
            name => {
                self.unknown.push(format!("--{name}"));
                words.skip_value(inline);
            }
        }
        Ok(())
    }
}

/// Flags of pilot-agent that mean nothing here and deserve no warning.
const ACCEPTED: &[&str] =
    &["log_output_level", "stsPort", "tokenManagerPlugin", "serviceCluster", "templateFile", "outlierLogPath", "profiling"];

struct Words<'a> {
    rest: &'a [String],
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    fn value(&mut self, name: &str, inline: Option<&'a str>) -> anyhow::Result<&'a str> {
        inline.or_else(|| self.next()).with_context(|| format!("--{name} needs a value"))
    }

    /// Drops the value of a flag whose type is unknown.
    fn skip_value(&mut self, inline: Option<&str>) {
        if inline.is_none() && self.rest.first().is_some_and(|word| !word.starts_with('-')) {
            self.next();
        }
    }
}

fn parse_role(word: &str) -> anyhow::Result<ProxyType> {
    match word {
        "sidecar" => Ok(ProxyType::Sidecar),
        "router" => Ok(ProxyType::Router),
        other => bail!("unknown role {other:?}: expected sidecar or router"),
    }
}

fn parse_concurrency(value: &str) -> anyhow::Result<u32> {
    value.parse().with_context(|| format!("--concurrency {value}: expected a whole number, 0 = one worker per core"))
}

/// A flag alone or with `=true` / `=false`, as Go programs take them.
fn parse_switch(name: &str, inline: Option<&str>) -> anyhow::Result<bool> {
    match inline {
        None | Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(other) => bail!("--{name}={other}: expected true or false"),
    }
}

fn parse_encoding(value: &str) -> anyhow::Result<bool> {
    match value.to_ascii_uppercase().as_str() {
        "TEXT" => Ok(false),
        "JSON" => Ok(true),
        _ => bail!("--access-log-encoding {value}: expected TEXT or JSON"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> anyhow::Result<Option<Args>> {
        Args::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    fn parsed(line: &str) -> Args {
        parse(line).expect("valid").expect("not help")
    }

    #[test]
    fn the_injected_command_line_of_istio_is_understood() {
        let args = parsed(
            "sidecar --domain shop.svc.cluster.local --proxyLogLevel=warning --proxyComponentLogLevel=misc:error --log_output_level=default:info --concurrency 2",
        );
        assert_eq!(args.proxy_type, ProxyType::Sidecar);
        assert_eq!(args.domain.as_deref(), Some("shop.svc.cluster.local"));
        assert_eq!(args.log_level.as_deref(), Some("warning"));
        assert_eq!(args.component_log_level.as_deref(), Some("misc:error"));
        assert_eq!(args.concurrency, Some(2));
        assert!(args.unknown.is_empty());
    }

    #[test]
    fn unknown_flags_are_skipped_with_their_values_and_named() {
        let args = parsed("router --brandNew value --otherNew=1 --lastNew --config a --config=b --strict");
        assert_eq!(args.unknown, ["--brandNew", "--otherNew", "--lastNew"]);
        assert_eq!(args.config, [PathBuf::from("a"), PathBuf::from("b")]);
        assert!(args.strict);
    }

    #[test]
    fn the_access_log_switch_takes_a_path_only_with_an_equals_sign() {
        assert_eq!(parsed("sidecar --access-log --strict").access_log.as_deref(), Some("/dev/stdout"));
        assert_eq!(parsed("sidecar --access-log=/tmp/log").access_log.as_deref(), Some("/tmp/log"));
        assert!(parsed("sidecar --access-log-encoding json").access_log_json);
    }

    #[test]
    fn mistakes_in_known_flags_say_what_was_expected() {
        for (line, message) in [
            ("", "say which role"),
            ("sidekick", "unknown role"),
            ("sidecar --concurrency two", "whole number"),
            ("sidecar --config", "--config needs a value"),
            ("sidecar --strict=maybe", "true or false"),
            ("sidecar --access-log-encoding xml", "TEXT or JSON"),
        ] {
            let error = parse(line).expect_err(line).to_string();
            assert!(error.contains(message), "{line}: {error}");
        }
    }

    #[test]
    fn help_wins_over_everything_else() {
        assert_eq!(parse("sidecar --help").expect("valid"), None);
    }
}
