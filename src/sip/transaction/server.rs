//! The non-INVITE server transaction (RFC 3261 figure 8; RFC 4320: never a 408, and no 100 before it must).

use super::{Event, Pace, Send, Step};

/// Its states.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::sip) enum Server {
    Trying,
    Proceeding,
    /// Answered: the answer is sent again when the request comes again.
    Completed,
    Terminated,
}

impl Server {
    /// The request just came.
    pub fn begin() -> Server {
        Server::Trying
    }

    /// Whether no final response went out.
    pub fn is_pending(&self) -> bool {
        matches!(self, Server::Trying | Server::Proceeding)
    }

    pub fn handle(&mut self, pace: Pace, event: Event) -> Step {
        match (&mut *self, event) {
            (Server::Trying | Server::Proceeding, Event::Provisional) => {
                *self = Server::Proceeding;
                Step::send(Send::New)
            }
            (Server::Trying | Server::Proceeding, Event::Success | Event::Failure) => {
                let linger = pace.linger(pace.long());
                *self = if linger.is_zero() { Server::Terminated } else { Server::Completed };
                Step::send(Send::New).wait(linger)
            }
            (Server::Proceeding | Server::Completed, Event::Repeat) => Step::send(Send::Last),
            (Server::Proceeding | Server::Completed, Event::Unsent) => {
                *self = Server::Terminated;
                Step::failed()
            }
            (Server::Completed, Event::Expire) => {
                *self = Server::Terminated;
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
    use Server::{Completed, Proceeding, Terminated, Trying};

    #[test]
    fn does_what_the_figure_says_in_every_state() {
        let done = Step::send(Send::New).wait(LONG);
        let table = [
            (Trying, Event::Provisional, Proceeding, Step::send(Send::New)),
            (Trying, Event::Success, Completed, done),
            (Trying, Event::Failure, Completed, done),
            (Proceeding, Event::Provisional, Proceeding, Step::send(Send::New)),
            (Proceeding, Event::Success, Completed, done),
            (Proceeding, Event::Failure, Completed, done),
            (Proceeding, Event::Repeat, Proceeding, Step::send(Send::Last)),
            (Proceeding, Event::Unsent, Terminated, Step::failed()),
            (Completed, Event::Repeat, Completed, Step::send(Send::Last)),
            (Completed, Event::Expire, Terminated, Step::OVER),
            (Completed, Event::Unsent, Terminated, Step::failed()),
        ];
        check(&[Trying, Proceeding, Completed, Terminated], &table, |m, event| m.handle(UDP, event));
    }

    #[test]
    fn a_reliable_transport_needs_no_timer_j() {
        assert!(Server::begin().handle(TCP, Event::Success).over);
    }
}
