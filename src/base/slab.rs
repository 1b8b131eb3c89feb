//! A table of slots with generations and a cap.

use super::ShardId;
use std::marker::PhantomData;

/// An id of slot, generation and shard.
pub trait Key: Copy + Eq {
    /// Puts the parts together. `generation` has 24 bits.
    fn new(shard: ShardId, generation: u32, slot: u32) -> Self;
    /// The owner.
    fn shard(self) -> ShardId;
    /// How often the slot was used before.
    fn generation(self) -> u32;
    /// The place in the owner's table.
    fn slot(self) -> u32;
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

/// Values by id. Full at `cap`: [`Slab::insert`] then gives the value back.
#[derive(Debug)]
pub struct Slab<K, T> {
    shard: ShardId,
    cap: usize,
    slots: Vec<Slot<T>>,
    // First in, first out: a slot rests as long as possible before it is used again.
    free: std::collections::VecDeque<u32>,
    key: PhantomData<K>,
}

impl<K: Key, T> Slab<K, T> {
    /// An empty table of at most `cap` values.
    pub fn new(shard: ShardId, cap: usize) -> Self {
        Slab { shard, cap, slots: Vec::new(), free: std::collections::VecDeque::new(), key: PhantomData }
    }

    /// Puts a value in; gives it back where the table is full.
    pub fn insert(&mut self, value: T) -> Result<K, T> {
        if self.len() >= self.cap {
            return Err(value);
        }
        let slot = if self.slots.len() < self.cap && self.free.is_empty() {
            self.slots.push(Slot { generation: 0, value: None });
            (self.slots.len() - 1) as u32
        } else {
            match self.free.pop_front() {
                Some(slot) => slot,
                None => return Err(value),
            }
        };
        let entry = &mut self.slots[slot as usize];
        debug_assert!(entry.value.is_none());
        entry.value = Some(value);
        Ok(K::new(self.shard, entry.generation, slot))
    }

    /// The key that the next [`Slab::insert`] will give, where there is room.
    pub fn next_key(&self) -> Option<K> {
        if self.len() >= self.cap {
            return None;
        }
        match self.free.front() {
            Some(&slot) => Some(K::new(self.shard, self.slots[slot as usize].generation, slot)),
            None => Some(K::new(self.shard, 0, self.slots.len() as u32)),
        }
    }

    fn slot(&self, key: K) -> Option<usize> {
        let slot = self.slots.get(key.slot() as usize)?;
        (key.shard() == self.shard && slot.generation == key.generation() && slot.value.is_some())
            .then_some(key.slot() as usize)
    }

    /// The value, if the id is not stale.
    #[inline]
    pub fn get(&self, key: K) -> Option<&T> {
        self.slot(key).and_then(|slot| self.slots[slot].value.as_ref())
    }

    /// The value, if the id is not stale.
    #[inline]
    pub fn get_mut(&mut self, key: K) -> Option<&mut T> {
        self.slot(key).and_then(|slot| self.slots[slot].value.as_mut())
    }

    /// Takes the value out; the id is stale from now on.
    pub fn remove(&mut self, key: K) -> Option<T> {
        let slot = self.slot(key)?;
        let entry = &mut self.slots[slot];
        entry.generation = (entry.generation + 1) & 0xff_ffff;
        self.free.push_back(slot as u32);
        entry.value.take()
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The cap given to [`Slab::new`].
    pub fn cap(&self) -> usize {
        self.cap
    }

    /// All values, by slot.
    pub fn iter(&self) -> impl Iterator<Item = (K, &T)> {
        let shard = self.shard;
        self.slots.iter().enumerate().filter_map(move |(n, slot)| {
            Some((K::new(shard, slot.generation, n as u32), slot.value.as_ref()?))
        })
    }

    /// All values, by slot.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (K, &mut T)> {
        let shard = self.shard;
        self.slots.iter_mut().enumerate().filter_map(move |(n, slot)| {
            let generation = slot.generation;
            Some((K::new(shard, generation, n as u32), slot.value.as_mut()?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::CallId;

    #[test]
    fn a_stale_id_finds_nothing() {
        let mut slab: Slab<CallId, &str> = Slab::new(ShardId(1), 1);
        assert_eq!(slab.next_key().map(Key::slot), Some(0));
        let first = slab.insert("a").unwrap();
        assert_eq!(slab.insert("b"), Err("b"));
        assert_eq!(slab.remove(first), Some("a"));
        let next = slab.next_key().unwrap();
        let second = slab.insert("b").unwrap();
        assert_eq!(next, second);
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.get(second), Some(&"b"));
        assert_ne!(first, second);
    }
}
