//! Expected shares of the answers, and whether a report keeps to them.

use std::{collections::BTreeMap, str::FromStr};

use crate::report::{Check, Report, TurnSet};

/// Values with their weights, such as `v1=50,v2=30,v3=15,v4=5`. The weights need not sum to 100.
#[derive(Clone, Debug, PartialEq)]
pub struct Expectation {
    weights: Vec<(String, f64)>,
}

/// By how much a value may differ from its share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tolerance {
    /// Percentage points of all answers: with 1, a share of 30 may be 29 to 31 of a hundred.
    Points(f64),
    /// Answers.
    Answers(f64),
}

impl Default for Tolerance {
    fn default() -> Self {
        Self::Points(1.0)
    }
}

impl FromStr for Tolerance {
    type Err = String;

    /// `1` or `1%` for percentage points, `2n` for answers.
    fn from_str(text: &str) -> Result<Self, String> {
        let (number, made): (_, fn(f64) -> Self) = match text.strip_suffix('n') {
            Some(number) => (number, Self::Answers),
            None => (text.strip_suffix('%').unwrap_or(text), Self::Points),
        };
        let number: Option<f64> = number.trim().parse().ok().filter(|number| (0.0..f64::INFINITY).contains(number));
        number.map(made).ok_or_else(|| format!("{text:?}: expected percentage points such as 1 or 0.5%, or answers such as 2n"))
    }
}

impl Tolerance {
    /// In answers, of so many.
    fn answers(self, of: u64) -> f64 {
        match self {
            Self::Points(points) => points / 100.0 * of as f64,
            Self::Answers(answers) => answers,
        }
    }
}

impl FromStr for Expectation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let pairs = text.split(',').map(|pair| {
            let (name, weight) = pair.rsplit_once('=')?;
            let weight: f64 = weight.trim().parse().ok().filter(|weight| (0.0..f64::INFINITY).contains(weight))?;
            Some((name.trim().to_owned(), weight))
        });
        let weights = pairs.collect::<Option<Vec<_>>>().ok_or_else(|| format!("{text:?}: expected NAME=WEIGHT,..."))?;
        if weights.iter().all(|(_, weight)| *weight == 0.0) {
            return Err(format!("{text:?}: the weights sum to 0"));
        }
        if let Some((name, _)) = weights
            .iter()
            .enumerate()
            .find(|(i, (name, _))| weights.iter().skip(i + 1).any(|(other, _)| other == name))
            .map(|(_, pair)| pair)
        {
            return Err(format!("{text:?}: {name} stands twice"));
        }
        Ok(Self { weights })
    }
}

/// What stands for answers that do not show the property.
const NONE: &str = "(none)";

impl Expectation {
    /// The weights, in the order given.
    pub fn weights(&self) -> &[(String, f64)] {
        &self.weights
    }

    /// The share of each value, 0 to 1.
    pub fn shares(&self) -> BTreeMap<String, f64> {
        let total: f64 = self.weights.iter().map(|(_, weight)| weight).sum();
        self.weights.iter().map(|(name, weight)| (name.clone(), weight / total)).collect()
    }

    /// Compares counts of answers with the shares.
    ///
    /// A value nobody expected is wrong however rare, and so is one that was expected and never came: a tolerance excuses
    /// neither. An empty run proves nothing, so nothing in it is as expected.
    pub fn check(&self, counts: &BTreeMap<String, u64>, tolerance: Tolerance) -> Vec<Check> {
        let answers: u64 = counts.values().sum();
        let total: f64 = self.weights.iter().map(|(_, weight)| weight).sum();
        let allowed = tolerance.answers(answers) + 1e-9;
        let percent = |count: f64| if answers > 0 { count / answers as f64 * 100.0 } else { 0.0 };
        let check = |name: &str, share: f64| {
            let want = share * answers as f64;
            let got = counts.get(name).copied().unwrap_or_default();
            let appears = (got > 0 || want < 1.0) && (got == 0 || share > 0.0);
            Check {
                name: if name.is_empty() { NONE.to_owned() } else { name.to_owned() },
                want: format!("{want:.1} ({:.2} %)", share * 100.0),
                got: format!("{got} ({:.2} %)", percent(got as f64)),
                ok: answers > 0 && appears && (got as f64 - want).abs() <= allowed,
                by: "--expect".to_owned(),
            }
        };
        let unexpected = counts.keys().filter(|name| !self.weights.iter().any(|(known, _)| known == *name));
        let expected = self.weights.iter().map(|(name, weight)| check(name, weight / total));
        expected.chain(unexpected.map(|name| check(name, 0.0))).collect()
    }
}

