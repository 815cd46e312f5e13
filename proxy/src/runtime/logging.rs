//! The process's own log: to standard error, levels per component, changeable at run time.
//!
//! Components are Envoy's words where we have the same thing: `main`, `config`, `admin`, `http`, `router`, `upstream`,
//! `connection` (listeners), `pool`, `secret` (identity), `access_log`. A component is either a tracing target of that
//! name or the module of this crate. Release builds have no events at `trace`, which is accepted and means `debug` there: no
//! event of this project is that fine, and HTTP/2 opens spans for every frame.

use std::collections::BTreeMap;
use std::fmt;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};

use time::OffsetDateTime;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::{Layer, reload};

/// Levels by component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLevels {
    default: LevelFilter,
    components: BTreeMap<String, LevelFilter>,
}

/// Component names and the modules behind them.
const COMPONENTS: &[(&str, &[&str])] = &[
    ("access_log", &["access_log", "outrigger_proxy::telemetry"]),
    ("admin", &["admin", "outrigger_proxy::admin", "outrigger_proxy::status"]),
    ("config", &["config", "outrigger_proxy::discovery", "outrigger_config"]),
    ("connection", &["connection", "outrigger_proxy::listener", "outrigger_proxy::tcp"]),
    ("http", &["http", "outrigger_proxy::http", "outrigger_proxy::filter"]),
    ("main", &["main", "outrigger_proxy::runtime", "outrigger_proxy::bootstrap"]),
    ("pool", &["pool", "outrigger_proxy::upstream::pool"]),
    ("router", &["router", "outrigger_proxy::router"]),
    ("secret", &["secret", "outrigger_proxy::identity"]),
    ("upstream", &["upstream", "outrigger_proxy::upstream"]),
];

impl LogLevels {
    /// Parses `warning` or `warning,upstream:debug,http:trace`, the first entry without a colon being the default.
    ///
    /// # Errors
    /// Names the level that does not exist.
    pub fn parse(text: &str) -> Result<LogLevels, String> {
        let mut levels = LogLevels { default: LevelFilter::WARN, components: BTreeMap::new() };
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            match entry.split_once(':') {
                Some((component, level)) => levels.set(component, level)?,
                None => levels.default = parse_level(entry)?,
            }
        }
        Ok(levels)
    }

    /// Sets every component to one level.
    ///
    /// # Errors
    /// Names the level that does not exist.
    pub fn set_all(&mut self, level: &str) -> Result<(), String> {
        self.default = parse_level(level)?;
        self.components.clear();
        Ok(())
    }

    /// Sets one component; any name is accepted, since newer and older proxies have others.
    ///
    /// # Errors
    /// Names the level that does not exist.
    pub fn set(&mut self, component: &str, level: &str) -> Result<(), String> {
        self.components.insert(component.to_owned(), parse_level(level)?);
        Ok(())
    }

    fn targets(&self) -> Targets {
        let mut targets = Targets::new().with_default(self.default);
        for (component, level) in &self.components {
            let known = COMPONENTS.iter().find(|(name, _)| name == component);
            match known {
                Some((_, modules)) => targets = targets.with_targets(modules.iter().map(|module| (*module, *level))),
                None => targets = targets.with_target(component, *level),
            }
        }
        targets
    }
}

/// As Envoy's `/logging` prints it.
impl fmt::Display for LogLevels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "active loggers:")?;
        let mut all: BTreeMap<&str, LevelFilter> = COMPONENTS.iter().map(|(name, _)| (*name, self.default)).collect();
        all.extend(self.components.iter().map(|(name, level)| (name.as_str(), *level)));
        all.into_iter().try_for_each(|(name, level)| writeln!(f, "  {name}: {}", level_name(level)))
    }
}

fn parse_level(text: &str) -> Result<LevelFilter, String> {
    Ok(match text {
        "trace" => LevelFilter::TRACE,
        "debug" => LevelFilter::DEBUG,
        "info" => LevelFilter::INFO,
        "warning" | "warn" => LevelFilter::WARN,
        "error" | "critical" => LevelFilter::ERROR,
        "off" => LevelFilter::OFF,
        other => return Err(format!("unknown log level {other:?}: expected trace, debug, info, warning, error, critical or off")),
    })
}

