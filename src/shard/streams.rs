//! The loop's connections: accepted, read and written, each in its turn.

use super::run::Loop;
use crate::base::{FlowId, Key, Now};
use crate::net::{self, Stream};
use std::net::SocketAddr;
use std::time::Duration;

/// Connections accepted in one pass.
const ACCEPTS: usize = 64;
/// Connections read and written in one pass.
const STREAMS: usize = 128;
/// Reads and writes of one connection in its turn.
const STREAM_TURNS: usize = 4;
/// How long a listener rests when connections can't be accepted (no file descriptors, mostly).
const REST: Duration = Duration::from_millis(100);

impl Loop {
    pub(super) fn accept(&mut self, now: Now) {
        if self.accept_at.is_none_or(|at| at > now.instant) {
            return;
        }
        for _ in 0..ACCEPTS {
            let Some(listener) = &self.listener else { return };
            match listener.accept() {
                Ok(Some((stream, remote))) => self.open_stream(now, stream, remote),
                Ok(None) => {
                    self.accept_at = None;
                    return;
                }
                Err(_) => {
                    // The connection still waits and raises no new edge: try again, but don't spin.
                    self.counters.accept_failed += 1;
                    self.accept_at = Some(now.instant + REST);
                    return;
                }
            }
        }
    }

    pub(super) fn open_stream(&mut self, now: Now, stream: Stream, remote: SocketAddr) {
        self.counters.accepted += 1;
        let Some(flow) = self.core.opened(now, remote) else { return };
        if self.poll.add_stream(flow, &stream).is_err() {
            self.counters.streams_failed += 1;
            self.core.closed(now, flow);
            return;
        }
        let slot = flow.slot() as usize;
        if slot >= self.streams.len() {
            self.streams.resize_with(slot + 1, || None);
        }
        self.streams[slot] = Some((flow, stream));
        self.ready_streams.push(flow);
    }

    pub(super) fn streams(&mut self, now: Now) {
        for _ in 0..STREAMS.min(self.ready_streams.len()) {
            let Some(flow) = self.ready_streams.pop() else { return };
            self.write_stream(now, flow);
            self.read_stream(now, flow);
        }
    }

    pub(super) fn stream(streams: &mut [Option<(FlowId, Stream)>], flow: FlowId) -> Option<&mut Stream> {
        match streams.get_mut(flow.slot() as usize) {
            Some(Some((id, stream))) if *id == flow => Some(stream),
            _ => None,
        }
    }

    pub(super) fn read_stream(&mut self, now: Now, flow: FlowId) {
        for _ in 0..STREAM_TURNS {
            let Some(stream) = Self::stream(&mut self.streams, flow) else { return };
            let area = &mut self.buffer[..net::READ_SIZE];
            match stream.read(area) {
                Ok(None) => return,
                Ok(Some(0)) => return self.core.ended(now, flow),
                Ok(Some(count)) => self.core.bytes(now, flow, &area[..count]),
                Err(_) => return self.fail_stream(now, flow),
            }
        }
        self.ready_streams.push(flow);
    }

    pub(super) fn write_stream(&mut self, now: Now, flow: FlowId) {
        for _ in 0..STREAM_TURNS {
            let Some(stream) = Self::stream(&mut self.streams, flow) else { return };
            let bytes = self.core.unsent(flow);
            if bytes.is_empty() {
                return;
            }
            match stream.write(bytes) {
                Ok(None) => return,
                Ok(Some(count)) => self.core.sent(now, flow, count),
                Err(_) => return self.fail_stream(now, flow),
            }
        }
        self.ready_streams.push(flow);
    }

    pub(super) fn fail_stream(&mut self, now: Now, flow: FlowId) {
        self.counters.streams_failed += 1;
        self.close_stream(flow);
        self.core.closed(now, flow);
    }

    pub(super) fn close_stream(&mut self, flow: FlowId) {
        if let Some(stream) = Self::stream(&mut self.streams, flow) {
            stream.shut();
            self.streams[flow.slot() as usize] = None;
        }
    }
}
