//! Pages that change something.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;

use crate::runtime::Command;
use crate::runtime::{Lifecycle, LogLevels, Process};

/// `GET /logging`.
pub async fn show_logging(State(process): State<Arc<Process>>) -> String {
    process.logging.levels().to_string()
}

/// `POST /logging?level=debug`, `?upstream=debug`, `?paths=upstream:debug,http:info`.
pub async fn change_logging(State(process): State<Arc<Process>>, RawQuery(query): RawQuery) -> (StatusCode, String) {
    let mut levels = process.logging.levels();
    match change(&mut levels, query.as_deref().unwrap_or_default()) {
        Ok(()) => {
            process.logging.set(levels.clone());
            (StatusCode::OK, levels.to_string())
        }
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")),
    }
}

fn change(levels: &mut LogLevels, query: &str) -> Result<(), String> {
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        match name {
            "level" => levels.set_all(value)?,
            "paths" => {
                let pairs = value.split(',').filter_map(|pair| pair.split_once(':').or_else(|| pair.split_once("%3A")));
                pairs.into_iter().try_for_each(|(component, level)| levels.set(component, level))?;
            }
            component => levels.set(component, value)?,
        }
    }
    Ok(())
}

/// `POST /drain_listeners`.
pub async fn drain(State(process): State<Arc<Process>>) -> &'static str {
    ask(&process.lifecycle, Command::Drain)
}

/// `POST /quitquitquit`.
pub async fn quit(State(process): State<Arc<Process>>) -> &'static str {
    ask(&process.lifecycle, Command::Quit)
}

fn ask(lifecycle: &Lifecycle, command: Command) -> &'static str {
    lifecycle.ask(command);
    "OK\n"
}

/// `POST /healthcheck/fail`.
pub async fn fail_health_check(State(process): State<Arc<Process>>) -> &'static str {
    process.lifecycle.fail_health_check(true);
    "OK\n"
}

/// `POST /healthcheck/ok`.
pub async fn pass_health_check(State(process): State<Arc<Process>>) -> &'static str {
    process.lifecycle.fail_health_check(false);
    "OK\n"
}

/// `POST /reopen_logs`.
pub async fn reopen_logs(State(process): State<Arc<Process>>) -> &'static str {
    process.access_log.reopen();
    "OK\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_change_all_or_single_components() {
        let mut levels = LogLevels::parse("warning").expect("valid");
        change(&mut levels, "level=info").expect("valid");
        change(&mut levels, "upstream=debug").expect("valid");
        change(&mut levels, "paths=http:trace,router%3Aoff").expect("valid");
        assert_eq!(levels, LogLevels::parse("info,upstream:debug,http:trace,router:off").expect("valid"));
        assert!(change(&mut levels, "level=loud").is_err());
    }
}
