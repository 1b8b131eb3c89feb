//! Which of the latest indexes were seen: 128 of them (RFC 3711 section 3.3.2 asks for 64).

/// Where an index lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Not seen yet.
    Free,
    /// Seen before.
    Taken,
    /// Too far back to know.
    Old,
}

/// The highest index seen and a bit for each of the 128 up to it.
#[derive(Clone, Copy, Default, Debug)]
pub struct Window {
    top: u64,
    seen: u128,
}

impl Window {
    /// How far back it remembers.
    pub const LENGTH: u64 = 128;

    /// The highest index; `None` where none was marked yet.
    #[inline]
    pub fn top(&self) -> Option<u64> {
        (self.seen != 0).then_some(self.top)
    }

    /// Where an index lies.
    #[inline]
    pub fn place(&self, index: u64) -> Place {
        if self.seen == 0 || index > self.top {
            return Place::Free;
        }
        let back = self.top - index;
        if back >= Self::LENGTH {
            Place::Old
        } else if self.seen >> back & 1 == 1 {
            Place::Taken
        } else {
            Place::Free
        }
    }

    /// Marks an index that [`Window::place`] called free; any other changes nothing.
    #[inline]
    pub fn mark(&mut self, index: u64) {
        if self.seen == 0 {
            *self = Window { top: index, seen: 1 };
        } else if index > self.top {
            let step = index - self.top;
            self.seen = if step >= Self::LENGTH { 1 } else { self.seen << step | 1 };
            self.top = index;
        } else if self.top - index < Self::LENGTH {
            self.seen |= 1 << (self.top - index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Random, Set};

    #[test]
    fn knows_the_last_128_and_nothing_before() {
        let mut window = Window::default();
        assert_eq!((window.top(), window.place(0)), (None, Place::Free));
        window.mark(1000);
        window.mark(1127);
        assert_eq!(window.place(1000), Place::Taken);
        assert_eq!(window.place(1001), Place::Free);
        assert_eq!(window.place(999), Place::Old);
        window.mark(1128);
        assert_eq!(window.place(1000), Place::Old);
        window.mark(5000);
        assert_eq!((window.place(1128), window.place(4999)), (Place::Old, Place::Free));
        window.mark(0);
        assert_eq!(window.top(), Some(5000));
    }

    #[test]
    fn never_calls_an_index_free_twice() {
        let mut random = Random::from_number(3);
        let (mut window, mut seen, mut top) = (Window::default(), Set::default(), 500_u64);
        for _ in 0..100_000 {
            top += random.below(3);
            let index = (top + random.below(300)).saturating_sub(random.below(400));
            if window.place(index) == Place::Free {
                assert!(seen.insert(index), "{index}");
                window.mark(index);
                assert_eq!(window.place(index), Place::Taken);
            }
        }
    }
}
