//! `exportTo`: which namespaces may use an object.
//!
//! Source: Istio semantics 0.4. A client outside behaves as if the object did not exist.

/// The namespaces to which an object is visible.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Visibility {
    /// `~`: nobody.
    Nobody,
    /// `.` or the own namespace: the object's own namespace only.
    Private,
    /// A list of namespaces (`.` included as the own name), sorted.
    Namespaces(Vec<String>),
    /// `*`, and the default.
    Public,
}

impl Visibility {
    /// Reads an `exportTo` list. An empty list takes `default`, itself a list as MeshConfig has it; both empty = public.
    pub fn of(export_to: &[String], default: &[String], own_namespace: &str) -> Self {
        let list = if export_to.is_empty() { default } else { export_to };
        let has = |word: &str| list.iter().any(|entry| entry == word);
        if list.is_empty() || has("*") {
            return Visibility::Public;
        }
        if has("~") {
            return Visibility::Nobody;
        }
        let name = |entry: &String| if entry == "." { own_namespace.to_owned() } else { entry.clone() };
        let mut namespaces: Vec<String> = list.iter().map(name).collect();
        namespaces.sort();
        namespaces.dedup();
        if namespaces == [own_namespace] { Visibility::Private } else { Visibility::Namespaces(namespaces) }
    }

    /// Whether a client in `namespace` sees an object of `own_namespace`.
    pub fn admits(&self, own_namespace: &str, namespace: &str) -> bool {
        match self {
            Visibility::Nobody => false,
            Visibility::Private => own_namespace == namespace,
            Visibility::Namespaces(namespaces) => namespaces.iter().any(|entry| entry == namespace),
            Visibility::Public => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<String> {
        text.split_terminator(',').map(str::to_owned).collect()
    }

    #[test]
    fn export_to_decides_who_sees_an_object() {
        for (export_to, default, client, expected) in [
            ("", "", "other", true),
            ("", ".", "other", false),
            ("", ".", "own", true),
            ("*", ".", "other", true),
            (".", "", "other", false),
            (".", "", "own", true),
            ("other", "", "other", true),
            ("other", "", "own", false),
            (".,other", "", "own", true),
            ("~", "", "own", false),
            ("own", "", "third", false),
        ] {
            let visibility = Visibility::of(&list(export_to), &list(default), "own");
            assert_eq!(visibility.admits("own", client), expected, "{export_to:?} default {default:?} seen from {client}");
        }
    }

    #[test]
    fn the_own_namespace_by_name_is_private() {
        assert_eq!(Visibility::of(&list("own"), &[], "own"), Visibility::Private);
        assert_eq!(Visibility::of(&list(".,b,a"), &[], "own"), Visibility::Namespaces(list("a,b,own")));
    }
}
