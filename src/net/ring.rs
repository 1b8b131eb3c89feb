//! Many sends or receives on different sockets by one system call: `io_uring`, used as no more than that.
//!
//! Every operation is told not to wait, so that the kernel carries it out while it is submitted, and
//! [`Ring::run`] returns only when all of them have ended: no buffer is lent out beyond the call, and a ring that fails
//! is dropped and the plain calls go on. Sockets that many calls share have `recvmmsg` and `sendmmsg`; this is for the
//! others, which would cost a call each.
#![allow(unsafe_code)]

use super::batch::BATCH;
use io_uring::squeue::Entry;
use io_uring::{IoUring, Probe, opcode, types};
use std::io;
use std::os::fd::RawFd;

/// A ring of one thread: it must be used on the one that made it.
pub(super) struct Ring {
    ring: IoUring,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ring")
    }
}

/// One operation.
#[derive(Clone, Copy)]
pub(super) enum Do {
    Send,
    Receive,
}

impl Ring {
    /// Asks the kernel for one: Linux 6.1 or later, unless its administrator or a sandbox forbids it.
    pub(super) fn new() -> io::Result<Ring> {
        let ring = IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(BATCH as u32)?;
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        if !probe.is_supported(opcode::SendMsg::CODE) || !probe.is_supported(opcode::RecvMsg::CODE) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Ring { ring })
    }

    /// Carries out one operation for each of the pairs of socket and header, at most [`BATCH`], in order. `results` has
    /// for each what `sendmsg` or `recvmsg` gives, errors as negative numbers. An error of its own means that the ring
    /// can't be used any more, and that those whose result is still [`UNDONE`] were not begun.
    ///
    /// # Safety
    /// What the headers point at must be theirs alone, to be read (and for receives written) until this returns.
    pub(super) unsafe fn run(
        &mut self,
        what: Do,
        pairs: impl Iterator<Item = (RawFd, *mut libc::msghdr)>,
        results: &mut [i32; BATCH],
    ) -> io::Result<()> {
        *results = [UNDONE; BATCH];
        let mut count = 0;
        for (fd, header) in pairs.take(BATCH) {
            let entry = entry(what, fd, header).user_data(count as u64);
            // SAFETY: by this function's contract the header and what it points at outlive the operation, which ends
            // before this function does: it does not wait, and its end is waited for below.
            unsafe { self.ring.submission().push(&entry) }.map_err(|_| io::ErrorKind::OutOfMemory)?;
            count += 1;
        }
        let mut done = 0;
        while done < count {
            match self.ring.submit_and_wait(count - done) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for end in self.ring.completion() {
                if let Some(result) = results.get_mut(end.user_data() as usize) {
                    *result = end.result();
                }
                done += 1;
            }
        }
        Ok(())
    }
}

/// Whether the kernel gives an `io_uring`, else why not.
pub fn try_ring() -> io::Result<()> {
    Ring::new().map(drop)
}

/// The result of an operation that was not begun.
pub(super) const UNDONE: i32 = i32::MIN;

fn entry(what: Do, fd: RawFd, header: *mut libc::msghdr) -> Entry {
    const FLAGS: u32 = libc::MSG_DONTWAIT as u32;
    match what {
        Do::Send => opcode::SendMsg::new(types::Fd(fd), header).flags(FLAGS).build(),
        // The whole length of a datagram that did not fit, as `recvfrom` is asked for.
        Do::Receive => {
            opcode::RecvMsg::new(types::Fd(fd), header).flags(FLAGS | libc::MSG_TRUNC as u32).build()
        }
    }
}
