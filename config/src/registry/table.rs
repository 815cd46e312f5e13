//! The objects of one kind.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt};

use crate::object::Object;

/// An object with its typed content. Dereferences to the content.
#[derive(Debug)]
pub struct Resource<T> {
    /// Identity, metadata, position.
    pub object: Arc<Object>,
    /// Content.
    pub spec: Arc<T>,
}

impl<T> Clone for Resource<T> {
    fn clone(&self) -> Self {
        Resource { object: self.object.clone(), spec: self.spec.clone() }
    }
}

impl<T> Resource<T> {
    /// Namespace.
    pub fn namespace(&self) -> &Arc<str> {
        &self.object.id.namespace
    }

    /// Name.
    pub fn name(&self) -> &Arc<str> {
        &self.object.id.name
    }
}

impl<T> std::ops::Deref for Resource<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.spec
    }
}

/// The objects of one kind, oldest first.
#[derive(Debug)]
pub struct Table<T> {
    resources: Vec<Resource<T>>,
    by_namespace: HashMap<Arc<str>, Vec<usize>>,
    by_name: HashMap<(Arc<str>, Arc<str>), usize>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table { resources: Vec::new(), by_namespace: HashMap::new(), by_name: HashMap::new() }
    }
}

impl<T> Table<T> {
    pub(super) fn push(&mut self, object: &Arc<Object>, spec: &Arc<T>) {
        self.resources.push(Resource { object: object.clone(), spec: spec.clone() });
    }

    /// Sorts and indexes after the last push.
    pub(super) fn finish(&mut self) {
        self.resources.sort_by(|a, b| a.object.age_key().cmp(&b.object.age_key()));
        for (index, resource) in self.resources.iter().enumerate() {
            self.by_namespace.entry(resource.namespace().clone()).or_default().push(index);
            self.by_name.insert((resource.namespace().clone(), resource.name().clone()), index);
        }
    }

    /// All, oldest first.
    pub fn iter(&self) -> std::slice::Iter<'_, Resource<T>> {
        self.resources.iter()
    }

    /// Those of a namespace, oldest first.
    pub fn in_namespace(&self, namespace: &str) -> impl Iterator<Item = &Resource<T>> {
        self.by_namespace.get(namespace).into_iter().flatten().filter_map(|index| self.resources.get(*index))
    }

    /// The one of this namespace and name.
    pub fn get(&self, namespace: &str, name: &str) -> Option<&Resource<T>> {
        let index = self.by_name.get(&(Arc::from(namespace), Arc::from(name)))?;
        self.resources.get(*index)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.resources.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.resources.is_empty()
    }
}

impl<'t, T> IntoIterator for &'t Table<T> {
    type Item = &'t Resource<T>;
    type IntoIter = std::slice::Iter<'t, Resource<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
