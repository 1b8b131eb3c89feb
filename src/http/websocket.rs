//! WebSocket framing (RFC 6455) by tungstenite's protocol half, fed from memory; pings, deadlines, the closing
//! handshake.

use super::config::Config;
use super::connection::Event;
use super::output::Output;
use crate::base::{Deadline, Now};
use std::borrow::Cow;
use std::io::{self, Read, Write};
use std::time::Instant;
use tungstenite::error::Error as WsError;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig, WebSocketContext};

/// tungstenite's own default would hold 128 KiB for each idle connection.
const READ_BUFFER: usize = 1024;

/// What became of a WebSocket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ended {
    /// The closing handshake is done: the far side began it.
    Peer,
    /// The closing handshake is done, or took too long: we began it.
    Ours,
    /// The far side broke the protocol or sent too much; a Close frame says so.
    Broken,
    /// No pong came.
    Silent,
}

#[derive(Debug)]
pub(super) struct WebSocket {
    context: WebSocketContext,
    ping_at: Instant,
    pong_by: Option<Instant>,
    close_by: Option<Instant>,
    binary: bool,
}

/// The stream that tungstenite believes to read and write.
struct Pipe<'a> {
    input: &'a [u8],
    output: &'a mut Output,
}

impl Read for Pipe<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.input.read(buffer)
    }
}

impl Write for Pipe<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.push(Cow::Owned(bytes.to_vec()));
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl WebSocket {
    pub(super) fn new(now: Now, config: &Config) -> WebSocket {
        let limits = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(usize::MAX) // our own queue is what is capped
            .max_message_size(Some(config.max_message))
            .max_frame_size(Some(config.max_message));
        WebSocket {
            context: WebSocketContext::new(Role::Server, Some(limits)),
            ping_at: now.instant + config.ping_interval,
            pong_by: None,
            close_by: None,
            binary: false,
        }
    }

    pub(super) fn allow_binary(&mut self) {
        self.binary = true;
    }

    /// Takes bytes; whole messages go to `on_message`.
    pub(super) fn handle_bytes(
        &mut self,
        bytes: &[u8],
        output: &mut Output,
        mut on_message: impl FnMut(Event),
    ) -> Result<(), Ended> {
        let mut pipe = Pipe { input: bytes, output };
        loop {
            let code = match self.context.read(&mut pipe) {
                Ok(Message::Text(text)) => {
                    self.pong_by = None;
                    // After our Close frame the application is gone.
                    if self.close_by.is_none() {
                        on_message(Event::Text(text.as_str().to_owned()));
                    }
                    continue;
                }
                Ok(Message::Ping(_) | Message::Pong(_)) => {
                    self.pong_by = None;
                    continue;
                }
                Ok(Message::Close(_) | Message::Frame(_)) => continue,
                Ok(Message::Binary(data)) if self.binary => {
                    self.pong_by = None;
                    if self.close_by.is_none() {
                        on_message(Event::Binary(data.into()));
                    }
                    continue;
                }
                Ok(Message::Binary(_)) => CloseCode::Unsupported,
                Err(WsError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(WsError::ConnectionClosed | WsError::AlreadyClosed) => {
                    return Err(if self.close_by.is_some() { Ended::Ours } else { Ended::Peer });
                }
                Err(WsError::Capacity(_)) => CloseCode::Size,
                Err(WsError::Utf8(_)) => CloseCode::Invalid,
                Err(_) => CloseCode::Protocol,
            };
            // RFC 6455 section 7.1.7: fail the connection, saying why.
            let _ = self.context.close(&mut pipe, Some(CloseFrame { code, reason: "".into() }));
            return Err(Ended::Broken);
        }
    }

    /// Queues a text message; false once the connection is closing.
    pub(super) fn send_text(&mut self, text: &str, output: &mut Output) -> bool {
        let mut pipe = Pipe { input: &[], output };
        self.context.can_write() && self.context.write(&mut pipe, Message::text(text)).is_ok()
    }

    /// Queues a binary message; false once the connection is closing.
    pub(super) fn send_binary(&mut self, data: Vec<u8>, output: &mut Output) -> bool {
        let mut pipe = Pipe { input: &[], output };
        self.context.can_write() && self.context.write(&mut pipe, Message::binary(data)).is_ok()
    }

    /// Begins the closing handshake.
    pub(super) fn close(&mut self, now: Now, code: u16, config: &Config, output: &mut Output) {
        if self.close_by.is_some() {
            return;
        }
        self.close_by = Some(now.instant + config.close_timeout);
        let frame = CloseFrame { code: code.into(), reason: "".into() };
        let _ = self.context.close(&mut Pipe { input: &[], output }, Some(frame));
    }

    /// Pings when it is time, and gives up on a silent far side.
    pub(super) fn handle_timeout(
        &mut self,
        now: Now,
        config: &Config,
        output: &mut Output,
    ) -> Result<(), Ended> {
        if self.close_by.is_some_and(|by| by <= now.instant) {
            return Err(Ended::Ours);
        }
        if self.pong_by.is_some_and(|by| by <= now.instant) {
            return Err(Ended::Silent);
        }
        if self.close_by.is_none() && self.ping_at <= now.instant {
            let mut pipe = Pipe { input: &[], output };
            let _ = self.context.write(&mut pipe, Message::Ping(Vec::new().into()));
            self.pong_by = self.pong_by.or(Some(now.instant + config.pong_timeout));
            self.ping_at = now.instant + config.ping_interval;
        }
        Ok(())
    }

    pub(super) fn poll_timeout(&self) -> Option<Deadline> {
        if let Some(at) = self.close_by {
            return Some(Deadline { at, why: "websocket_close" });
        }
        let pong = self.pong_by.map(|at| Deadline { at, why: "websocket_pong" });
        Deadline::sooner(pong, Some(Deadline { at: self.ping_at, why: "websocket_ping" }))
    }
}
