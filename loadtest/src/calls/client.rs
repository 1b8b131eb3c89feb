//! A browser's session: signs in over its WebSocket, says requests, hears events.

use super::link::{Link, Told};
use mio::{Registry, Token};
use serde::Deserialize;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// TCP and WebSocket are on their way.
    Opening,
    /// `connect` was said.
    SigningIn,
    /// It may dial.
    In,
    /// It is over, or its connection is.
    Gone,
}

/// Any message of the gateway.
#[derive(Deserialize, Debug, Default)]
#[serde(default)]
pub(super) struct Event {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) call: Option<String>,
    pub(super) sdp: Option<String>,
    pub(super) error: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) resume: Option<String>,
    pub(super) seq: Option<u64>,
}

/// What a session tells the calls.
pub(super) enum Said {
    /// It is signed in: after so many ns since it began to connect; by resumption or anew.
    In {
        after: u64,
        resumed: bool,
    },
    Event(Event),
    Gone(String),
}

pub(super) struct Client {
    link: Option<Link>,
    pub(super) stage: Stage,
    pub(super) name: String,
    password: String,
    resume: Option<String>,
    seq: u64,
    next: u64,
    began: u64,
    /// Its call's place.
    pub(super) call: Option<usize>,
}

impl Client {
    pub(super) fn new(name: String, password: String) -> Client {
        Client {
            link: None,
            stage: Stage::Gone,
            name,
            password,
            resume: None,
            seq: 0,
            next: 1,
            began: 0,
            call: None,
        }
    }

    pub(super) fn connect(
        &mut self,
        now: u64,
        to: SocketAddr,
        tls: Option<&Arc<rustls::ClientConfig>>,
        registry: &Registry,
        token: Token,
    ) -> io::Result<()> {
        self.link = Some(Link::connect(to, tls, registry, token)?);
        (self.stage, self.began) = (Stage::Opening, now);
        Ok(())
    }

    /// Closes the connection as a network that breaks does: without a word.
    pub(super) fn cut(&mut self) {
        (self.link, self.stage) = (None, Stage::Gone);
    }

    /// Says a request; gives its id.
    pub(super) fn request(&mut self, mut request: serde_json::Value) -> u64 {
        let id = self.next;
        self.next += 1;
        request["id"] = id.into();
        if self.stage == Stage::In && self.seq > 0 {
            request["ack"] = self.seq.into();
        }
        if let Some(link) = &mut self.link {
            link.send(request.to_string());
        }
        id
    }

    pub(super) fn on_ready(&mut self, buffer: &mut [u8]) {
        if let Some(link) = &mut self.link {
            link.on_ready(buffer);
        }
    }

    pub(super) fn poll(&mut self, now: u64) -> Option<Said> {
        loop {
            match self.link.as_mut()?.poll()? {
                Told::Open => self.sign_in(),
                Told::Gone(why) => {
                    self.cut();
                    return Some(Said::Gone(why));
                }
                Told::Text(text) => {
                    let Ok(event) = serde_json::from_str::<Event>(&text) else {
                        return Some(Said::Gone("no JSON".into()));
                    };
                    self.seq = event.seq.unwrap_or(self.seq);
                    if self.stage != Stage::SigningIn || event.kind == "closed" {
                        return Some(Said::Event(event));
                    }
                    return Some(self.on_answer(now, event));
                }
            }
        }
    }

    fn sign_in(&mut self) {
        self.stage = Stage::SigningIn;
        let request = match &self.resume {
            Some(resume) => {
                serde_json::json!({"type": "connect", "version": 1, "resume": resume, "cursor": self.seq})
            }
            None => serde_json::json!({
                "type": "connect", "version": 1, "user": self.name, "password": self.password
            }),
        };
        self.request(request);
    }

    fn on_answer(&mut self, now: u64, event: Event) -> Said {
        if event.kind != "ok" {
            self.cut();
            // A session that is no more is begun anew next time.
            (self.resume, self.seq) = (None, 0);
            return Said::Gone(format!("sign-in: {}", event.error.unwrap_or(event.kind)));
        }
        let resumed = self.resume.is_some();
        self.resume = event.resume;
        self.stage = Stage::In;
        Said::In { after: now.saturating_sub(self.began), resumed }
    }
}
