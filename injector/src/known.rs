//! The annotations that exist on pods, and finding the one that was meant. Istio takes a mistyped annotation silently (contract section 8,
//! item 15).

use std::collections::BTreeMap;

/// Annotations of pods that Istio or Outrigger reads or writes (contract 2.9, 3.12).
pub const ANNOTATIONS: &[&str] = &[
    "inject.istio.io/templates",
    "istio.io/reroute-virtual-interfaces",
    "istio.io/rev",
    "prometheus.istio.io/merge-metrics",
    "prometheus.istio.io/scrape-targets",
    "prometheus.istio.io/secure-port",
    "proxy.istio.io/config",
    "proxy.istio.io/overrides",
    "proxy.outrigger.io/exitWithApplication",
    "proxy.outrigger.io/restore",
    "readiness.status.sidecar.istio.io/applicationPorts",
    "readiness.status.sidecar.istio.io/failureThreshold",
    "readiness.status.sidecar.istio.io/initialDelaySeconds",
    "readiness.status.sidecar.istio.io/periodSeconds",
    "sidecar.istio.io/agentLogLevel",
    "sidecar.istio.io/bootstrapOverride",
    "sidecar.istio.io/capNetBindService",
    "sidecar.istio.io/componentLogLevel",
    "sidecar.istio.io/discoveryAddress",
    "sidecar.istio.io/extraStatTags",
    "sidecar.istio.io/inject",
    "sidecar.istio.io/interceptionMode",
    "sidecar.istio.io/logLevel",
    "sidecar.istio.io/nativeSidecar",
    "sidecar.istio.io/proxyCPU",
    "sidecar.istio.io/proxyCPULimit",
    "sidecar.istio.io/proxyImage",
    "sidecar.istio.io/proxyImageType",
    "sidecar.istio.io/proxyMemory",
    "sidecar.istio.io/proxyMemoryLimit",
    "sidecar.istio.io/rewriteAppHTTPProbers",
    "sidecar.istio.io/statsCompression",
    "sidecar.istio.io/statsEvictionInterval",
    "sidecar.istio.io/statsFlushInterval",
    "sidecar.istio.io/statsHistogramBins",
    "sidecar.istio.io/statsHistogramBuckets",
    "sidecar.istio.io/statsInclusionPrefixes",
    "sidecar.istio.io/statsInclusionRegexps",
    "sidecar.istio.io/statsInclusionSuffixes",
    "sidecar.istio.io/status",
    "sidecar.istio.io/userVolume",
    "sidecar.istio.io/userVolumeMount",
    "status.sidecar.istio.io/port",
    "traffic.sidecar.istio.io/excludeInboundPorts",
    "traffic.sidecar.istio.io/excludeInterfaces",
    "traffic.sidecar.istio.io/excludeOutboundIPRanges",
    "traffic.sidecar.istio.io/excludeOutboundPorts",
    "traffic.sidecar.istio.io/includeInboundPorts",
    "traffic.sidecar.istio.io/includeOutboundIPRanges",
    "traffic.sidecar.istio.io/includeOutboundPorts",
    "traffic.sidecar.istio.io/kubevirtInterfaces",
];

/// Annotations of Istio's that change nothing here, and why.
pub const WITHOUT_EFFECT: &[(&str, &str)] = &[
    ("prometheus.istio.io/secure-port", "no port serves the application's metrics over mTLS by itself"),
    ("readiness.status.sidecar.istio.io/applicationPorts", "Istio no longer uses it either"),
    ("sidecar.istio.io/bootstrapOverride", "the ConfigMap is mounted, but it patches Envoy's bootstrap, and Outrigger has none"),
    ("sidecar.istio.io/extraStatTags", "no tags are extracted from statistics"),
    ("sidecar.istio.io/proxyImageType", "Outrigger's image has no variants"),
    ("sidecar.istio.io/statsCompression", "statistics are compressed for those who accept it"),
    ("sidecar.istio.io/statsEvictionInterval", "it is about Envoy's statistics"),
    ("sidecar.istio.io/statsFlushInterval", "statistics are not pushed anywhere"),
    ("sidecar.istio.io/statsHistogramBins", "it is about Envoy's statistics"),
    ("sidecar.istio.io/statsHistogramBuckets", "it is about Envoy's statistics"),
    ("sidecar.istio.io/statsInclusionPrefixes", "it is about Envoy's statistics"),
    ("sidecar.istio.io/statsInclusionRegexps", "it is about Envoy's statistics"),
    ("sidecar.istio.io/statsInclusionSuffixes", "it is about Envoy's statistics"),
];

/// Domains in which an unknown name is certainly a mistake; others (`ambient.istio.io`, `gateway.istio.io`) are not the sidecar's business.
const DOMAINS: &[&str] = &[
    "inject.istio.io",
    "prometheus.istio.io",
    "proxy.istio.io",
    "proxy.outrigger.io",
    "readiness.status.sidecar.istio.io",
    "sidecar.istio.io",
    "status.sidecar.istio.io",
    "traffic.sidecar.istio.io",
];

