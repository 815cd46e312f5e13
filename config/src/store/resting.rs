//! A store at rest: what a proxy keeps of the objects of a mesh between one change and the next.
//!
//! Typed objects take six times the space of packed ones, and are asked for only while a configuration is compiled: one change
//! unpacks them, and what is in force afterwards is packed again.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use super::{FileChange, FileState, Store, Trouble};
use crate::keep::Keeper;
use crate::object::Object;
use crate::pack::{Pack, Packed, Packer, Unpacker};

/// A store that is not being looked at.
#[derive(Debug, Default)]
pub struct Resting {
    pub(super) packed: Packed,
    /// The files in order; how many objects each has is packed.
    files: Box<[RestingFile]>,
    keeper: Option<Keeper>,
}

/// A file without its objects.
#[derive(Debug)]
struct RestingFile {
    path: Arc<Path>,
    trouble: Option<Arc<Trouble>>,
}

impl Resting {
    /// A store without objects that will keep of each what the proxy of one workload asks for.
    pub fn keeping(keeper: Keeper) -> Self {
        Resting { keeper: Some(keeper), ..Resting::default() }
    }

    /// The store with changed files taken over ([`Store::apply`]). `None` when what was packed cannot be unpacked: a mistake
    /// of this program, after which every file has to be read anew ([`Resting::anew`]).
    pub fn apply(&self, changes: Vec<FileChange>) -> Option<Store> {
        let mut store = catch_unwind(AssertUnwindSafe(|| self.wake())).ok().flatten()?;
        store.apply(changes);
        Some(store)
    }

    /// A store of these files alone, whatever was packed.
    pub fn anew(&self, files: Vec<FileChange>) -> Store {
        let mut store = Store { keeper: self.keeper.clone(), ..Store::default() };
        store.apply(files);
        store
    }

    fn wake(&self) -> Option<Store> {
        let mut store = Store { keeper: self.keeper.clone(), ..Store::default() };
        if self.files.is_empty() {
            return Some(store);
        }
        let mut input = self.packed.unpack();
        let mut objects: Vec<Arc<Object>> = Vec::new();
        for RestingFile { path, trouble } in &self.files {
            let own = unpack_objects(&mut input)?;
            objects.extend(own.iter().cloned());
            store.files.insert(path.clone(), FileState { objects: own, trouble: trouble.clone() });
        }
        objects.extend(unpack_objects(&mut input)?);
        let in_force = (0..input.length()?).map(|_| objects.get(input.length()?).cloned());
        store.objects = in_force.map(|object| object.map(|object| (object.id.clone(), object))).collect::<Option<_>>()?;
        Some(store)
    }
}

fn unpack_objects(input: &mut Unpacker<'_>) -> Option<Vec<Arc<Object>>> {
    (0..input.length()?).map(|_| Object::unpack(input).map(Arc::new)).collect()
}

impl Store {
    /// Packs what the store holds.
    pub fn rest(&self) -> Resting {
        let mut out = Packer::default();
        for state in self.files.values() {
            pack_objects(&mut out, &state.objects.iter().collect::<Vec<_>>());
        }
        let of_files = self.files.values().flat_map(|state| &state.objects);
        let numbers: HashMap<*const Object, usize> = of_files.zip(0..).map(|(object, number)| (Arc::as_ptr(object), number)).collect();
        let number = |object: &Arc<Object>| numbers.get(&Arc::as_ptr(object)).copied();
        // Last good versions of objects whose files have an invalid one now.
        let kept: Vec<&Arc<Object>> = self.objects.values().filter(|object| number(object).is_none()).collect();
        pack_objects(&mut out, &kept);
        out.length(self.objects.len());
        // Counted, not `numbers.len()`: an object that is written twice alike is one in memory, in two places.
        let mut numbers_of_kept = self.files.values().map(|state| state.objects.len()).sum::<usize>()..;
        for object in self.objects.values() {
            out.length(number(object).or_else(|| numbers_of_kept.next()).unwrap_or_default());
        }
        let files = self.files.iter().map(|(path, state)| RestingFile { path: path.clone(), trouble: state.trouble.clone() }).collect();
        Resting { packed: out.finish(), files, keeper: self.keeper.clone() }
    }
}

fn pack_objects(out: &mut Packer, objects: &[&Arc<Object>]) {
    out.length(objects.len());
    objects.iter().for_each(|object| object.pack(out));
}
