//! The verified addresses of one peer, and which of them we send to.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// An address from which a signed Binding request came and was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// The far address.
    pub address: SocketAddr,
    /// Which of our candidates heard it.
    pub local: usize,
    /// When it was heard last.
    heard: Instant,
}

/// All of them, few and bounded.
#[derive(Debug, Default)]
pub struct Paths {
    held: Vec<Path>,
    chosen: Option<SocketAddr>,
    nominated: bool,
    seen: usize,
}

/// What a check changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// We send to another address from now on.
    pub chosen: bool,
    /// An address that made room.
    pub evicted: Option<SocketAddr>,
}

impl Paths {
    /// How many addresses there ever were.
    pub fn seen(&self) -> usize {
        self.seen
    }

    /// Whether it was verified and is still held.
    pub fn find(&self, address: SocketAddr) -> Option<Path> {
        self.held.iter().find(|path| path.address == address).copied()
    }

    /// Where we send.
    pub fn chosen(&self) -> Option<Path> {
        self.find(self.chosen?)
    }

    /// All addresses held.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.held.iter().map(|path| path.address)
    }

    /// When any of them was heard last.
    pub fn heard(&self) -> Option<Instant> {
        self.held.iter().map(|path| path.heard).max()
    }

    /// After an ICE restart the next check decides anew; what is held stays (make before break).
    pub fn restart(&mut self) {
        self.nominated = false;
        self.chosen = None;
    }

    /// A signed check from this address was answered.
    pub fn on_check(
        &mut self,
        now: Instant,
        address: SocketAddr,
        local: usize,
        nominated: bool,
        limits: (usize, Duration),
    ) -> Change {
        let (most, silent) = limits;
        let mut change = Change::default();
        let old = self.chosen();
        if let Some(path) = self.held.iter_mut().find(|path| path.address == address) {
            (path.heard, path.local) = (now, local);
        } else {
            change.evicted = self.make_room(most);
            self.held.push(Path { address, local, heard: now });
            self.seen += 1;
            // The newest wins until the far side says which.
            change.chosen = !self.nominated;
        }
        let gone = old.is_none_or(|old| now.saturating_duration_since(old.heard) >= silent);
        change.chosen |= nominated || gone;
        change.chosen &= self.chosen != Some(address);
        self.nominated |= nominated;
        if change.chosen {
            self.chosen = Some(address);
        }
        change
    }

    fn make_room(&mut self, most: usize) -> Option<SocketAddr> {
        if self.held.len() < most.max(2) {
            return None;
        }
        let spare = self.held.iter().enumerate().filter(|(_, path)| Some(path.address) != self.chosen);
        let (oldest, _) = spare.min_by_key(|(_, path)| path.heard)?;
        Some(self.held.swap_remove(oldest).address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: (usize, Duration) = (3, Duration::from_secs(3));

    fn at(n: u16) -> SocketAddr {
        ([192, 0, 2, 1], n).into()
    }

    fn start() -> Instant {
        super::super::tests::now().instant
    }

    #[test]
    fn the_newest_wins_until_one_is_nominated() {
        let (t, mut paths) = (start(), Paths::default());
        assert!(paths.on_check(t, at(1), 0, false, LIMITS).chosen);
        assert!(paths.on_check(t, at(2), 0, false, LIMITS).chosen);
        assert!(!paths.on_check(t, at(1), 0, false, LIMITS).chosen, "an old one is no news");
        assert!(paths.on_check(t, at(1), 0, true, LIMITS).chosen);
        assert!(!paths.on_check(t, at(3), 0, false, LIMITS).chosen, "a reserve");
        assert_eq!(paths.chosen().unwrap().address, at(1));
        assert!(paths.on_check(t, at(3), 0, true, LIMITS).chosen);
    }

    #[test]
    fn a_silent_choice_gives_way() {
        let (t, mut paths) = (start(), Paths::default());
        paths.on_check(t, at(1), 0, true, LIMITS);
        paths.on_check(t, at(2), 0, false, LIMITS);
        let later = t + Duration::from_secs(3);
        assert!(paths.on_check(later, at(2), 0, false, LIMITS).chosen);
    }

    #[test]
    fn the_one_silent_longest_makes_room_and_never_the_chosen() {
        let (t, mut paths) = (start(), Paths::default());
        for n in 1..=3 {
            paths.on_check(t + Duration::from_millis(n.into()), at(n), 0, n == 1, LIMITS);
        }
        let change = paths.on_check(t + Duration::from_secs(1), at(4), 0, false, LIMITS);
        assert_eq!(change.evicted, Some(at(2)));
        assert!(paths.find(at(1)).is_some() && paths.seen() == 4);
    }
}
