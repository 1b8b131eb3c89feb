//! A browser's WebSocket, over TLS or not: non-blocking, fed by the loop, never waited for.

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustls::{ClientConfig, ClientConnection};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use tungstenite::error::Error as WsError;
use tungstenite::protocol::{Message, Role, WebSocketConfig, WebSocketContext};

/// What a link tells.
#[derive(Debug)]
pub enum Told {
    /// The WebSocket stands.
    Open,
    /// A message.
    Text(String),
    /// It is gone, and why.
    Gone(String),
}

/// RFC 6455 section 1.3's sample key: nobody between us and the gateway needs to be fooled.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// Longest answer to the handshake.
const LONGEST_HEAD: usize = 8192;

/// One WebSocket.
pub struct Link {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// `None` until the handshake is over.
    context: Option<WebSocketContext>,
    head: Vec<u8>,
    out: Vec<u8>,
    told: VecDeque<Told>,
    gone: bool,
}

/// The stream that tungstenite believes to read and write.
struct Pipe<'a> {
    input: &'a [u8],
    output: &'a mut Vec<u8>,
}

impl Read for Pipe<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { self.input.read(buffer) }
    }
}

impl Write for Pipe<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Link {
    /// Begins to connect.
    pub fn connect(
        to: SocketAddr,
        tls: Option<&Arc<ClientConfig>>,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Link> {
        let secure = |config| ClientConnection::new(Arc::clone(config), to.ip().into()).map(Box::new);
        let tls = tls.map(secure).transpose().map_err(io::Error::other)?;
        let mut stream = TcpStream::connect(to)?;
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        let out = format!(
            "GET /v1/ws HTTP/1.1\r\nHost: {to}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: bridgehead.v1\r\n\r\n"
        );
        let (head, told) = (Vec::new(), VecDeque::new());
        Ok(Link { stream, tls, context: None, head, out: out.into_bytes(), told, gone: false })
    }

    /// Sends a message.
    pub fn send(&mut self, text: String) {
        if let Some(context) = &mut self.context {
            let mut pipe = Pipe { input: &[], output: &mut self.out };
            if context.write(&mut pipe, Message::text(text)).is_err() {
                self.fail("refused to send");
            }
        }
        self.flush();
    }

    /// The socket is ready for something.
    pub fn on_ready(&mut self, buffer: &mut [u8]) {
        self.flush();
        while !self.gone {
            match self.stream.read(buffer) {
                Ok(0) => self.fail("closed"),
                Ok(length) => self.on_read(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::NotConnected => break,
                Err(error) => self.fail(&error.to_string()),
            }
        }
        self.flush();
    }

    /// What happened, oldest first.
    pub fn poll(&mut self) -> Option<Told> {
        self.told.pop_front()
    }

    fn fail(&mut self, why: &str) {
        if !std::mem::replace(&mut self.gone, true) {
            self.told.push_back(Told::Gone(why.to_owned()));
        }
    }

    /// Bytes of the stream.
    fn on_read(&mut self, mut bytes: &[u8]) {
        let Some(tls) = &mut self.tls else { return self.on_bytes(bytes) };
        let mut plain = Vec::new();
        while !bytes.is_empty() {
            let read = tls.read_tls(&mut bytes).map_err(|error| error.to_string());
            let told = read.and_then(|_| tls.process_new_packets().map_err(|error| error.to_string()));
            if let Err(error) = told {
                return self.fail(&error);
            }
            // Nothing more now, or the end of it: the stream tells that, too.
            let _ = tls.reader().read_to_end(&mut plain);
        }
        if !plain.is_empty() {
            self.on_bytes(&plain);
        }
    }

    /// What there is to send goes into TLS, which has room for a request or two and takes the rest later.
    fn enclose(&mut self) {
        if let Some(tls) = &mut self.tls
            && !self.out.is_empty()
        {
            let taken = tls.writer().write(&self.out).unwrap_or(0);
            self.out.drain(..taken);
        }
    }

    fn flush(&mut self) {
        self.enclose();
        while !self.gone && self.tls.as_ref().map_or(!self.out.is_empty(), |tls| tls.wants_write()) {
            let written = match &mut self.tls {
                Some(tls) => tls.write_tls(&mut self.stream).map(|_| 0),
                None => self.stream.write(&self.out),
            };
            match written {
                Ok(written) => drop(self.out.drain(..written)),
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) =>
                {
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.fail(&error.to_string()),
            }
        }
        if self.out.is_empty() && self.out.capacity() > 4096 {
            self.out = Vec::new();
        }
    }

    fn on_bytes(&mut self, bytes: &[u8]) {
        let Some(context) = &mut self.context else { return self.on_head(bytes) };
        let mut pipe = Pipe { input: bytes, output: &mut self.out };
        loop {
            match context.read(&mut pipe) {
                Ok(Message::Text(text)) => self.told.push_back(Told::Text(text.as_str().to_owned())),
                // Pings are answered by the context itself.
                Ok(_) => {}
                Err(WsError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => return self.fail(&error.to_string()),
            }
        }
    }

    fn on_head(&mut self, bytes: &[u8]) {
        self.head.extend_from_slice(bytes);
        let Some(end) = self.head.windows(4).position(|four| four == b"\r\n\r\n") else {
            if self.head.len() > LONGEST_HEAD {
                self.fail("no end of the handshake's answer");
            }
            return;
        };
        let head = std::mem::take(&mut self.head);
        if !head.starts_with(b"HTTP/1.1 101 ") {
            let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
            return self.fail(&String::from_utf8_lossy(line));
        }
        let limits = WebSocketConfig::default().read_buffer_size(1024).write_buffer_size(0);
        self.context = Some(WebSocketContext::new(Role::Client, Some(limits)));
        self.told.push_back(Told::Open);
        let rest = &head[end + 4..];
        if !rest.is_empty() {
            self.on_bytes(rest);
        }
    }
}
