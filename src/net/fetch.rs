//! Memory that will be needed soon.
#![allow(unsafe_code)]

/// Bytes that the caches move at once, on every machine that we know.
const LINE: usize = 64;

/// Has the caches fetch the lines of this piece of memory, which begins with one, and waits for nothing. A hint: whatever
/// the pointer is, nothing is read that the program could see.
#[inline]
pub fn fetch(start: *const u8, bytes: usize) {
    for line in 0..bytes.div_ceil(LINE) {
        prefetch(start.wrapping_add(line * LINE));
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn prefetch(line: *const u8) {
    // SAFETY: every x86-64 has the instruction, and it ignores addresses that it can't read.
    unsafe { std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(line.cast()) };
}

#[cfg(target_arch = "aarch64")]
#[inline]
fn prefetch(line: *const u8) {
    // SAFETY: the instruction changes nothing and ignores addresses that it can't read.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{line}]", line = in(reg) line, options(nostack, preserves_flags, readonly));
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn prefetch(_: *const u8) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_address_may_be_asked_for() {
        fetch(std::ptr::null(), 200);
        fetch(std::ptr::dangling::<u8>().with_addr(usize::MAX / 2), 4096);
        let bytes = [7_u8; 300];
        fetch(bytes.as_ptr(), bytes.len());
        assert_eq!(bytes, [7; 300]);
    }
}
