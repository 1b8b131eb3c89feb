//! What the generator asks of the system for itself.
#![allow(unsafe_code)]

/// Lets this process, and those it starts, open as many files as the system allows it.
pub fn raise() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes and reads a whole `rlimit`.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}

/// Runs this process, and those it starts, before all ordinary ones; says so where that is refused.
pub fn realtime() {
    // SAFETY: all-zero is a value of `sched_param`.
    let mut priority: libc::sched_param = unsafe { std::mem::zeroed() };
    priority.sched_priority = 5;
    // SAFETY: the kernel reads a whole `sched_param`; process 0 is this one.
    if unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const priority) } != 0 {
        eprintln!("not before others: {}", std::io::Error::last_os_error());
    }
}

/// Keeps this thread on one core; says so where that is refused.
pub fn pin(core: usize) {
    if let Err(error) = bridgehead::net::pin(core) {
        eprintln!("not pinned to core {core}: {error}");
    }
}
