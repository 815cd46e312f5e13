//! Kubernetes' quantities: a decimal number with a decimal, binary or exponent suffix.

/// What is expected where one is not understood.
pub(crate) const EXPECTED: &str = "expected a quantity such as 100m, 2 or 128Mi";

const SUFFIXES: [(&str, f64); 16] = [
    ("", 1.0),
    ("n", 1e-9),
    ("u", 1e-6),
    ("m", 1e-3),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("E", 1e18),
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("Pi", 1_125_899_906_842_624.0),
    ("Ei", 1_152_921_504_606_846_976.0),
];

/// The amount, in units; good for comparing, not for exact sums. `None` if it is no quantity.
pub(crate) fn amount(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let number: f64 = number.parse().ok()?;
    let factor = SUFFIXES.iter().find(|(known, _)| *known == suffix).map(|(_, factor)| *factor);
    let exponent = || Some(10f64.powi(suffix.strip_prefix(['e', 'E'])?.parse().ok()?));
    Some(number * factor.or_else(exponent)?)
}

#[cfg(test)]
mod tests {
    use super::amount;

    #[test]
    fn quantities_are_those_of_kubernetes() {
        for (good, expected) in
            [("1", 1.0), ("0.5", 0.5), ("100m", 0.1), ("128Mi", 134_217_728.0), ("1e3", 1e3), ("2E", 2e18), ("1E6", 1e6), (".5Ki", 512.0)]
        {
            assert!((amount(good).unwrap() - expected).abs() < 1e-6 * expected, "{good}");
        }
        for bad in ["", "m", "1.2.3", "128MB", "12 Mi", "1ee3", "NaN", "1K", "-1"] {
            assert_eq!(amount(bad), None, "{bad}");
        }
    }
}
