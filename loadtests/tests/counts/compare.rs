//! Pure: what rose, by how much, and how that is told.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Per request.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Of the proxy in user space.
    pub instructions: f64,
    /// From the heap, reallocations included.
    pub allocations: f64,
    /// Of all threads of the proxy.
    pub system_calls: f64,
}

impl Counts {
    /// The smaller one of each quantity.
    pub fn least(&self, other: &Counts) -> Counts {
        Counts {
            instructions: self.instructions.min(other.instructions),
            allocations: self.allocations.min(other.allocations),
            system_calls: self.system_calls.min(other.system_calls),
        }
    }
}

/// By scenario.
pub type Table = BTreeMap<String, Counts>;

/// A rise of instructions beyond this share is a failure.
const INSTRUCTIONS: f64 = 0.03;
/// A rise of allocations or system calls beyond this is a failure.
const EACH: f64 = 0.5;
/// What the plain scenario may cost, whatever was recorded (the project's budget).
const PLAIN: (&str, f64, f64) = ("plain", 10.0, 4.6);

/// A quantity that costs too much.
#[derive(Clone, Debug, PartialEq)]
pub struct Rise {
    pub scenario: String,
    pub quantity: &'static str,
    /// Recorded, or the budget.
    pub before: f64,
    pub now: f64,
}

/// What costs more than recorded by too much. Scenarios that only one side knows are not compared.
pub fn rises(recorded: &Table, now: &Table) -> Vec<Rise> {
    let both = now.iter().filter_map(|(scenario, now)| Some((scenario, recorded.get(scenario)?, now)));
    both.flat_map(|(scenario, before, now)| rises_of(scenario, before, now)).collect()
}

fn rises_of(scenario: &str, before: &Counts, now: &Counts) -> Vec<Rise> {
    let rise = |quantity, before: f64, now: f64, limit: f64| {
        (now - before > limit).then(|| Rise { scenario: scenario.to_owned(), quantity, before, now })
    };
    let all = [
        rise("instructions", before.instructions, now.instructions, INSTRUCTIONS * before.instructions),
        rise("allocations", before.allocations, now.allocations, EACH),
        rise("system calls", before.system_calls, now.system_calls, EACH),
    ];
    all.into_iter().flatten().collect()
}

/// What exceeds the budget.
pub fn over_budget(now: &Table) -> Vec<Rise> {
    let (scenario, allocations, system_calls) = PLAIN;
    let Some(counts) = now.get(scenario) else { return Vec::new() };
    let rise = |quantity, before, now| Rise { scenario: scenario.to_owned(), quantity, before, now };
    let all = [rise("allocations", allocations, counts.allocations), rise("system calls", system_calls, counts.system_calls)];
    all.into_iter().filter(|rise| rise.now > rise.before).collect()
}

/// Whether anything costs so much less than recorded that the record should follow.
pub fn fell(recorded: &Table, now: &Table) -> bool {
    !rises(now, recorded).is_empty()
}

/// What costs too much; `before` is the title of the column with what was allowed.
pub fn render_rises(before: &str, rises: &[Rise]) -> String {
    let row = |rise: &Rise| {
        [
            rise.scenario.clone(),
            rise.quantity.to_owned(),
            number(rise.quantity, rise.before),
            number(rise.quantity, rise.now),
            change(rise.quantity, rise.before, rise.now),
        ]
    };
    let head = ["scenario", "quantity", before, "now", "change"].map(str::to_owned);
    aligned(&[vec![head], rises.iter().map(row).collect()].concat(), 2)
}

/// All counts, each with its change when it was recorded before. `order`: scenarios as they shall appear.
pub fn render(order: &[&str], recorded: &Table, now: &Table) -> String {
    let mut rows = vec![["scenario", "instructions", "", "allocations", "", "system calls", ""].map(str::to_owned)];
    for (scenario, counts) in order.iter().filter_map(|scenario| Some((*scenario, now.get(*scenario)?))) {
        let before = recorded.get(scenario);
        let cell = |quantity, of: fn(&Counts) -> f64| {
            let change = before.map(|before| change(quantity, of(before), of(counts)));
            [number(quantity, of(counts)), change.unwrap_or_else(|| "new".to_owned())]
        };
        let [instructions, more] = cell("instructions", |counts| counts.instructions);
        let [allocations, more_allocations] = cell("allocations", |counts| counts.allocations);
        let [system_calls, more_system_calls] = cell("system calls", |counts| counts.system_calls);
        rows.push([scenario.to_owned(), instructions, more, allocations, more_allocations, system_calls, more_system_calls]);
    }
    aligned(&rows, 1)
}

