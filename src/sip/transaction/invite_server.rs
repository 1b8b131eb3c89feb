//! The INVITE server transaction (RFC 3261 figure 7, RFC 6026 figure 1).

use super::{Event, Pace, Send, Step, Timer};
use std::time::Duration;

/// We refused; the ACK is awaited.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::sip) struct Refused {
    /// Timer G's interval.
    interval: Duration,
}

/// Its states.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::sip) enum InviteServer {
    Proceeding,
    /// RFC 3261's Completed.
    Completed(Refused),
    Confirmed,
    /// Answered: swallows the INVITE when it comes again; our user resends the 2xx (RFC 6026 section 7.1).
    Accepted,
    Terminated,
}

impl InviteServer {
    /// The request just came; a 100 goes out.
    pub fn begin() -> InviteServer {
        InviteServer::Proceeding
    }

    /// Whether no final response went out.
    pub fn is_pending(&self) -> bool {
        matches!(self, InviteServer::Proceeding)
    }

    pub fn handle(&mut self, pace: Pace, event: Event) -> Step {
        match (&mut *self, event) {
            (InviteServer::Proceeding, Event::Repeat) => Step::send(Send::Last),
            (InviteServer::Proceeding, Event::Provisional) => Step::send(Send::New),
            (InviteServer::Proceeding, Event::Success) => {
                *self = InviteServer::Accepted;
                Step::send(Send::New).wait(pace.long())
            }
            (InviteServer::Proceeding, Event::Failure) => {
                *self = InviteServer::Completed(Refused { interval: pace.t1 });
                Step { again: pace.again(), bound: Timer::In(pace.long()), ..Step::send(Send::New) }
            }
            (InviteServer::Accepted, Event::Success) => Step::send(Send::New),
            (InviteServer::Accepted, Event::Ack) => Step::up(),
            (InviteServer::Completed(_), Event::Repeat) => Step::send(Send::Last),
            (InviteServer::Completed(refused), Event::Again) => {
                refused.interval = pace.doubled(refused.interval);
                Step { again: Timer::In(refused.interval), ..Step::send(Send::Last) }
            }
            (InviteServer::Completed(_), Event::Ack) => {
                let linger = pace.linger(pace.t4);
                *self = if linger.is_zero() { InviteServer::Terminated } else { InviteServer::Confirmed };
                Step::NOTHING.wait(linger)
            }
            (InviteServer::Completed(_), Event::Expire | Event::Unsent) => self.end(Step::failed()),
            (InviteServer::Confirmed | InviteServer::Accepted, Event::Expire) => self.end(Step::OVER),
            // A provisional or a 2xx that could not be sent is the user's to judge (RFC 6026 section 7.1).
            (InviteServer::Proceeding | InviteServer::Accepted, Event::Unsent) => Step::up(),
            _ => Step::NOTHING,
        }
    }

    fn end(&mut self, step: Step) -> Step {
        *self = InviteServer::Terminated;
        step
    }
}

#[cfg(test)]
mod tests {
    use super::super::figure::*;
    use super::*;
    use InviteServer::{Accepted, Confirmed, Proceeding, Terminated};

    fn completed(interval: Duration) -> InviteServer {
        InviteServer::Completed(Refused { interval })
    }

    #[test]
    fn does_what_the_figure_says_in_every_state() {
        let table = [
            (Proceeding, Event::Repeat, Proceeding, Step::send(Send::Last)),
            (Proceeding, Event::Provisional, Proceeding, Step::send(Send::New)),
            (Proceeding, Event::Success, Accepted, Step::send(Send::New).wait(LONG)),
            (
                Proceeding,
                Event::Failure,
                completed(T1),
                Step { again: Timer::In(T1), bound: Timer::In(LONG), ..Step::send(Send::New) },
            ),
            (Proceeding, Event::Unsent, Proceeding, Step::up()),
            (completed(T1), Event::Repeat, completed(T1), Step::send(Send::Last)),
            (
                completed(T1),
                Event::Again,
                completed(2 * T1),
                Step { again: Timer::In(2 * T1), ..Step::send(Send::Last) },
            ),
            (completed(T1), Event::Ack, Confirmed, Step::NOTHING.wait(T4)),
            (completed(T1), Event::Expire, Terminated, Step::failed()),
            (completed(T1), Event::Unsent, Terminated, Step::failed()),
            (Confirmed, Event::Expire, Terminated, Step::OVER),
            (Accepted, Event::Success, Accepted, Step::send(Send::New)),
            (Accepted, Event::Ack, Accepted, Step::up()),
            (Accepted, Event::Expire, Terminated, Step::OVER),
            (Accepted, Event::Unsent, Accepted, Step::up()),
        ];
        let states = [Proceeding, completed(T1), Confirmed, Accepted, Terminated];
        check(&states, &table, |machine, event| machine.handle(UDP, event));
    }

    #[test]
    fn a_refusal_is_sent_again_up_to_every_t2() {
        let mut machine = InviteServer::begin();
        assert_eq!(machine.handle(UDP, Event::Failure).again, Timer::In(T1));
        let intervals: Vec<_> = (0..4).map(|_| machine.handle(UDP, Event::Again).again).collect();
        assert_eq!(intervals, [1, 2, 4, 4].map(|s| Timer::In(Duration::from_secs(s))));
    }

    #[test]
    fn a_reliable_transport_needs_no_timer_g_and_no_timer_i() {
        let mut machine = InviteServer::begin();
        let step = machine.handle(TCP, Event::Failure);
        assert_eq!((step.again, step.bound), (Timer::Stop, Timer::In(LONG)));
        assert!(machine.handle(TCP, Event::Ack).over);
    }
}