/// How many letters may be wrong for a name to count as mistyped.
const TOLERANCE: usize = 3;

/// One warning per annotation that looks like one of Istio's and is none.
#[must_use]
pub fn mistyped(annotations: &BTreeMap<String, String>) -> Vec<String> {
    annotations.keys().filter(|name| !ANNOTATIONS.contains(&name.as_str())).filter_map(|name| complaint(name)).collect()
}

fn complaint(name: &str) -> Option<String> {
    // A name is as long as its author likes, and the distance costs the product of both lengths.
    let similar = ANNOTATIONS.iter().filter(|known| name.len().abs_diff(known.len()) <= TOLERANCE);
    let nearest = similar.map(|known| (distance(name, known), *known)).min().filter(|(distance, _)| *distance <= TOLERANCE);
    let in_domain = name.split_once('/').is_some_and(|(domain, _)| DOMAINS.contains(&domain));
    match nearest {
        Some((_, meant)) => Some(format!("annotation {name} is not known and has no effect; did you mean {meant}?")),
        None if in_domain => Some(format!("annotation {name} is not known and has no effect")),
        None => None,
    }
}

/// Levenshtein distance without regard to case, by bytes: the known names are ASCII.
fn distance(left: &str, right: &str) -> usize {
    let right = right.as_bytes();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.bytes().enumerate() {
        let mut diagonal = i;
        let mut before = i + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(right) {
            let substituted = diagonal + usize::from(!a.eq_ignore_ascii_case(b));
            diagonal = *cell;
            *cell = substituted.min(*cell + 1).min(before + 1);
            before = *cell;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{ANNOTATIONS, WITHOUT_EFFECT, distance, mistyped};

    fn complaints(name: &str) -> Vec<String> {
        mistyped(&[(name.to_owned(), String::new())].into())
    }

    #[test]
    fn a_slip_of_the_finger_is_answered_with_what_was_meant() {
        assert_eq!(
            complaints("traffic.sidecar.istio.io/excludeOutboundPort"),
            [
                "annotation traffic.sidecar.istio.io/excludeOutboundPort is not known and has no effect; did you mean traffic.sidecar.istio.io/excludeOutboundPorts?"
            ]
        );
        assert!(complaints("sidecar.istio.io/proxyCpu")[0].ends_with("did you mean sidecar.istio.io/proxyCPU?"));
        assert!(complaints("sidecars.istio.io/inject")[0].ends_with("did you mean sidecar.istio.io/inject?"));
    }

    #[test]
    fn an_unknown_name_in_istios_domain_is_told_and_other_peoples_are_left_alone() {
        assert_eq!(complaints("sidecar.istio.io/frobnicate"), ["annotation sidecar.istio.io/frobnicate is not known and has no effect"]);
        for fine in ["prometheus.io/scrape", "example.com/inject", "ambient.istio.io/redirection", "kubectl.kubernetes.io/restartedAt"] {
            assert_eq!(complaints(fine), [""; 0], "{fine}");
        }
        assert!(ANNOTATIONS.iter().all(|name| complaints(name).is_empty()));
    }

    #[test]
    fn a_name_that_is_far_too_long_is_compared_with_nothing() {
        let since = std::time::Instant::now();
        let long = (0..20).map(|number| (format!("sidecar.istio.io/{number}{}", "a".repeat(100_000)), String::new())).collect();
        assert_eq!(mistyped(&long).len(), 20);
        assert!(since.elapsed() < std::time::Duration::from_secs(1), "{:?}", since.elapsed());
    }

    #[test]
    fn every_annotation_is_read_somewhere_or_told_to_be_without_effect() {
        let sources = sources(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
        for name in ANNOTATIONS.iter().filter(|name| !WITHOUT_EFFECT.iter().any(|(told, _)| told == *name)) {
            let last = name.rsplit('/').next().unwrap();
            let is_read = sources.iter().any(|text| text.contains(&format!("\"{name}\"")) || text.contains(&format!("\"{last}\"")));
            assert!(is_read, "{name} has no effect, and nobody is told");
        }
        assert!(WITHOUT_EFFECT.iter().all(|(name, _)| ANNOTATIONS.contains(name)));
    }

    /// All modules but this one, their tests left out.
    fn sources(folder: &std::path::Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
        let modules = files.iter().filter(|path| !path.ends_with("src/known.rs") && !path.ends_with("tests.rs"));
        let code = |text: String| text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
        let here = modules.map(|path| code(std::fs::read_to_string(path).unwrap()));
        here.chain(folders.iter().flat_map(|folder| sources(folder))).collect()
    }

    #[test]
    fn the_distance_counts_single_changes() {
        assert_eq!([distance("kitten", "sitting"), distance("", "abc"), distance("abc", ""), distance("ABC", "abc")], [3, 3, 3, 0]);
    }
}
