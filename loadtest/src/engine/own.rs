//! What the generator itself is short of: whoever reads a result must be able to tell its faults from the gateway's.

use hdrhistogram::Histogram;
use std::time::Duration;

/// Why a packet was not measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strange {
    /// SRTP refused it.
    Refused,
    /// It bears no stamp of ours.
    Unstamped,
    /// Of or for an end that is gone.
    Nobody,
    /// It arrived at another end than its sender's partner.
    Misled,
}

/// Figures of the generator over some time.
#[derive(Clone, Debug)]
pub struct Own {
    /// From when a packet should have left to when its batch was handed to the kernel, in nanoseconds.
    pub lateness: Histogram<u64>,
    /// How long it slept.
    pub idle: Duration,
    /// How long all took.
    pub lasted: Duration,
    /// Packets that the kernel would not send.
    pub unsent: u64,
    /// ICMP errors: nobody listens where it sends to.
    pub refused: u64,
    /// Datagrams received.
    pub received: u64,
    /// RTCP packets received, which it does not read.
    pub rtcp: u64,
    /// RTCP reports sent.
    pub reports: u64,
    /// Datagrams dropped by the kernel at its sockets.
    pub drops: u64,
    /// Datagrams dropped for want of room among those that wait for signalling.
    pub shed: u64,
    /// SRTP packets that could not be opened.
    pub forged: u64,
    /// RTP packets without a stamp.
    pub unstamped: u64,
    /// RTP packets of pairs that are over.
    pub strays: u64,
    /// RTP packets that arrived at the wrong end.
    pub misled: u64,
    pub(super) drops_of_closed: u64,
    drops_before: u64,
    began: u64,
}

impl Own {
    pub(super) fn new(now: u64) -> Own {
        let lateness =
            Histogram::new_with_bounds(1_000, 60_000_000_000, 3).expect("constant bounds are valid");
        Own {
            lateness,
            idle: Duration::ZERO,
            lasted: Duration::ZERO,
            unsent: 0,
            refused: 0,
            received: 0,
            rtcp: 0,
            reports: 0,
            drops: 0,
            shed: 0,
            forged: 0,
            unstamped: 0,
            strays: 0,
            misled: 0,
            drops_of_closed: 0,
            drops_before: 0,
            began: now,
        }
    }

    pub(super) fn take(&mut self, now: u64, drops: u64) -> Own {
        let fresh = Own {
            drops_before: drops + self.drops_of_closed,
            drops_of_closed: self.drops_of_closed,
            ..Own::new(now)
        };
        let mut taken = std::mem::replace(self, fresh);
        taken.lasted = Duration::from_nanos(now.saturating_sub(taken.began));
        taken.drops = (drops + taken.drops_of_closed).saturating_sub(taken.drops_before);
        taken
    }

    #[inline]
    pub(super) fn on_sent(&mut self, late: u64, packets: u64) {
        self.lateness.saturating_record_n(late, packets);
    }

    pub(super) fn on_strange(&mut self, why: Strange) {
        match why {
            Strange::Refused => self.forged += 1,
            Strange::Unstamped => self.unstamped += 1,
            Strange::Nobody => self.strays += 1,
            Strange::Misled => self.misled += 1,
        }
    }

    /// The share of time that it slept, from 0 to 1.
    pub fn idle_share(&self) -> f64 {
        if self.lasted.is_zero() { 1.0 } else { self.idle.as_secs_f64() / self.lasted.as_secs_f64() }
    }
}
