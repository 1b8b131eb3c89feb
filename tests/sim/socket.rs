//! A WebSocket client (RFC 6455), written apart from the gateway's.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bridgehead::base::Random;
use sha1::{Digest, Sha1};

/// RFC 6455 section 1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Open,
    Text(String),
    Ping(Vec<u8>),
    Close,
    Wrong(String),
}

/// The client's side of one connection.
#[derive(Debug)]
pub struct Socket {
    key: String,
    open: bool,
    buffer: Vec<u8>,
}

impl Socket {
    /// A connection, and what it says first.
    pub fn new(random: &mut Random) -> (Socket, Vec<u8>) {
        let mut bytes = [0; 16];
        random.fill(&mut bytes);
        let key = STANDARD.encode(bytes);
        let request = format!(
            "GET /v1/ws HTTP/1.1\r\nHost: gw.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Origin: http://gw.test\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: bridgehead.v1\r\n\r\n"
        );
        (Socket { key, open: false, buffer: Vec::new() }, request.into_bytes())
    }

    /// Bytes arrive.
    pub fn receive(&mut self, bytes: &[u8]) -> Vec<Heard> {
        self.buffer.extend_from_slice(bytes);
        let mut heard = Vec::new();
        if !self.open {
            let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") else {
                return heard;
            };
            let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
            heard.push(self.on_head(&String::from_utf8_lossy(&head)));
        }
        while let Some((opcode, payload)) = self.frame() {
            heard.push(match opcode {
                0x81 => match String::from_utf8(payload) {
                    Ok(text) => Heard::Text(text),
                    Err(_) => Heard::Wrong("not UTF-8".into()),
                },
                0x88 => Heard::Close,
                0x89 => Heard::Ping(payload),
                other => Heard::Wrong(format!("frame {other:x}")),
            });
        }
        heard
    }

    fn on_head(&mut self, head: &str) -> Heard {
        let accept = STANDARD.encode(Sha1::digest(format!("{}{GUID}", self.key)));
        let lines: Vec<String> = head.lines().map(str::to_ascii_lowercase).collect();
        let has = |line: String| lines.contains(&line.to_ascii_lowercase());
        let sound = head.starts_with("HTTP/1.1 101 ")
            && has(format!("Sec-WebSocket-Accept: {accept}"))
            && has("Sec-WebSocket-Protocol: bridgehead.v1".into());
        self.open = sound;
        if sound { Heard::Open } else { Heard::Wrong(head.to_owned()) }
    }

    /// The next whole frame: first byte, payload.
    fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let (first, second) = (*self.buffer.first()?, *self.buffer.get(1)?);
        let (start, length) = match second {
            126 => (4, self.buffer.get(2..4)?.iter().fold(0, |n, byte| n << 8 | usize::from(*byte))),
            127 => (10, self.buffer.get(2..10)?.iter().fold(0, |n, byte| n << 8 | usize::from(*byte))),
            short => (2, usize::from(short)),
        };
        let payload = self.buffer.get(start..start + length)?.to_vec();
        self.buffer.drain(..start + length);
        Some((first, payload))
    }

    /// A frame of ours, masked.
    pub fn write(random: &mut Random, opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x80 | opcode];
        match payload.len() {
            length @ ..126 => bytes.push(0x80 | length as u8),
            length => {
                bytes.push(0xfe);
                bytes.extend((length as u16).to_be_bytes());
            }
        }
        let mask = random.u32().to_be_bytes();
        bytes.extend(mask);
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }
}
