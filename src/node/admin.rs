//! The thread of the admin address: its sockets, and the questions that it passes on to the shards.
//!
//! One thread off the shards' cores; it asks a shard by an order and waits, and answers one request after another, so a
//! shard never has more than one question to answer.

use super::run::Failure;
use crate::admin::{self, List, Question};
use crate::base::{FlowId, Key as _, ShardId, Slab};
use crate::call::Live;
use crate::http::{Config, Connection, Event, Request, Response};
use crate::metrics::{self, Host};
use crate::net::{Listener, Poll, READ_SIZE, Ready, Stream, TcpOptions};
use crate::shard::{Control, Snapshot, clock};
use crate::trace::Told;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// How long a shard has for an answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// Connections at once.
const CONNECTIONS: usize = 32;
/// Calls told of by each shard.
const CALLS: usize = 1_000;
/// A number apart from the shards' and the demo's.
const SHARD: ShardId = ShardId(u8::MAX - 1);
/// Reads and writes of a connection in its turn.
const TURNS: usize = 16;

/// What the thread knows of the node.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) controls: Vec<Control>,
    /// The trunks' names, by `TrunkId`.
    pub(super) trunks: Vec<String>,
    /// Since the Unix epoch.
    pub(super) started: Duration,
    pub(super) draining: Arc<AtomicBool>,
}

/// Binds the address. Before the thread runs, so that a taken port is said at start-up.
pub(super) fn bind(address: SocketAddr) -> Result<Listener, Failure> {
    Listener::open(&TcpOptions { address, device: None, share: false, backlog: 64, dscp: None }).map_err(
        |error| {
            Failure::new(format_args!("admin on {address}: {error}; say --admin ADDR:PORT, or --admin off"))
        },
    )
}

/// Answers on a thread of its own, until the process ends.
pub(super) fn serve(listener: Listener, desk: Desk) -> Result<(), Failure> {
    let poll = Poll::new(SHARD, 64).map_err(Failure::new)?;
    poll.add_listener(0, &listener).map_err(Failure::new)?;
    let connections = Slab::new(SHARD, CONNECTIONS);
    let config = Arc::new(Config { max_body: 1024, max_output: 64 << 20, ..Config::default() });
    let mut server = Server { desk, listener, poll, connections, config, buffer: vec![0; READ_SIZE] };
    let run = move || while server.pass().is_ok() {};
    thread::Builder::new().name("admin".into()).spawn(run).map(drop).map_err(Failure::new)
}

struct Server {
    desk: Desk,
    listener: Listener,
    poll: Poll,
    connections: Slab<FlowId, (Stream, Connection)>,
    config: Arc<Config>,
    buffer: Vec<u8>,
}

impl Server {
    fn pass(&mut self) -> io::Result<()> {
        let now = clock();
        let deadlines = self.connections.iter().filter_map(|(_, (_, connection))| connection.poll_timeout());
        let next = deadlines.map(|deadline| deadline.at).min();
        self.poll.wait(next.map(|at| at.saturating_duration_since(now.instant)))?;
        let ready: Vec<Ready> = self.poll.ready().collect();
        for ready in ready {
            match ready {
                Ready::Listener(_) => self.accept(),
                Ready::Stream { flow, .. } => self.serve(flow),
                Ready::Woken | Ready::Socket(_) | Ready::Errors(_) | Ready::Query(_) => {}
            }
        }
        self.expire();
        Ok(())
    }

    fn accept(&mut self) {
        while let Ok(Some((stream, _))) = self.listener.accept() {
            let connection = Connection::new(clock(), Arc::clone(&self.config));
            // A full table closes it.
            let Ok(flow) = self.connections.insert((stream, connection)) else { continue };
            let heard = self.connections.get(flow).map(|(stream, _)| self.poll.add_stream(flow, stream));
            match heard {
                Some(Ok(())) => self.serve(flow),
                _ => self.close(flow),
            }
        }
    }

    fn close(&mut self, flow: FlowId) {
        if let Some((mut stream, _)) = self.connections.remove(flow) {
            stream.shut();
        }
    }

    fn expire(&mut self) {
        let now = clock();
        let late = |connection: &Connection| connection.poll_timeout().is_some_and(|d| d.at <= now.instant);
        let flows: Vec<FlowId> =
            self.connections.iter().filter(|(_, (_, c))| late(c)).map(|(flow, _)| flow).collect();
        for flow in flows {
            if let Some((_, connection)) = self.connections.get_mut(flow) {
                connection.handle_timeout(now);
            }
            self.serve(flow);
        }
    }

    /// Reads, answers and writes as far as it goes.
    fn serve(&mut self, flow: FlowId) {
        debug_assert_eq!(flow.shard(), SHARD);
        for _ in 0..TURNS {
            let Some((stream, connection)) = self.connections.get_mut(flow) else { return };
            let now = clock();
            let read = stream.read(&mut self.buffer);
            match read {
                Ok(Some(0)) => connection.handle_eof(now),
                Ok(Some(count)) => connection.handle_bytes(now, self.buffer.get(..count).unwrap_or_default()),
                Ok(None) => {}
                Err(_) => return self.close(flow),
            }
            while let Some(event) = connection.poll_event() {
                if let Event::Request(request) = event {
                    // Fails only where the connection closed meanwhile.
                    let _ = connection.respond(clock(), self.desk.answer(&request));
                }
            }
            let mut more = true;
            while more && !connection.output().is_empty() {
                match stream.write(connection.output()) {
                    Ok(Some(count)) => connection.consume_output(clock(), count),
                    Ok(None) => more = false,
                    Err(_) => return self.close(flow),
                }
            }
            if connection.wants_close() {
                return self.close(flow);
            }
            if !matches!(read, Ok(Some(1..))) {
                return;
            }
        }
        // A client that sends more than this in one turn is not one of ours.
        self.close(flow);
    }
}

impl Desk {
    fn answer(&self, request: &Request) -> Response {
        match Question::of(request) {
            Question::Metrics => admin::metrics(self.metrics()),
            Question::Health => admin::health(),
            Question::Ready => {
                let all = self.snapshots().len() == self.controls.len();
                admin::ready(self.is_draining(), all)
            }
            Question::Calls => self.calls().response(),
            Question::Trace(name) => self.trace(&name),
            Question::Wrong(response) => *response,
        }
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    fn snapshots(&self) -> Vec<Snapshot> {
        self.controls.iter().filter_map(|control| control.snapshot(PATIENCE)).collect()
    }

    fn metrics(&self) -> String {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let files = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count) as u64;
        let node = metrics::Node {
            started: self.started,
            draining: self.is_draining(),
            shards: self.controls.len(),
            trunks: self.trunks.clone(),
            host: Host::parse(&read("/proc/self/status"), &read("/proc/net/snmp"), files),
        };
        metrics::page(&node, &self.snapshots())
    }

    fn calls(&self) -> List {
        let total = self.snapshots().iter().map(|snapshot| snapshot.calls).sum();
        let live: Vec<Live> =
            self.controls.iter().filter_map(|control| control.calls(CALLS, PATIENCE)).flatten().collect();
        List::of(clock().unix, live, total, &self.trunks)
    }

    fn trace(&self, name: &str) -> Response {
        let found = self.controls.iter().find_map(|control| control.trace(name, PATIENCE));
        match found {
            Some(ladder) => {
                let text = serde_json::to_string(&Told::of(&ladder, &self.trunks)).unwrap_or_default();
                Response::json(200, text).header("Cache-Control", "no-store")
            }
            None => admin::error(404, "no such call is known: it is too old, or tracing is off"),
        }
    }
}
