//! Expected shares, and whether a report keeps to them.

use std::{collections::BTreeMap, str::FromStr};

/// Versions with their weights, such as `v1=50,v2=30,v3=15,v4=5`.
#[derive(Clone, Debug, PartialEq)]
pub struct Expectation {
    weights: Vec<(String, f64)>,
}

/// One line of the comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The version.
    pub name: String,
    /// Its share of all answers; 0 for a version nobody expected.
    pub want: f64,
    /// Its answers.
    pub got: u64,
    /// Whether the difference is within the tolerance.
    pub ok: bool,
}

impl FromStr for Expectation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let pairs = text.split(',').map(|pair| {
            let (name, weight) = pair.split_once('=')?;
            let weight: f64 = weight.trim().parse().ok().filter(|weight| *weight >= 0.0)?;
            Some((name.trim().to_owned(), weight))
        });
        let weights = pairs.collect::<Option<Vec<_>>>().ok_or_else(|| format!("{text:?}: expected NAME=WEIGHT,..."))?;
        if weights.iter().all(|(_, weight)| *weight == 0.0) {
            return Err(format!("{text:?}: the weights sum to 0"));
        }
        Ok(Self { weights })
    }
}

impl Expectation {
    /// Compares counts with the shares; `tolerance` is in answers.
    pub fn check(&self, counts: &BTreeMap<String, u64>, tolerance: f64) -> Vec<Verdict> {
        let answers: u64 = counts.values().sum();
        let total: f64 = self.weights.iter().map(|(_, weight)| weight).sum();
        let expected = self.weights.iter().map(|(name, weight)| (name.clone(), weight / total * answers as f64));
        let unexpected = counts.keys().filter(|name| !self.weights.iter().any(|(known, _)| known == *name));
        expected
            .chain(unexpected.map(|name| (name.clone(), 0.0)))
            .map(|(name, want)| {
                let got = counts.get(&name).copied().unwrap_or_default();
                // An empty run proves nothing, so nothing in it is as expected.
                let ok = answers > 0 && (got as f64 - want).abs() <= tolerance + 1e-9;
                Verdict { name, want, got, ok }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(counts: &[(&str, u64)], tolerance: f64) -> Result<Vec<bool>, String> {
        let counts = counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        let verdicts = "v1=50,v2=30,v3=20".parse::<Expectation>()?.check(&counts, tolerance);
        Ok(verdicts.into_iter().map(|verdict| verdict.ok).collect())
    }

    #[test]
    fn shares_within_the_tolerance_pass_and_others_do_not() -> Result<(), String> {
        assert_eq!(check(&[("v1", 502), ("v2", 299), ("v3", 199)], 2.0)?, [true, true, true]);
        assert_eq!(check(&[("v1", 503), ("v2", 297), ("v3", 200)], 2.0)?, [false, false, true]);
        Ok(())
    }

    #[test]
    fn an_unexpected_version_or_an_empty_run_fails() -> Result<(), String> {
        assert_eq!(check(&[("v1", 500), ("v2", 300), ("v3", 197), ("v9", 3)], 2.0)?.last(), Some(&false));
        assert_eq!(check(&[], 2.0)?, [false, false, false]);
        Ok(())
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "v1", "v1=x", "v1=-1", "v1=0,v2=0"] {
            assert!(text.parse::<Expectation>().is_err(), "{text:?}");
        }
    }
}