fn level_name(level: LevelFilter) -> &'static str {
    match level {
        LevelFilter::TRACE => "trace",
        LevelFilter::DEBUG => "debug",
        LevelFilter::INFO => "info",
        LevelFilter::WARN => "warning",
        LevelFilter::ERROR => "error",
        _ => "off",
    }
}

/// Changes levels of the running process.
pub struct LogControl {
    levels: Mutex<LogLevels>,
    handle: reload::Handle<Targets, Registry>,
}

impl fmt::Debug for LogControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogControl").field("levels", &self.levels).finish_non_exhaustive()
    }
}

impl LogControl {
    /// Installs the process's subscriber. When there is one already (in tests) that one stays, and changes have no effect.
    pub fn install(levels: LogLevels, as_json: bool) -> LogControl {
        let (filter, handle) = reload::Layer::new(levels.targets());
        let ansi = std::io::stderr().is_terminal();
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(ansi);
        let lines = match as_json {
            true => lines.json().flatten_event(true).boxed(),
            false => lines.event_format(Lines { ansi }).boxed(),
        };
        let _ = tracing::subscriber::set_global_default(Registry::default().with(filter).with(lines));
        LogControl { levels: Mutex::new(levels), handle }
    }

    /// The levels in force.
    pub fn levels(&self) -> LogLevels {
        self.levels.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts levels in force.
    pub fn set(&self, levels: LogLevels) {
        let mut current = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        // Fails only when the subscriber is gone, and then nothing is logged at all.
        let _ = self.handle.reload(levels.targets());
        *current = levels;
    }
}

/// `2026-11-20T11:32:24.123456Z  warning  config  message key=value`.
struct Lines {
    ansi: bool,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>, N: for<'a> FormatFields<'a> + 'static> FormatEvent<S, N> for Lines {
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let now = OffsetDateTime::now_utc();
        let metadata = event.metadata();
        write!(writer, "{}T{:02}:{:02}:{:02}.{:06}Z", now.date(), now.hour(), now.minute(), now.second(), now.microsecond())?;
        let level = level_name(LevelFilter::from_level(*metadata.level()));
        match (self.ansi, *metadata.level()) {
            (true, tracing::Level::ERROR) => write!(writer, "  \x1b[31m{level:<7}\x1b[0m")?,
            (true, tracing::Level::WARN) => write!(writer, "  \x1b[33m{level:<7}\x1b[0m")?,
            _ => write!(writer, "  {level:<7}")?,
        }
        write!(writer, "  {:<10}  ", component(metadata.target()))?;
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// The component of a target; the longest module name that fits decides.
fn component(target: &str) -> &str {
    let fits = |module: &str| target.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    let modules = COMPONENTS.iter().flat_map(|(name, modules)| modules.iter().map(move |module| (*module, *name)));
    let candidates = modules.filter(|(module, _)| fits(module)).map(|(module, name)| (module.len(), name));
    candidates.max().map_or(target, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn levels_are_read_as_envoy_writes_them() {
        let levels = LogLevels::parse("info,upstream:debug, http:off").expect("valid");
        let targets = levels.targets();
        assert!(targets.would_enable("outrigger_proxy::upstream::connect", &Level::DEBUG));
        assert!(!targets.would_enable("outrigger_proxy::router", &Level::DEBUG));
        assert!(targets.would_enable("outrigger_proxy::router", &Level::INFO));
        assert!(!targets.would_enable("outrigger_proxy::http::connection_manager", &Level::ERROR));
    }

    #[test]
    fn a_level_that_does_not_exist_is_named() {
        assert!(LogLevels::parse("loud").expect_err("refused").contains("\"loud\""));
        assert!(LogLevels::parse("upstream:loud").expect_err("refused").contains("expected trace, debug"));
    }

    #[test]
    fn setting_all_forgets_single_components() {
        let mut levels = LogLevels::parse("warning,config:trace").expect("valid");
        levels.set_all("error").expect("valid");
        assert_eq!(levels, LogLevels::parse("error").expect("valid"));
        assert!(levels.to_string().contains("  config: error\n"), "{levels}");
    }

    #[test]
    fn targets_are_shown_as_components() {
        assert_eq!(component("outrigger_proxy::upstream::pool::shard"), "pool");
        assert_eq!(component("outrigger_proxy::upstream"), "upstream");
        assert_eq!(component("config"), "config");
        assert_eq!(component("hyper::proto"), "hyper::proto");
    }
}
