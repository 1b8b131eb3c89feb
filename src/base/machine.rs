//! The shape that every signalling room shares.

use super::{Deadline, Now};

/// A pure state machine: time and input go in, outputs come out, nothing else happens.
///
/// The owner feeds input, then polls outputs until `None`, and calls [`Machine::handle_timeout`]
/// once [`Machine::poll_timeout`]'s deadline has passed.
pub trait Machine {
    /// What is pushed in; may borrow the receive buffer.
    type Input<'a>;
    /// What is pulled out: sends, events, counted drops.
    type Output;

    /// Takes one input. Bytes from the network never make an error here: they become an output or a count.
    fn handle_input(&mut self, now: Now, input: Self::Input<'_>);
    /// Lets every deadline that has passed act.
    fn handle_timeout(&mut self, now: Now);
    /// The next output, oldest first.
    fn poll_output(&mut self) -> Option<Self::Output>;
    /// When the machine next wants [`Machine::handle_timeout`], and why.
    fn poll_timeout(&mut self) -> Option<Deadline>;
    /// Panics where the machine contradicts itself. Run after every step in simulation and debug builds.
    fn check_invariants(&self) {}
}
