//! Blocks of a split's table as a decomposition of one matrix.
//!
//! The `j`-th request of a destination of weight `w` out of `W` belongs somewhere in the real interval `[jW/w, (j+1)W/w)`.
//! Spreading each request over the slots of its interval gives a matrix whose rows and columns all have the same sum. By
//! Koenig's theorem such a matrix is a sum of permutations; each of these is a block, and over all of them every position
//! holds every destination exactly as often as its weight says.

/// Requests (rows) spread over slots (columns); every row and column has the same sum until a permutation is taken.
pub(super) struct Matrix {
    /// For each slot: the requests whose interval it meets, and by how much.
    slots: Vec<Vec<(usize, u64)>>,
    /// Destination of each request.
    destinations: Vec<u16>,
}

impl Matrix {
    /// The requests of one period, of which destination `i` has `quotas[i]`.
    pub(super) fn new(quotas: &[u64], period: u64) -> Self {
        let mut matrix = Matrix { slots: vec![Vec::new(); period as usize], destinations: Vec::new() };
        for (destination, quota) in quotas.iter().enumerate() {
            for request in 0..*quota {
                let (begin, end) = (request * period, (request + 1) * period);
                let row = matrix.destinations.len();
                matrix.destinations.push(destination as u16);
                for slot in begin / quota..end.div_ceil(*quota) {
                    let overlap = end.min((slot + 1) * quota) - begin.max(slot * quota);
                    matrix.slots[slot as usize].push((row, overlap));
                }
            }
        }
        matrix
    }

    /// Takes a random permutation out and returns the destination of each slot.
    pub(super) fn take_permutation(&mut self, random: &mut impl FnMut() -> u64) -> Vec<u16> {
        for entries in &mut self.slots {
            shuffle_by_weight(entries, random);
        }
        let mut matching = Matching::new(self.slots.len(), self.destinations.len());
        for slot in 0..self.slots.len() {
            matching.extend(slot, &self.slots);
        }
        let mut order = vec![0; self.slots.len()];
        for (slot, entries) in self.slots.iter_mut().enumerate() {
            let row = matching.row_of[slot];
            order[slot] = self.destinations.get(row).copied().unwrap_or_default();
            if let Some(entry) = entries.iter_mut().find(|(candidate, _)| *candidate == row) {
                entry.1 -= 1;
            }
            entries.retain(|(_, left)| *left > 0);
        }
        order
    }
}

/// Orders entries at random, heavier ones earlier with the probability of their weight.
fn shuffle_by_weight(entries: &mut [(usize, u64)], random: &mut impl FnMut() -> u64) {
    let mut key = |weight: u64| -((random() >> 11) as f64 / (1u64 << 53) as f64).max(f64::MIN_POSITIVE).ln() / weight.max(1) as f64;
    let mut keyed: Vec<(f64, (usize, u64))> = entries.iter().map(|entry| (key(entry.1), *entry)).collect();
    keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (entry, (_, sorted)) in entries.iter_mut().zip(keyed) {
        *entry = sorted;
    }
}

const FREE: usize = usize::MAX;

/// A bipartite matching grown one slot at a time along shortest augmenting paths.
struct Matching {
    row_of: Vec<usize>,
    slot_of: Vec<usize>,
    /// Rows reached in the present search, by its number.
    reached: Vec<usize>,
    search: usize,
}

impl Matching {
    fn new(slots: usize, rows: usize) -> Self {
        Matching { row_of: vec![FREE; slots], slot_of: vec![FREE; rows], reached: vec![0; rows], search: 0 }
    }

    /// Finds a row for `slot`, moving earlier slots to other rows where needed. A regular matrix always has one.
    fn extend(&mut self, slot: usize, slots: &[Vec<(usize, u64)>]) {
        self.search += 1;
        let mut queue = vec![slot];
        let mut came_from: Vec<(usize, usize)> = Vec::new(); // (row, slot whose entry led to it)
        let mut next = 0;
        while let Some(&from) = queue.get(next) {
            next += 1;
            for &(row, _) in &slots[from] {
                if self.reached[row] == self.search {
                    continue;
                }
                self.reached[row] = self.search;
                came_from.push((row, from));
                if self.slot_of[row] == FREE {
                    return self.augment(row, &came_from);
                }
                queue.push(self.slot_of[row]);
            }
        }
    }

    fn augment(&mut self, mut row: usize, came_from: &[(usize, usize)]) {
        while row != FREE {
            let Some(&(_, slot)) = came_from.iter().rev().find(|(candidate, _)| *candidate == row) else { return };
            let previous = std::mem::replace(&mut self.row_of[slot], row);
            self.slot_of[row] = slot;
            row = previous;
        }
    }
}
