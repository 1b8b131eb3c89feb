//! The non-INVITE client transaction (RFC 3261 figure 6).

use super::{Event, Pace, Send, Step, Timer};
use std::time::Duration;

/// The request went out; nothing came back yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::sip) struct Trying {
    /// Timer E's interval.
    interval: Duration,
}

/// Its states.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::sip) enum Client {
    Trying(Trying),
    Proceeding,
    /// Answered: swallows what comes again.
    Completed,
    Terminated,
}

impl Client {
    /// The request was just sent.
    pub fn begin(pace: Pace) -> (Client, Step) {
        let step = Step { again: pace.again(), bound: Timer::In(pace.long()), ..Step::NOTHING };
        (Client::Trying(Trying { interval: pace.t1 }), step)
    }

    /// Whether nothing came at all.
    pub fn is_new(&self) -> bool {
        matches!(self, Client::Trying(_))
    }

    /// Whether no final response came.
    pub fn is_pending(&self) -> bool {
        matches!(self, Client::Trying(_) | Client::Proceeding)
    }

    pub fn handle(&mut self, pace: Pace, event: Event) -> Step {
        match (&mut *self, event) {
            (Client::Trying(trying), Event::Again) => {
                trying.interval = pace.doubled(trying.interval);
                Step { again: Timer::In(trying.interval), ..Step::send(Send::Request) }
            }
            (Client::Proceeding, Event::Again) => {
                Step { again: Timer::In(pace.t2), ..Step::send(Send::Request) }
            }
            (Client::Trying(_), Event::Provisional) => {
                *self = Client::Proceeding;
                Step::up()
            }
            (Client::Proceeding, Event::Provisional) => Step::up(),
            (Client::Trying(_) | Client::Proceeding, Event::Success | Event::Failure) => {
                let linger = pace.linger(pace.t4);
                *self = if linger.is_zero() { Client::Terminated } else { Client::Completed };
                Step::up().wait(linger)
            }
            (Client::Trying(_) | Client::Proceeding, Event::Expire | Event::Unsent) => {
                *self = Client::Terminated;
                Step::failed()
            }
            (Client::Completed, Event::Expire) => {
                *self = Client::Terminated;
                Step::OVER
            }
            _ => Step::NOTHING,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::figure::*;
    use super::*;
    use Client::{Completed, Proceeding, Terminated};

    fn trying(interval: Duration) -> Client {
        Client::Trying(Trying { interval })
    }

    #[test]
    fn does_what_the_figure_says_in_every_state() {
        let again = |by| Step { again: Timer::In(by), ..Step::send(Send::Request) };
        let done = Step::up().wait(T4);
        let table = [
            (trying(T1), Event::Again, trying(2 * T1), again(2 * T1)),
            (trying(T2), Event::Again, trying(T2), again(T2)),
            (trying(T1), Event::Provisional, Proceeding, Step::up()),
            (trying(T2), Event::Provisional, Proceeding, Step::up()),
            (Proceeding, Event::Provisional, Proceeding, Step::up()),
            (Proceeding, Event::Again, Proceeding, again(T2)),
            (Completed, Event::Expire, Terminated, Step::OVER),
        ];
        let mut table = table.to_vec();
        for state in [trying(T1), trying(T2), Proceeding] {
            for event in [Event::Success, Event::Failure] {
                table.push((state.clone(), event, Completed, done));
            }
            for event in [Event::Expire, Event::Unsent] {
                table.push((state.clone(), event, Terminated, Step::failed()));
            }
        }
        let states = [trying(T1), trying(T2), Proceeding, Completed, Terminated];
        check(&states, &table, |machine, event| machine.handle(UDP, event));
    }

    #[test]
    fn resends_at_doubling_intervals_up_to_t2() {
        let (mut machine, step) = Client::begin(UDP);
        assert_eq!((step.again, step.bound), (Timer::In(T1), Timer::In(LONG)));
        let intervals: Vec<_> = (0..5).map(|_| machine.handle(UDP, Event::Again).again).collect();
        let expected = [1, 2, 4, 4, 4].map(|s| Timer::In(Duration::from_secs(s)));
        assert_eq!(intervals, expected);
    }

    #[test]
    fn a_reliable_transport_needs_no_timer_e_and_no_timer_k() {
        let (mut machine, step) = Client::begin(TCP);
        assert_eq!(step.again, Timer::Stop);
        assert!(machine.handle(TCP, Event::Success).over);
        assert_eq!(machine, Terminated);
    }
}
