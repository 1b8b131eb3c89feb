//! An allocator that counts what this thread asks for, and holds.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static HELD: Cell<i64> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count() {
    // A thread that is being torn down has no counter any more.
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
}

fn hold(bytes: i64) {
    let _ = HELD.try_with(|held| held.set(held.get() + bytes));
}

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        hold(layout.size() as i64);
        // SAFETY: the caller's contract.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        hold(-(layout.size() as i64));
        // SAFETY: the caller's contract.
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        hold(size as i64 - layout.size() as i64);
        // SAFETY: the caller's contract.
        unsafe { System.realloc(at, layout, size) }
    }
}

/// How often this thread has allocated so far.
pub fn allocations() -> u64 {
    COUNT.with(Cell::get)
}

/// Bytes that this thread asked for and has not given back.
pub fn held() -> i64 {
    HELD.with(Cell::get)
}

#[test]
fn the_counter_counts() {
    let (before, bytes) = (allocations(), held());
    let number = std::hint::black_box(Box::new(1_u64));
    assert_eq!((allocations(), held()), (before + 1, bytes + 8));
    drop(number);
    assert_eq!(held(), bytes);
}
