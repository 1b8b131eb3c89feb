//! Threads, pinning, signals, drain.
