//! Metadata, selectors and references shared by all kinds.

use crate::decode::{Decode, Decoder, Path, api_struct};
use crate::string_map::StringMap;
use crate::yaml::Node;

api_struct! {
    /// Metadata of an object.
    pub struct ObjectMeta {
        /// Name.
        pub name: String,
        /// Prefix from which a name is made.
        pub generate_name: String,
        /// Namespace; empty when not written. `Object::id` has the effective one.
        pub namespace: String,
        /// Labels.
        pub labels: StringMap,
        /// Annotations.
        pub annotations: StringMap,
        /// When the API server stored it; absent in files.
        pub creation_timestamp: Option<Timestamp>,
        /// When it is to be gone.
        pub deletion_timestamp: Option<Timestamp>,
        /// Who made it.
        pub owner_references: Vec<OwnerReference>,
        /// Unique id.
        pub uid: String,
        /// Version in the API server.
        pub resource_version: String,
    }
    also [
        "selfLink", "generation", "deletionGracePeriodSeconds", "finalizers", "managedFields", "clusterName",
    ]
}

api_struct! {
    /// Who made an object.
    pub struct OwnerReference {
        /// Group and version of the owner.
        pub api_version: String,
        /// Kind of the owner.
        pub kind: String,
        /// Name of the owner.
        pub name: String,
        /// Id of the owner.
        pub uid: String,
        /// True for the one that manages the object.
        pub controller: bool,
    }
    also ["blockOwnerDeletion"]
}

/// A point in time in whole seconds since 1970 (UTC); the resolution of `metadata.creationTimestamp`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Parses RFC 3339, such as `2024-05-01T12:00:00Z` or with an offset; fractions are dropped.
    pub fn parse(text: &str) -> Option<Timestamp> {
        let (date, time) = text.split_once(['T', 't', ' '])?;
        let date: Vec<i64> = date.split('-').map(|part| part.parse().ok()).collect::<Option<_>>()?;
        let split = time.find(['Z', 'z', '+', '-'])?;
        let (clock, zone) = time.split_at(split);
        let clock = clock.split('.').next()?;
        let clock: Vec<i64> = clock.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
        let ([year, month, day], [hour, minute, second]) = (date.as_slice(), clock.as_slice()) else {
            return None;
        };
        let in_range = (0..=9999).contains(year)
            && (1..=12).contains(month)
            && (1..=31).contains(day)
            && (0..=23).contains(hour)
            && (0..=59).contains(minute)
            && (0..=60).contains(second);
        in_range.then_some(())?;
        let seconds = days_since_epoch(*year, *month, *day) * 86_400 + hour * 3600 + minute * 60 + second;
        Some(Timestamp(seconds - offset_seconds(zone)?))
    }
}

/// `Z`, `+02:00` or `-0700` in seconds.
fn offset_seconds(zone: &str) -> Option<i64> {
    let sign = match zone.as_bytes().first()? {
        b'Z' | b'z' => return (zone.len() == 1).then_some(0),
        b'-' => -1,
        _ => 1,
    };
    let digits: String = zone.chars().filter(char::is_ascii_digit).collect();
    let value: i64 = digits.parse().ok()?;
    (digits.len() == 4).then_some(sign * (value / 100 * 3600 + value % 100 * 60))
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar. Counting years from March puts the leap day last, so
/// that the days before a month follow from one linear formula.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

impl Decode for Timestamp {
    fn decode(node: &Node, path: &Path<'_>, cx: &mut Decoder) -> Self {
        node.as_str().and_then(Timestamp::parse).unwrap_or_else(|| {
            cx.mismatch(node, path, "a time such as \"2024-05-01T12:00:00Z\"");
            Timestamp::default()
        })
    }
}

api_struct! {
    /// A selector with equality and set conditions; all must hold.
    pub struct LabelSelector {
        /// Labels that must be equal.
        pub match_labels: StringMap,
        /// Further conditions.
        pub match_expressions: Vec<LabelSelectorRequirement>,
    }
}

api_struct! {
    /// A set condition on a label.
    pub struct LabelSelectorRequirement {
        /// Label.
        pub key: String,
        /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
        pub operator: String,
        /// Values for `In` and `NotIn`.
        pub values: Vec<String>,
    }
}

impl LabelSelector {
    /// Whether `labels` satisfy all conditions. An unknown operator never holds.
    pub fn matches(&self, labels: &StringMap) -> bool {
        let equal = self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value));
        equal && self.match_expressions.iter().all(|requirement| requirement.holds(labels.get(&requirement.key)))
    }
}

impl LabelSelectorRequirement {
    fn holds(&self, value: Option<&String>) -> bool {
        let listed = value.is_some_and(|value| self.values.contains(value));
        match self.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    }
}

api_struct! {
    /// Reference to an object of the same namespace.
    pub struct LocalObjectReference {
        /// Name.
        pub name: String,
    }
    also ["kind", "namespace", "apiVersion", "uid", "fieldPath", "resourceVersion"]
}
