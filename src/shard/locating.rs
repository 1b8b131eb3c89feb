//! Where requests go: one shard has the scout, and tells all others what it finds.

use super::core::{Core, Output};
use super::mail::Mail;
use crate::base::{Machine, Now, ShardId};
use crate::leg::TrunkId;
use crate::sip::{self, ScoutInput, ScoutOutput};
use std::time::Duration;

/// The shard that has the scout.
pub(super) const OWNER: ShardId = ShardId(0);

impl Core {
    /// Something came for the resolver.
    pub fn resolve(&mut self, now: Now, input: crate::dns::Input<'_>) {
        self.scout(now, ScoutInput::Dns(input));
        self.settle(now);
    }

    fn scout(&mut self, now: Now, input: ScoutInput<'_>) {
        match &mut self.scout {
            Some(scout) => scout.handle_input(now, input),
            None => debug_assert!(false, "only the owner is told"),
        }
    }

    /// A server failed a call or a registration.
    pub(super) fn suspect(&mut self, now: Now, trunk: TrunkId, hop: sip::Hop, wait: Option<Duration>) {
        if self.scout.is_some() {
            return self.scout(now, ScoutInput::Suspect { trunk, hop, wait });
        }
        self.outputs.push_back(Output::Mail { to: OWNER, mail: Mail::Suspect { trunk, hop, wait } });
    }

    /// A dialog goes on at a name.
    pub(super) fn seek(&mut self, now: Now, target: sip::Target) {
        if self.scout.is_some() {
            return self.scout(now, ScoutInput::Locate { target, from: self.shard });
        }
        self.outputs.push_back(Output::Mail { to: OWNER, mail: Mail::Locate { target } });
    }

    /// A probe of the scout has its outcome.
    pub(super) fn probed(&mut self, now: Now, number: u32, code: Option<u16>) {
        if self.scout.is_some() {
            self.scout(now, ScoutInput::Probed { number, code });
        }
    }

    /// Another shard tells of servers, or asks for them.
    pub(super) fn locating_mail(&mut self, now: Now, from: ShardId, mail: Mail) {
        match mail {
            Mail::Suspect { trunk, hop, wait } if self.scout.is_some() => {
                self.scout(now, ScoutInput::Suspect { trunk, hop, wait });
            }
            Mail::Locate { target } if self.scout.is_some() => {
                self.scout(now, ScoutInput::Locate { target, from });
            }
            Mail::Located { target, hops } if from == OWNER => {
                self.stack.handle_input(now, sip::Input::Located { target, hops });
            }
            Mail::Servers { trunk, servers } if from == OWNER => {
                self.stack.handle_input(now, sip::Input::Servers { trunk, servers });
            }
            _ => debug_assert!(false, "mail that is nobody's"),
        }
    }

    /// Mail of the scout's found no room: what all must know is told again.
    pub(super) fn shed_locating(&mut self, now: Now, mail: &Mail) {
        self.counters.shed_locating += 1;
        if let (Mail::Servers { trunk, .. }, Some(_)) = (mail, &self.scout) {
            self.scout(now, ScoutInput::Untold { trunk: *trunk });
        }
    }

    pub(super) fn on_scout(&mut self, now: Now, output: ScoutOutput) {
        match output {
            ScoutOutput::Dns(output) => self.outputs.push_back(Output::Dns(output)),
            ScoutOutput::Probe { trunk, hop, number } => {
                self.stack.handle_input(now, sip::Input::Probe { trunk, hop, number });
            }
            ScoutOutput::Servers { trunk, servers } => {
                for to in (0..self.shards).map(ShardId).filter(|shard| *shard != self.shard) {
                    let mail = Mail::Servers { trunk, servers: servers.clone() };
                    self.outputs.push_back(Output::Mail { to, mail });
                }
                self.stack.handle_input(now, sip::Input::Servers { trunk, servers });
            }
            ScoutOutput::Located { to, target, hops } if to == self.shard => {
                self.stack.handle_input(now, sip::Input::Located { target, hops });
            }
            ScoutOutput::Located { to, target, hops } => {
                self.outputs.push_back(Output::Mail { to, mail: Mail::Located { target, hops } });
            }
            ScoutOutput::Note(note) => self.outputs.push_back(Output::Note(note)),
        }
    }
}
