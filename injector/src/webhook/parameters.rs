//! What the URL's path says about the calling cluster: `/inject/cluster/<id>/net/<network>/<key>/<value>...`, and the older form
//! `/inject/:ENV:k=v:ENV:k=v`. One injector so serves several clusters (contract 3.3).

use std::collections::BTreeMap;

use crate::settings::Settings;

/// Stands for a slash inside a value.
const SLASH: &str = "--slash--";
const OLD: &str = ":ENV:";
/// More would be no configuration but an attempt.
const MOST: usize = 64;

/// Parameters of one webhook URL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// Cluster of the caller.
    pub cluster: Option<String>,
    /// Network of the caller.
    pub network: Option<String>,
    /// Further variables of the proxy.
    pub environment: BTreeMap<String, String>,
}

/// Reads what follows `/inject`, percent signs already decoded.
///
/// # Errors
/// In words: a key without a value, a variable name that no environment can hold.
pub fn read(path: &str) -> Result<Parameters, String> {
    let path = path.trim_matches('/');
    let pairs = if path.starts_with(OLD) { old_form(path)? } else { segments(path)? };
    if pairs.len() > MOST {
        return Err(format!("the webhook's path has {} parameters, expected at most {MOST}", pairs.len()));
    }
    let mut parameters = Parameters::default();
    for (key, value) in pairs {
        let value = value.replace(SLASH, "/");
        match key {
            "cluster" | "ISTIO_META_CLUSTER_ID" => parameters.cluster = Some(value),
            "net" | "ISTIO_META_NETWORK" => parameters.network = Some(value),
            key => {
                let name = key.to_uppercase();
                if !is_variable(&name) {
                    return Err(format!("the webhook's path has the key `{key}`, which is no name of an environment variable"));
                }
                parameters.environment.insert(name, value);
            }
        }
    }
    Ok(parameters)
}

fn segments(path: &str) -> Result<Vec<(&str, &str)>, String> {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let (pairs, rest) = segments.as_chunks();
    match rest {
        [] => Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect()),
        rest => Err(format!("the webhook's path ends in the key `{}` without a value", rest.concat())),
    }
}

fn old_form(path: &str) -> Result<Vec<(&str, &str)>, String> {
    let pairs = path.split(OLD).filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').ok_or_else(|| format!("the webhook's path has `{OLD}{pair}`, expected `{OLD}NAME=VALUE`")))
        .collect()
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

impl Parameters {
    /// The settings for pods of this cluster.
    pub fn apply_to_settings(&self, settings: &mut Settings) {
        if let Some(cluster) = &self.cluster {
            settings.cluster_id.clone_from(cluster);
        }
        if self.network.is_some() {
            settings.network.clone_from(&self.network);
        }
        settings.environment.extend(self.environment.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::{Parameters, read};

    #[test]
    fn keys_and_values_alternate_and_a_slash_can_be_written() {
        let parameters = read("/cluster/prod--slash--eu/net/net-1/team_name/shop/").unwrap();
        assert_eq!(parameters.cluster.as_deref(), Some("prod/eu"));
        assert_eq!(parameters.network.as_deref(), Some("net-1"));
        assert_eq!(parameters.environment, [("TEAM_NAME".to_owned(), "shop".to_owned())].into());
        assert_eq!(read("").unwrap(), Parameters::default());
        assert_eq!(read("/").unwrap(), Parameters::default());
    }

    #[test]
    fn the_older_form_is_read_too() {
        let parameters = read("/:ENV:ISTIO_META_CLUSTER_ID=c1:ENV:ISTIO_META_NETWORK=n1:ENV:extra=a=b").unwrap();
        assert_eq!((parameters.cluster.as_deref(), parameters.network.as_deref()), (Some("c1"), Some("n1")));
        assert_eq!(parameters.environment["EXTRA"], "a=b");
    }

    #[test]
    fn half_a_pair_and_impossible_names_are_refused() {
        assert!(read("/cluster").unwrap_err().contains("`cluster` without a value"));
        assert!(read("/a=b/c").unwrap_err().contains("no name of an environment variable"));
        assert!(read("/:ENV:novalue").unwrap_err().contains("expected `:ENV:NAME=VALUE`"));
        assert!(read("/:ENV:=v").unwrap_err().contains("no name of an environment variable"));
        assert!(read(&"/k/v".repeat(65)).unwrap_err().contains("at most 64"));
    }
}