/// The answers of a report that `--expect` looks at: those by the first `--count-by`, else those by version.
pub fn counted(report: &Report) -> BTreeMap<String, u64> {
    match report.run.count_by.first() {
        Some(property) => report.groups.get(property).cloned().unwrap_or_default(),
        None => {
            let mut counts = report.versions.clone();
            let unnamed = (report.requests - report.error_count()).saturating_sub(counts.values().sum());
            if unnamed > 0 {
                counts.insert(String::new(), unnamed);
            }
            counts
        }
    }
}

/// Whether answers took turns: no value of a set is more than one answer ahead of another, in total and, when the order
/// of sending is also the order in which the server saw the requests (`in_order`), within any window. With `versions`
/// only the pods of these have to.
pub fn round_robin(report: &Report, versions: &[&str], in_order: bool) -> Vec<Check> {
    let wanted = |set: &&TurnSet| versions.is_empty() || set.version.as_deref().is_some_and(|version| versions.contains(&version));
    let sets = report.turns.iter().flat_map(|turns| &turns.sets).filter(wanted).filter(|set| set.counts.len() > 1);
    let checks: Vec<Check> = sets.flat_map(|set| turn_checks(set, in_order)).collect();
    if checks.is_empty() {
        let property = report.turns.as_ref().map_or("pod", |turns| &turns.property);
        let got = format!("no two values of {property} to take turns");
        return vec![turn_check("round robin".to_owned(), got, false)];
    }
    checks
}

fn turn_checks(set: &TurnSet, in_order: bool) -> Vec<Check> {
    let most = set.counts.iter().max_by_key(|(_, count)| **count);
    let least = set.counts.iter().min_by_key(|(_, count)| **count);
    let (Some((most, high)), Some((least, low))) = (most, least) else { return Vec::new() };
    let of = set.version.as_ref().filter(|version| !version.is_empty()).map(|version| format!(" of {version}")).unwrap_or_default();
    let got = format!("{} ({most} {high}, {least} {low})", high - low);
    let total = turn_check(format!("{} values{of} in total", set.counts.len()), got, high - low <= 1);
    let window = set.worst_window.filter(|_| in_order);
    let window =
        window.map(|worst| turn_check(format!("{} values{of} in the worst window", set.counts.len()), worst.to_string(), worst <= 1));
    std::iter::once(total).chain(window).collect()
}

