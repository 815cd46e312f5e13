//! The answers, as tables or as JSON.

use anyhow::Result;
use outrigger_injector::manifest::Workload;
use outrigger_loadtests::table::Paint;
use serde_json::json;

use super::super::output::coloured;
use crate::table::Table;

/// A workload with what every webhook says about it.
pub struct Checked {
    /// `file:line`.
    pub place: String,
    /// Its namespace.
    pub namespace: String,
    /// The workload.
    pub workload: Workload,
    /// One per configuration.
    pub rows: Vec<Row>,
    /// What its author should know.
    pub warnings: Vec<String>,
}

/// One configuration's answer.
pub struct Row {
    /// Name of the configuration.
    pub webhook: String,
    /// Its revision.
    pub revision: String,
    /// Whether it would inject.
    pub injected: bool,
    /// Why, or why not.
    pub reason: String,
}

impl Checked {
    /// How many webhooks would inject.
    pub fn injections(&self) -> usize {
        self.rows.iter().filter(|row| row.injected).count()
    }
}

/// A table per workload; the heading is left out where there is but one.
pub fn tables(checked: &[Checked], paint: Paint) -> String {
    let mut out = String::new();
    for one in checked {
        if checked.len() > 1 {
            if !out.is_empty() {
                out.push('\n');
            }
            let heading = format!("{} {}/{}", one.workload.kind, one.namespace, one.workload.name);
            out.push_str(&format!("{} ({})\n", coloured(paint, "1", &heading), one.place));
        }
        let mut table = Table::new(["WEBHOOK", "REVISION", "INJECTED", "REASON"]);
        for row in &one.rows {
            table.row([row.webhook.clone(), row.revision.clone(), mark(row.injected).to_owned(), row.reason.clone()]);
        }
        out.push_str(&painted(&table.to_string(), paint));
        one.warnings.iter().for_each(|warning| out.push_str(&format!("{} {warning}\n", coloured(paint, "33", "warning:"))));
    }
    out
}

fn mark(injected: bool) -> &'static str {
    if injected { "✔" } else { "✘" }
}

/// Marks are painted once they are in place, so that colours do not count in the widths.
fn painted(table: &str, paint: Paint) -> String {
    table.replace('✔', &coloured(paint, "32", "✔")).replace('✘', &coloured(paint, "31", "✘"))
}

/// A list of workloads.
pub fn json(checked: &[Checked]) -> Result<String> {
    let rows = |one: &Checked| -> Vec<serde_json::Value> {
        let row = |row: &Row| json!({"webhook": row.webhook, "revision": row.revision, "injected": row.injected, "reason": row.reason});
        one.rows.iter().map(row).collect()
    };
    let all: Vec<serde_json::Value> = checked
        .iter()
        .map(|one| {
            json!({
                "kind": one.workload.kind,
                "name": one.workload.name,
                "namespace": one.namespace,
                "place": one.place,
                "injected": one.injections() == 1,
                "webhooks": rows(one),
                "warnings": one.warnings,
            })
        })
        .collect();
    Ok(serde_json::to_string_pretty(&all)? + "\n")
}
