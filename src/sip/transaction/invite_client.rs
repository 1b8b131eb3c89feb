//! The INVITE client transaction (RFC 3261 figure 5, RFC 6026 figure 2).

use super::{Event, Pace, Send, Step, Timer};
use std::time::Duration;

/// The request went out; nothing came back yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::sip) struct Calling {
    /// Timer A's interval.
    interval: Duration,
}

/// Its states.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::sip) enum InviteClient {
    Calling(Calling),
    Proceeding,
    /// Refused: every retransmitted refusal gets the ACK again.
    Completed,
    /// Answered: every 2xx, of whatever fork, goes up (RFC 6026 section 7.2).
    Accepted,
    Terminated,
}

/// Timer D on an unreliable transport: at least 32 s, whatever T1 is.
const TIMER_D: Duration = Duration::from_secs(32);

impl InviteClient {
    /// The request was just sent.
    pub fn begin(pace: Pace) -> (InviteClient, Step) {
        let step = Step { again: pace.again(), bound: Timer::In(pace.long()), ..Step::NOTHING };
        (InviteClient::Calling(Calling { interval: pace.t1 }), step)
    }

    /// Whether a provisional response came and no final one: when a CANCEL may go out.
    pub fn is_proceeding(&self) -> bool {
        matches!(self, InviteClient::Proceeding)
    }

    /// Whether nothing came at all.
    pub fn is_new(&self) -> bool {
        matches!(self, InviteClient::Calling(_))
    }

    /// Whether no final response came.
    pub fn is_pending(&self) -> bool {
        matches!(self, InviteClient::Calling(_) | InviteClient::Proceeding)
    }

    pub fn handle(&mut self, pace: Pace, event: Event) -> Step {
        match self {
            InviteClient::Calling(calling) => {
                if event == Event::Again {
                    calling.interval *= 2;
                    return Step { again: Timer::In(calling.interval), ..Step::send(Send::Request) };
                }
                self.on_pending(pace, event)
            }
            InviteClient::Proceeding => self.on_pending(pace, event),
            InviteClient::Completed => match event {
                Event::Failure => Step::send(Send::Ack),
                Event::Expire => self.end(Step::OVER),
                Event::Unsent => self.end(Step::failed()),
                _ => Step::NOTHING,
            },
            InviteClient::Accepted => match event {
                Event::Success => Step::up(),
                Event::Expire => self.end(Step::OVER),
                _ => Step::NOTHING,
            },
            InviteClient::Terminated => Step::NOTHING,
        }
    }

    fn on_pending(&mut self, pace: Pace, event: Event) -> Step {
        match event {
            Event::Provisional => {
                *self = InviteClient::Proceeding;
                Step { again: Timer::Stop, bound: Timer::Stop, ..Step::up() }
            }
            Event::Success => {
                *self = InviteClient::Accepted;
                Step::up().wait(pace.long())
            }
            Event::Failure => {
                let linger = pace.linger(TIMER_D.max(pace.long()));
                *self = if linger.is_zero() { InviteClient::Terminated } else { InviteClient::Completed };
                Step { send: Some(Send::Ack), ..Step::up() }.wait(linger)
            }
            // Timer B, or the bound that a CANCEL sets (section 9.1).
            Event::Expire | Event::Unsent => self.end(Step::failed()),
            _ => Step::NOTHING,
        }
    }

    fn end(&mut self, step: Step) -> Step {
        *self = InviteClient::Terminated;
        step
    }
}

#[cfg(test)]
mod tests {
    use super::super::figure::*;
    use super::*;
    use InviteClient::{Accepted, Completed, Proceeding, Terminated};

    fn calling(interval: Duration) -> InviteClient {
        InviteClient::Calling(Calling { interval })
    }

    #[test]
    fn does_what_the_figure_says_in_every_state() {
        let stopped = Step { again: Timer::Stop, bound: Timer::Stop, ..Step::up() };
        let refused = Step { send: Some(Send::Ack), ..Step::up() }.wait(LONG);
        let table = [
            (
                calling(T1),
                Event::Again,
                calling(2 * T1),
                Step { again: Timer::In(2 * T1), ..Step::send(Send::Request) },
            ),
            (calling(T1), Event::Expire, Terminated, Step::failed()),
            (calling(T1), Event::Unsent, Terminated, Step::failed()),
            (calling(T1), Event::Provisional, Proceeding, stopped),
            (calling(T1), Event::Success, Accepted, Step::up().wait(LONG)),
            (calling(T1), Event::Failure, Completed, refused),
            (Proceeding, Event::Provisional, Proceeding, stopped),
            (Proceeding, Event::Success, Accepted, Step::up().wait(LONG)),
            (Proceeding, Event::Failure, Completed, refused),
            (Proceeding, Event::Expire, Terminated, Step::failed()),
            (Proceeding, Event::Unsent, Terminated, Step::failed()),
            (Completed, Event::Failure, Completed, Step::send(Send::Ack)),
            (Completed, Event::Expire, Terminated, Step::OVER),
            (Completed, Event::Unsent, Terminated, Step::failed()),
            (Accepted, Event::Success, Accepted, Step::up()),
            (Accepted, Event::Expire, Terminated, Step::OVER),
        ];
        let states = [calling(T1), Proceeding, Completed, Accepted, Terminated];
        check(&states, &table, |machine, event| machine.handle(UDP, event));
    }

    #[test]
    fn resends_invite_at_doubling_intervals_without_a_ceiling() {
        let (mut machine, step) = InviteClient::begin(UDP);
        assert_eq!((step.again, step.bound), (Timer::In(T1), Timer::In(LONG)));
        for n in 1..7 {
            let step = machine.handle(UDP, Event::Again);
            assert_eq!(step.again, Timer::In(T1 * (1 << n)));
        }
    }

    #[test]
    fn a_reliable_transport_needs_no_timer_a_and_no_timer_d() {
        let (mut machine, step) = InviteClient::begin(TCP);
        assert_eq!((step.again, step.bound), (Timer::Stop, Timer::In(LONG)));
        let step = machine.handle(TCP, Event::Failure);
        assert!(step.over && step.up && step.send == Some(Send::Ack));
        assert_eq!(machine, Terminated);
    }
}