fn turn_check(name: String, got: String, ok: bool) -> Check {
    Check { name, want: "at most 1 apart".to_owned(), got, ok, by: "--expect-round-robin".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Turns;

    fn check(counts: &[(&str, u64)], tolerance: &str) -> Result<Vec<bool>, String> {
        let counts = counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        let checks = "v1=50,v2=30,v3=20".parse::<Expectation>()?.check(&counts, tolerance.parse()?);
        Ok(checks.into_iter().map(|check| check.ok).collect())
    }

    #[test]
    fn shares_within_the_tolerance_pass_and_others_do_not() -> Result<(), String> {
        assert_eq!(check(&[("v1", 502), ("v2", 299), ("v3", 199)], "2n")?, [true, true, true]);
        assert_eq!(check(&[("v1", 503), ("v2", 297), ("v3", 200)], "2n")?, [false, false, true]);
        assert_eq!(check(&[("v1", 510), ("v2", 295), ("v3", 195)], "1")?, [true, true, true]);
        assert_eq!(check(&[("v1", 511), ("v2", 290), ("v3", 199)], "1%")?, [false, true, true]);
        Ok(())
    }

    #[test]
    fn a_tolerance_excuses_neither_a_stranger_nor_an_absence() -> Result<(), String> {
        assert_eq!(check(&[("v1", 500), ("v2", 300), ("v3", 197), ("v9", 3)], "2")?.last(), Some(&false));
        assert_eq!(check(&[("v1", 500), ("v2", 300), ("v3", 199), ("", 1)], "2")?.last(), Some(&false));
        assert_eq!(check(&[("v1", 600), ("v2", 400)], "50")?, [true, true, false]);
        assert_eq!(check(&[], "2")?, [false, false, false]);
        Ok(())
    }

    #[test]
    fn weights_and_tolerances_that_are_no_numbers_or_mean_nothing_are_refused() {
        for text in ["", "v1", "v1=x", "v1=-1", "v1=0,v2=0", "v1=inf", "v1=1,v1=2"] {
            assert!(text.parse::<Expectation>().is_err(), "{text:?}");
        }
        for text in ["", "x", "-1", "1m", "n"] {
            assert!(text.parse::<Tolerance>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_header_value_with_an_equals_sign_can_be_expected() {
        let expectation: Expectation = "id=7=50,id=8=50".parse().expect("an expectation");
        assert_eq!(expectation.weights()[0], ("id=7".to_owned(), 50.0));
    }

    #[test]
    fn answers_without_a_version_count_as_unexpected() {
        let report = Report { requests: 10, versions: [("v1".to_owned(), 8)].into(), ..Report::default() };
        assert_eq!(counted(&report).get(""), Some(&2));
    }

    fn turning(counts: &[(&str, u64)], worst_window: Option<u64>) -> Report {
        let counts = counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        let sets = vec![TurnSet { version: Some("v2".to_owned()), counts, worst_window }];
        Report { turns: Some(Turns { property: "pod".to_owned(), sets }), ..Report::default() }
    }

    #[test]
    fn turns_are_even_in_total_and_in_every_window() {
        let verdicts = |report: &Report, in_order| round_robin(report, &[], in_order).iter().map(|check| check.ok).collect::<Vec<_>>();
        assert_eq!(verdicts(&turning(&[("a", 50), ("b", 51)], Some(1)), true), [true, true]);
        assert_eq!(verdicts(&turning(&[("a", 50), ("b", 50)], Some(3)), true), [true, false]);
        assert_eq!(verdicts(&turning(&[("a", 50), ("b", 50)], Some(3)), false), [true], "parallel requests overtake each other");
        assert_eq!(verdicts(&turning(&[("a", 50), ("b", 52)], Some(2)), false), [false]);
        assert_eq!(verdicts(&turning(&[("a", 50)], Some(0)), true), [false], "nothing took turns");
        assert!(round_robin(&turning(&[("a", 50), ("b", 52)], None), &[], true)[0].got.contains("b 52, a 50"));
    }

    #[test]
    fn only_the_versions_named_have_to_take_turns() {
        let mut report = turning(&[("a", 50), ("b", 51)], Some(1));
        let random =
            TurnSet { version: Some("v1".to_owned()), counts: [("c".to_owned(), 9), ("d".to_owned(), 2)].into(), worst_window: None };
        report.turns.iter_mut().for_each(|turns| turns.sets.push(random.clone()));
        let holds = |versions: &[&str]| round_robin(&report, versions, true).iter().all(|check| check.ok);
        assert!(holds(&["v2"]) && !holds(&[]) && !holds(&["v1"]) && !holds(&["v9"]));
    }
}
