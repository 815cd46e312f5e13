//! What each rule is for, one line each, in the order in which the kernel will ask them.

use crate::merge::{Merged, merge};
use crate::native;
use crate::plan::INBOUND_PASSTHROUGH_V6;
use crate::render;
use crate::routing;
use crate::rule::Family;
use crate::settings::{Backend, Format, Options, Settings};

/// One line.
struct Line {
    family: &'static str,
    table: String,
    chain: String,
    rule: String,
    why: &'static str,
}

/// The lines for the families that would be written to, followed by what is needed beside rules.
#[must_use]
pub fn explain(settings: &Settings, options: &Options, families: &[Family], format: Format) -> String {
    let mut lines: Vec<Line> = merge(settings, families).iter().map(|rule| of_rule(rule, options.backend)).collect();
    lines.extend(beside_rules(settings, families));
    match format {
        Format::Text => as_text(&lines),
        Format::Json => as_json(&lines),
    }
}

fn of_rule(merged: &Merged, backend: Backend) -> Line {
    let rule = &merged.rule;
    let (table, chain, text) = match backend {
        Backend::Native => (native::text::table(rule.table), rule.chain.native_name(), native::text::line(merged)),
        Backend::Iptables(_) => {
            (rule.table.name().to_owned(), rule.chain.name().to_owned(), render::specification(rule).trim_start().to_owned())
        }
    };
    Line { family: family_name(merged.family), table, chain, rule: text, why: rule.why }
}

fn family_name(family: Option<Family>) -> &'static str {
    match family {
        None => "both",
        Some(Family::V4) => "IPv4",
        Some(Family::V6) => "IPv6",
    }
}

fn beside_rules(settings: &Settings, families: &[Family]) -> Vec<Line> {
    let line = |family, rule, why| Line { family: family_name(Some(family)), table: "-".to_owned(), chain: "-".to_owned(), rule, why };
    let mut lines = Vec::new();
    if let Some(tproxy) = settings.tproxy {
        let parts = families.iter().flat_map(|family| routing::PARTS.map(|part| (*family, part)));
        lines.extend(parts.map(|(family, part)| line(family, routing::command(tproxy, family, part), routing::why(part))));
    }
    if families.contains(&Family::V6) {
        let command = format!("ip -6 addr add {INBOUND_PASSTHROUGH_V6}/128 dev lo");
        lines.push(line(Family::V6, command, "the proxy delivers inbound traffic from here"));
    }
    lines
}

fn as_text(lines: &[Line]) -> String {
    let heading = ["FAMILY", "TABLE", "CHAIN", "RULE", "WHY"].map(str::to_owned);
    let rows =
        lines.iter().map(|line| [line.family.to_owned(), line.table.clone(), line.chain.clone(), line.rule.clone(), line.why.to_owned()]);
    let rows: Vec<[String; 5]> = std::iter::once(heading).chain(rows).collect();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
    let [family, table, chain, rule] = [0, 1, 2, 3].map(width);
    let row = |[a, b, c, d, why]: &[String; 5]| format!("{a:family$}  {b:table$}  {c:chain$}  {d:rule$}  {why}\n");
    rows.iter().map(row).collect()
}

fn as_json(lines: &[Line]) -> String {
    let object = |line: &Line| serde_json::json!({ "family": line.family, "table": line.table, "chain": line.chain, "rule": line.rule, "why": line.why });
    let list: Vec<_> = lines.iter().map(object).collect();
    format!("{:#}\n", serde_json::Value::from(list))
}
