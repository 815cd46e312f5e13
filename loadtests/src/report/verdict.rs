//! Who answered how often and in which order, and what was demanded of that.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How evenly answers took turns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turns {
    /// The property whose values take turns.
    pub property: String,
    /// Per set of values that should take turns (a version's pods, or all values of the property), how they did.
    pub sets: Vec<TurnSet>,
}

/// Values that should take turns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnSet {
    /// The version they share, if that is what makes the set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Answers of each.
    pub counts: BTreeMap<String, u64>,
    /// The greatest difference between two of them within any window of consecutive requests, in the order of sending.
    /// None when that order is not known, or there are too many values to look at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worst_window: Option<u64>,
}

/// The shares that answers should have.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    /// The property: `version`, or one of `--count-by`.
    pub property: String,
    /// The share of each value, 0 to 1.
    pub shares: BTreeMap<String, f64>,
}

/// Something demanded of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// What is looked at, such as `v1` or `p99`.
    pub name: String,
    /// What was demanded.
    pub want: String,
    /// What was found.
    pub got: String,
    /// Whether it holds.
    pub ok: bool,
    /// The option that demanded it, such as `--slo`.
    pub by: String,
}

/// One pod's share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodCount {
    /// The version it claims to be.
    pub version: String,
    /// Its answers.
    pub requests: u64,
}
