//! What the names of trunks lead to right now, for `bridgehead check`: the gateway's own resolver, driven here.

use super::notes::why;
use crate::base::{Machine, Random, ShardId};
use crate::dns::Input;
use crate::net::{Poll, Ready};
use crate::shard::{Queries, clock};
use crate::sip::{self, Note, Scout, ScoutInput, ScoutOutput};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// How long all of them together may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is known of one trunk.
#[derive(Clone, Default)]
struct Found {
    servers: Vec<String>,
    lost: Vec<String>,
}

/// A line for each server that a name led to, and for each name that leads nowhere (`true`).
pub(super) fn locate(config: &Arc<sip::Config>, random: Random) -> io::Result<Vec<(String, bool)>> {
    let mut poll = Poll::new(ShardId(0), 64)?;
    let (mut queries, mut buffer) = (Queries::default(), vec![0; 1 << 16]);
    let mut scout = Scout::new(clock(), Arc::clone(config), random);
    let mut found = vec![Found::default(); config.trunks.len()];
    let end = clock().instant + PATIENCE;
    loop {
        let now = clock();
        while let Some(output) = scout.poll_output() {
            match output {
                ScoutOutput::Dns(output) => {
                    if let Some(socket) = queries.carry(&poll, output) {
                        scout.handle_input(now, ScoutInput::Dns(Input::Failed { socket }));
                    }
                }
                ScoutOutput::Servers { trunk, servers } => {
                    found[usize::from(trunk.0)].servers = servers.iter().map(words).collect();
                }
                ScoutOutput::Note(Note::Name { trunk, target, why: Some(missing) }) => {
                    let line = format!("{target} can't be located: {}", why(missing));
                    found[usize::from(trunk.0)].lost.push(line);
                }
                _ => {}
            }
        }
        if scout.is_settled() || now.instant >= end {
            break;
        }
        let next = scout.poll_timeout().map_or(end, |deadline| deadline.at.min(end));
        poll.wait(Some(next.saturating_duration_since(now.instant)))?;
        let ready: Vec<Ready> = poll.ready().collect();
        for ready in ready {
            if let Ready::Query(number) = ready {
                let mut take = |input: Input<'_>| scout.handle_input(clock(), ScoutInput::Dns(input));
                queries.read_all(number, &mut buffer, &mut take);
            }
        }
        scout.handle_timeout(clock());
    }
    let mut lines = Vec::new();
    for (trunk, found) in config.trunks.iter().zip(found) {
        let late = (!scout.is_settled() && found.servers.is_empty() && found.lost.is_empty())
            .then(|| "no answer came in time".to_owned());
        let named = |bad: bool| move |line: String| (format!("{}: {line}", trunk.name), bad);
        lines.extend(found.servers.into_iter().map(named(false)));
        lines.extend(found.lost.into_iter().chain(late).map(named(true)));
    }
    Ok(lines)
}

fn words(server: &sip::Server) -> String {
    let standby = if server.standby { ", standby" } else { "" };
    let transport = server.hop.transport.param();
    let rank = server.rank & 0xffff;
    format!("{} by {transport}, priority {rank}, weight {}{standby}", server.hop.address, server.weight)
}