/// Where the instructions and the allocations of a scenario come from; each list with its most expensive row first.
pub fn render_details(areas: &[(String, f64)], callers: &[(String, f64)]) -> String {
    let rows = |title: &str, rows: &[(String, f64)], quantity: &str| {
        let head = [title.to_owned(), quantity.to_owned()];
        let rows = rows.iter().map(|(name, each)| [name.clone(), number(quantity, *each)]).collect();
        aligned(&[vec![head], rows].concat(), 1)
    };
    rows("part", areas, "instructions") + "\n" + &rows("function", callers, "allocations")
}

fn number(quantity: &str, value: f64) -> String {
    if quantity == "instructions" { format!("{value:.0}") } else { format!("{value:.2}") }
}

fn change(quantity: &str, before: f64, now: f64) -> String {
    match quantity {
        "instructions" => format!("{:+.1} %", 100.0 * (now - before) / before.max(1.0)),
        _ => format!("{:+.2}", now - before),
    }
}

/// Columns two spaces apart; the first `left` flush left, the others flush right.
fn aligned<const N: usize>(rows: &[[String; N]], left: usize) -> String {
    let widths: [usize; N] = std::array::from_fn(|at| rows.iter().map(|row| row[at].len()).max().unwrap_or_default());
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).enumerate();
        let cells = cells.map(|(at, (cell, width))| if at < left { format!("{cell:<width$}") } else { format!("{cell:>width$}") });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: Counts = Counts { instructions: 30_000.0, allocations: 9.0, system_calls: 4.13 };

    fn table(name: &str, counts: Counts) -> Table {
        Table::from([(name.to_owned(), counts)])
    }

    fn quantities(now: Counts) -> Vec<&'static str> {
        rises(&table("plain", BEFORE), &table("plain", now)).into_iter().map(|rise| rise.quantity).collect()
    }

    #[test]
    fn a_rise_fails_only_beyond_its_limit() {
        assert!(quantities(BEFORE).is_empty());
        assert!(quantities(Counts { instructions: 30_900.0, allocations: 9.5, system_calls: 4.63 }).is_empty());
        assert_eq!(quantities(Counts { instructions: 30_901.0, ..BEFORE }), ["instructions"]);
        assert_eq!(quantities(Counts { allocations: 9.51, system_calls: 4.64, ..BEFORE }), ["allocations", "system calls"]);
        assert!(quantities(Counts { instructions: 1.0, allocations: 1.0, system_calls: 1.0 }).is_empty());
    }

    #[test]
    fn a_fall_by_as_much_is_noticed() {
        let fallen = |now| fell(&table("plain", BEFORE), &table("plain", now));
        assert!(fallen(Counts { allocations: 8.0, ..BEFORE }));
        assert!(!fallen(Counts { allocations: 8.9, instructions: 31_000.0, ..BEFORE }));
    }

    #[test]
    fn the_budget_holds_for_the_plain_scenario_alone_and_without_a_record() {
        let costly = Counts { allocations: 10.1, system_calls: 4.61, ..BEFORE };
        assert_eq!(over_budget(&table("plain", costly)).len(), 2);
        assert!(over_budget(&table("plain", BEFORE)).is_empty());
        assert!(over_budget(&table("http2", costly)).is_empty());
    }

    #[test]
    fn what_rose_is_told_in_aligned_columns() {
        let now = Counts { instructions: 33_000.0, allocations: 10.0, ..BEFORE };
        let told = render_rises("recorded", &rises(&table("plain", BEFORE), &table("plain", now)));
        let expected = "scenario  quantity      recorded    now    change\n\
                        plain     instructions     30000  33000  +10.0 %\n\
                        plain     allocations       9.00  10.00    +1.00\n";
        assert_eq!(told, expected.replace("    change", "   change"));
    }

    #[test]
    fn scenarios_appear_in_order_and_unrecorded_ones_are_marked() {
        let now = [table("b", BEFORE), table("a", BEFORE)].into_iter().flatten().collect();
        let told = render(&["b", "a"], &table("a", BEFORE), &now);
        let expected = "scenario  instructions          allocations         system calls\n\
                        b                30000     new         9.00    new          4.13    new\n\
                        a                30000  +0.0 %         9.00  +0.00          4.13  +0.00\n";
        assert_eq!(told, expected);
    }
}
