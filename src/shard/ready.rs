//! Sources that may have more to give, each at most once, in turn.

use crate::base::Key;
use std::collections::VecDeque;

/// A queue of ids in which none stands twice.
#[derive(Debug)]
pub(super) struct Ready<K> {
    queue: VecDeque<K>,
    // By slot: the id that stands in the queue.
    queued: Vec<Option<K>>,
}

impl<K: Key> Ready<K> {
    pub(super) fn new() -> Ready<K> {
        Ready { queue: VecDeque::new(), queued: Vec::new() }
    }

    /// Puts an id at the end, unless it is waiting.
    pub(super) fn push(&mut self, id: K) {
        let slot = id.slot() as usize;
        if slot >= self.queued.len() {
            self.queued.resize(slot + 1, None);
        }
        // A waiting id of another generation is stale: it finds nothing when its turn comes.
        if self.queued[slot] != Some(id) {
            self.queued[slot] = Some(id);
            self.queue.push_back(id);
        }
    }

    /// The next in turn.
    pub(super) fn pop(&mut self) -> Option<K> {
        let id = self.queue.pop_front()?;
        if let Some(queued) = self.queued.get_mut(id.slot() as usize)
            && *queued == Some(id)
        {
            *queued = None;
        }
        Some(id)
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{ShardId, SocketId};

    #[test]
    fn none_stands_twice_and_a_reused_slot_stands_for_itself() {
        let id = |generation, slot| SocketId::new(ShardId(1), generation, slot);
        let mut ready = Ready::new();
        for id in [id(0, 3), id(0, 1), id(0, 3), id(1, 3), id(1, 3)] {
            ready.push(id);
        }
        assert_eq!(ready.len(), 3);
        let order: Vec<SocketId> = std::iter::from_fn(|| ready.pop()).collect();
        assert_eq!(order, [id(0, 3), id(0, 1), id(1, 3)]);
        ready.push(id(1, 3));
        assert_eq!(ready.pop(), Some(id(1, 3)));
    }
}
