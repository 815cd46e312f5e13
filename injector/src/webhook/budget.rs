//! How much of others' input is held and worked on at a time. The container's memory is small (128Mi by default), and anybody in the cluster
//! can connect.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The beginning of each body costs nothing: ordinary reviews fit, so that large ones never keep them out. There are as many beginnings as
/// connections.
const FREE: usize = 16 << 10;
/// Reviews answered at a time.
const REVIEWS: u32 = 4;
/// A parsed review takes a multiple of its text; for each of these bytes one takes one more of the [`REVIEWS`] places.
const SHARE: usize = 256 << 10;

/// What all connections share.
#[derive(Debug)]
pub struct Budget {
    bytes: Arc<Semaphore>,
    reviews: Arc<Semaphore>,
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(32 << 20)
    }
}

impl Budget {
    /// For bodies of so many bytes in total, the first 16 KiB of each not counted. Default 32 MiB.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self { bytes: Arc::new(Semaphore::new(bytes)), reviews: Arc::new(Semaphore::new(REVIEWS as usize)) }
    }

    /// An empty body that is going to be read.
    pub(super) fn body(&self) -> Held {
        Held { bytes: Vec::new(), budget: Arc::clone(&self.bytes), permit: None }
    }

    /// Waits until a review of this size may be worked on; a large one is worked on alone.
    pub(super) async fn review(&self, size: usize) -> Option<OwnedSemaphorePermit> {
        let places = u32::try_from(size / SHARE).unwrap_or(REVIEWS).saturating_add(1).min(REVIEWS);
        Arc::clone(&self.reviews).acquire_many_owned(places).await.ok()
    }
}

/// A body as far as it has come; what it took of the budget comes back when it is dropped.
pub(super) struct Held {
    bytes: Vec<u8>,
    budget: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Held {
    /// Whether there was room.
    #[must_use]
    pub(super) fn push(&mut self, more: &[u8]) -> bool {
        let counted = |length: usize| length.saturating_sub(FREE);
        let cost = counted(self.bytes.len() + more.len()) - counted(self.bytes.len());
        if cost > 0 {
            let Ok(permits) = u32::try_from(cost) else { return false };
            let Ok(permit) = Arc::clone(&self.budget).try_acquire_many_owned(permits) else { return false };
            match &mut self.permit {
                Some(held) => held.merge(permit),
                None => self.permit = Some(permit),
            }
        }
        self.bytes.extend_from_slice(more);
        true
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::{Budget, FREE};

    #[test]
    fn bodies_share_the_budget_small_ones_always_fit_and_all_comes_back() {
        let budget = Budget::new(100);
        let (mut large, mut other, mut small) = (budget.body(), budget.body(), budget.body());
        assert!(large.push(&vec![0; FREE]) && large.push(&[0; 40]) && large.push(&[0; 40]));
        assert!(!other.push(&vec![0; FREE + 21]) && other.bytes().is_empty());
        assert!(small.push(&vec![0; FREE]), "what is free is free");
        drop(large);
        assert!(other.push(&vec![0; FREE + 100]));
        assert!(!small.push(&[0]));
    }

    #[tokio::test]
    async fn a_large_review_is_worked_on_alone_and_small_ones_side_by_side() {
        let budget = Budget::default();
        let small = [budget.review(10).await, budget.review(10).await, budget.review(10).await];
        let large = tokio::time::timeout(std::time::Duration::from_millis(50), budget.review(6 << 20)).await;
        assert!(large.is_err(), "it waits");
        drop(small);
        let large = budget.review(6 << 20).await;
        assert!(tokio::time::timeout(std::time::Duration::from_millis(50), budget.review(10)).await.is_err());
        drop(large);
        assert!(budget.review(10).await.is_some());
    }
}
