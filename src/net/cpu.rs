//! Cores and the time that threads spend on them.

use super::sys;
use std::io;
use std::time::Duration;

/// Binds the calling thread to one core.
pub fn pin(core: usize) -> io::Result<()> {
    sys::set_affinity(core)
}

/// The cores that the calling thread may run on, as the operator or the container allows.
pub fn online_cores() -> io::Result<Vec<usize>> {
    sys::affinity()
}

/// CPU time that the calling thread has used so far, in user space and kernel.
pub fn thread_time() -> Duration {
    sys::thread_time()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_may_run_on_one_core_only() {
        std::thread::spawn(|| {
            let core = online_cores().unwrap()[0];
            pin(core).unwrap();
            assert_eq!(online_cores().unwrap(), [core]);
            assert!(pin(usize::MAX).is_err());
            let before = thread_time();
            let work = (0..1_000_000_u64).fold(0_u64, |a, n| a.wrapping_mul(31) ^ std::hint::black_box(n));
            assert!(std::hint::black_box(work) != 1 && thread_time() > before);
        })
        .join()
        .unwrap();
    }
}
