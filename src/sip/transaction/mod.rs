//! The four transaction machines (RFC 3261 section 17, as corrected by RFC 6026 and RFC 4320) and the table of those
//! that run.
//!
//! A machine is pure: an [`Event`] goes in, a [`Step`] comes out. Each has two timers at most: one that sends again
//! (A, E, G) and one that bounds its state (B, D, F, H, I, J, K, L, M).

mod client;
mod invite_client;
mod invite_server;
mod server;
mod table;

pub(super) use client::Client;
pub(super) use invite_client::InviteClient;
pub(super) use invite_server::InviteServer;
pub(super) use server::Server;
pub(super) use table::{Begin, ClientId, Gone, Outbox, Seen, ServerId, Table, keys};

use super::config::Timers;
use std::time::Duration;

/// The timer values, and whether the transport delivers by itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub t1: Duration,
    pub t2: Duration,
    pub t4: Duration,
    pub reliable: bool,
}

impl Pace {
    pub fn new(timers: &Timers, reliable: bool) -> Pace {
        Pace { t1: timers.t1, t2: timers.t2, t4: timers.t4, reliable }
    }

    /// 64*T1: timers B, F, H, J, L, M.
    pub fn long(&self) -> Duration {
        self.t1 * 64
    }

    /// A sending-again timer of the first interval; none on a reliable transport.
    fn again(&self) -> Timer {
        if self.reliable { Timer::Stop } else { Timer::In(self.t1) }
    }

    /// A linger that a reliable transport does not need.
    fn linger(&self, by: Duration) -> Duration {
        if self.reliable { Duration::ZERO } else { by }
    }

    /// Doubled up to T2 (timers E and G).
    fn doubled(&self, interval: Duration) -> Duration {
        (interval * 2).min(self.t2)
    }
}

/// What happens to a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Event {
    /// Client: 100 to 199 came. Server: our user sends one.
    Provisional,
    /// Client: 200 to 299 came. Server: our user sends one.
    Success,
    /// Client: 300 to 699 came. Server: our user sends one.
    Failure,
    /// Server: the request came again.
    Repeat,
    /// INVITE server: the ACK came.
    Ack,
    /// The sending-again timer (A, E, G) fired.
    Again,
    /// The state's bounding timer (B, D, F, H, I, J, K, L, M) fired.
    Expire,
    /// The transport could not send.
    Unsent,
}

/// What a machine sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Send {
    /// The request, again.
    Request,
    /// The ACK of a failure response.
    Ack,
    /// The response that the event brought.
    New,
    /// The last response, again.
    Last,
}

/// What becomes of one timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Timer {
    /// It runs on.
    #[default]
    Keep,
    /// It is disarmed.
    Stop,
    /// It is armed anew.
    In(Duration),
}

/// What a machine asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Step {
    /// Something to send.
    pub send: Option<Send>,
    /// The event goes up to the transaction's user.
    pub up: bool,
    /// The sending-again timer.
    pub again: Timer,
    /// The bounding timer.
    pub bound: Timer,
    /// The transaction is terminated: forget it.
    pub over: bool,
}

impl Step {
    const NOTHING: Step = Step { send: None, up: false, again: Timer::Keep, bound: Timer::Keep, over: false };
    const OVER: Step = Step { send: None, up: false, again: Timer::Stop, bound: Timer::Stop, over: true };

    fn send(send: Send) -> Step {
        Step { send: Some(send), ..Step::NOTHING }
    }

    fn up() -> Step {
        Step { up: true, ..Step::NOTHING }
    }

    /// Over, and the user is told.
    fn failed() -> Step {
        Step { up: true, ..Step::OVER }
    }

    /// A state that only waits, for `by`; over at once where that is nothing.
    fn wait(self, by: Duration) -> Step {
        Step { again: Timer::Stop, bound: Timer::In(by), over: by.is_zero(), ..self }
    }
}

#[cfg(test)]
mod figure {
    //! What the tests of the machines share: a table row is state, event, then next state and step.

    use super::*;

    pub const T1: Duration = Duration::from_millis(500);
    pub const T2: Duration = Duration::from_secs(4);
    pub const T4: Duration = Duration::from_secs(5);
    pub const LONG: Duration = Duration::from_secs(32);
    pub const UDP: Pace = Pace { t1: T1, t2: T2, t4: T4, reliable: false };
    pub const TCP: Pace = Pace { t1: T1, t2: T2, t4: T4, reliable: true };
    pub const EVENTS: [Event; 8] = [
        Event::Provisional,
        Event::Success,
        Event::Failure,
        Event::Repeat,
        Event::Ack,
        Event::Again,
        Event::Expire,
        Event::Unsent,
    ];

    /// Runs every event in every state: those of the table must do what it says, all others nothing.
    pub fn check<M: Clone + PartialEq + std::fmt::Debug>(
        states: &[M],
        table: &[(M, Event, M, Step)],
        handle: impl Fn(&mut M, Event) -> Step,
    ) {
        for state in states {
            for event in EVENTS {
                let mut machine = state.clone();
                let step = handle(&mut machine, event);
                match table.iter().find(|row| row.0 == *state && row.1 == event) {
                    Some((_, _, next, expected)) => {
                        assert_eq!((&machine, step), (next, *expected), "{state:?} {event:?}");
                    }
                    None => assert_eq!((&machine, step), (state, Step::NOTHING), "{state:?} {event:?}"),
                }
            }
        }
    }
}
