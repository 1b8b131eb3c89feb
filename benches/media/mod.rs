//! What the media benches share: the counting allocator, the clock, packets and keys.

use bridgehead::base::{Packet, Random};
use bridgehead::rtp::{Header, Keys, Profile};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Instant;

pub const PROFILES: [Profile; 3] = [Profile::AesCm128Sha1_80, Profile::AeadAes128Gcm, Profile::AeadAes256Gcm];
/// 20 ms of G.711.
pub const PAYLOAD: usize = 160;

pub struct Counting;

thread_local! {
    // By thread: a test's own thread waits, and its harness allocates when it likes.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A thread that is ending has no count any more.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of this thread so far.
pub fn allocations() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

/// The least nanoseconds a call of some rounds, and the allocations of all of them.
#[derive(Clone, Copy, Debug)]
pub struct Best {
    pub ns: f64,
    pub allocations: u64,
}

impl Default for Best {
    fn default() -> Self {
        Best { ns: f64::MAX, allocations: 0 }
    }
}

impl Best {
    /// Times a round of `calls` calls.
    pub fn round(&mut self, calls: usize, mut call: impl FnMut(usize)) {
        let (before, start) = (allocations(), Instant::now());
        for n in 0..calls {
            call(n);
        }
        let ns = start.elapsed().as_nanos() as f64 / calls as f64;
        self.ns = self.ns.min(ns);
        self.allocations += allocations() - before;
    }
}

/// A line of the report; the ratio is that to the floor.
pub fn line(name: &str, best: Best, floor: Option<Best>) {
    let ratio = floor.map_or(String::new(), |floor| format!("  {:>5.2} x floor", best.ns / floor.ns));
    println!("{name:<44} {:>8.0} ns  {:>3} allocations{ratio}", best.ns, best.allocations);
}

pub fn keys(profile: Profile, seed: u64) -> Keys {
    let mut random = Random::from_number(seed);
    let mut keys = Keys { profile, receive: [0; 46], send: [0; 46] };
    random.fill(&mut keys.receive);
    random.fill(&mut keys.send);
    keys
}

/// A PCMU packet.
pub fn rtp(ssrc: u32, sequence: u16) -> Vec<u8> {
    let header = Header {
        marker: false,
        padding: false,
        payload_type: 0,
        sequence,
        timestamp: 160 * u32::from(sequence),
        ssrc,
        csrcs: 0,
        extended: false,
        length: 12,
    };
    [&header.write()[..], &[0x55; PAYLOAD]].concat()
}

/// A packet that holds these bytes.
pub fn packet(bytes: &[u8]) -> Packet {
    let mut packet = Packet::default();
    assert!(packet.fill(bytes));
    packet
}
