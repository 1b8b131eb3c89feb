//! The SIP party opposite: a UAS that answers every call, and hangs up none. It takes datagrams and gives datagrams.

use super::sdp::{Described, answer};
use sip_codec::{Message, Method, Name, Writer};
use std::collections::HashMap;
use std::net::{SocketAddr, SocketAddrV4};

/// First and longest wait before a 200 that nobody acknowledged is sent again (T1 and T2 of RFC 3261).
const T1: u64 = 500_000_000;
const T2: u64 = 4_000_000_000;
/// After 64 T1 without ACK it gives up (RFC 3261 section 13.3.1.4).
const PATIENCE: u64 = 64 * T1;

/// What the agent tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A call, by the number that it was dialled with; the far side hears at this address. To be answered by
    /// [`Agent::accept`].
    Invited {
        /// The user part of the Request-URI.
        user: String,
        /// The Call-ID.
        call_id: String,
        /// Where RTP goes.
        media: SocketAddrV4,
    },
    /// Our 200 was acknowledged.
    Acknowledged(String),
    /// It was cancelled, or hung up.
    Over(String),
    /// No ACK came.
    Unacknowledged(String),
}

/// One call.
struct Dialog {
    invite: Vec<u8>,
    source: SocketAddrV4,
    /// The final response to the INVITE.
    response: Vec<u8>,
    acknowledged: bool,
    sent: u64,
    wait: u64,
    began: u64,
}

/// The agent.
pub struct Agent {
    address: SocketAddrV4,
    dialogs: HashMap<String, Dialog>,
    next: u64,
    out: Vec<(SocketAddrV4, Vec<u8>)>,
    /// Requests of kinds that it does not know, and messages that it can't read.
    pub puzzled: u64,
    /// Messages that came again.
    pub repeated: u64,
}

impl Agent {
    /// An agent at this address.
    pub fn new(address: SocketAddrV4) -> Agent {
        Agent { address, dialogs: HashMap::new(), next: 0, out: Vec::new(), puzzled: 0, repeated: 0 }
    }

    /// Datagrams to send.
    pub fn take_out(&mut self) -> Vec<(SocketAddrV4, Vec<u8>)> {
        std::mem::take(&mut self.out)
    }

    /// A datagram arrived.
    pub fn on_datagram(&mut self, now: u64, from: SocketAddrV4, data: &[u8]) -> Option<News> {
        let Ok(message) = Message::parse(data) else {
            self.puzzled += 1;
            return None;
        };
        let (method, call_id) = (message.method()?, message.call_id().ok()?.to_owned());
        match method {
            Method::Invite => self.on_invite(now, from, data, &message, call_id),
            Method::Ack => {
                let dialog = self.dialogs.get_mut(&call_id)?;
                let first = !std::mem::replace(&mut dialog.acknowledged, true);
                first.then_some(News::Acknowledged(call_id))
            }
            Method::Bye => {
                self.reply(&message, from, 200, "OK");
                let known = self.dialogs.remove(&call_id).is_some();
                self.repeated += u64::from(!known);
                known.then_some(News::Over(call_id))
            }
            Method::Cancel => self.on_cancel(from, &message, call_id),
            Method::Options | Method::Info | Method::Update => {
                self.reply(&message, from, 200, "OK");
                None
            }
            _ => {
                self.puzzled += 1;
                self.reply(&message, from, 405, "Method Not Allowed");
                None
            }
        }
    }

    fn on_invite(
        &mut self,
        now: u64,
        from: SocketAddrV4,
        data: &[u8],
        message: &Message<'_>,
        call_id: String,
    ) -> Option<News> {
        if let Some(dialog) = self.dialogs.get(&call_id) {
            self.repeated += 1;
            if !dialog.response.is_empty() {
                self.out.push((from, dialog.response.clone()));
            }
            return None;
        }
        let user = message.uri().ok()?.user?.to_owned();
        let Some(media) = Described::read(&String::from_utf8_lossy(message.body())).media else {
            self.reply(message, from, 488, "Not Acceptable Here");
            return None;
        };
        self.reply(message, from, 100, "Trying");
        let dialog = Dialog {
            invite: data.to_vec(),
            source: from,
            response: Vec::new(),
            acknowledged: false,
            sent: 0,
            wait: T1,
            began: now,
        };
        self.dialogs.insert(call_id.clone(), dialog);
        Some(News::Invited { user, call_id, media })
    }

    fn on_cancel(&mut self, from: SocketAddrV4, message: &Message<'_>, call_id: String) -> Option<News> {
        self.reply(message, from, 200, "OK");
        let dialog = self.dialogs.get(&call_id)?;
        if !dialog.response.is_empty() {
            return None;
        }
        let dialog = self.dialogs.remove(&call_id)?;
        let mut response = Vec::new();
        if let Ok(invite) = Message::parse(&dialog.invite) {
            let mut writer = Writer::response(&mut response, 487, "Request Terminated");
            writer.reply_to(&invite, SocketAddr::V4(dialog.source), Some(&tag(&call_id)));
            if writer.finish().is_ok() {
                self.out.push((dialog.source, response));
            }
        }
        Some(News::Over(call_id))
    }

    fn reply(&mut self, request: &Message<'_>, to: SocketAddrV4, code: u16, reason: &str) {
        let mut response = Vec::new();
        let tag = request.call_id().map(tag).unwrap_or_default();
        let mut writer = Writer::response(&mut response, code, reason);
        writer.reply_to(request, SocketAddr::V4(to), (code > 100).then_some(tag.as_str()));
        if writer.finish().is_ok() {
            self.out.push((to, response));
        }
    }

    /// Rings and answers at once, with media at this address. False where the call is over.
    pub fn accept(&mut self, now: u64, call_id: &str, media: SocketAddrV4) -> bool {
        self.next += 1;
        let Some(dialog) = self.dialogs.get_mut(call_id) else { return false };
        let Ok(invite) = Message::parse(&dialog.invite) else { return false };
        let (source, tag) = (SocketAddr::V4(dialog.source), tag(call_id));
        let contact = format!("<sip:load@{}>", self.address);
        for (code, reason) in [(180, "Ringing"), (200, "OK")] {
            let mut response = Vec::new();
            let mut writer = Writer::response(&mut response, code, reason);
            writer.reply_to(&invite, source, Some(&tag)).copy(&invite, Name::RecordRoute);
            writer.header(Name::Contact, &contact);
            let written = if code == 200 {
                writer.body("application/sdp", answer(self.next, media).as_bytes())
            } else {
                writer.finish()
            };
            if written.is_ok() {
                self.out.push((dialog.source, response.clone()));
                dialog.response = response;
            }
        }
        (dialog.sent, dialog.wait, dialog.invite) = (now, T1, Vec::new());
        true
    }

    /// Time passes: a 200 without ACK is sent again. To be called some times a second.
    pub fn on_time(&mut self, now: u64) -> Vec<News> {
        let mut news = Vec::new();
        self.dialogs.retain(|call_id, dialog| {
            if dialog.acknowledged || dialog.sent == 0 || now < dialog.sent + dialog.wait {
                return true;
            }
            if now > dialog.began + PATIENCE {
                news.push(News::Unacknowledged(call_id.clone()));
                return false;
            }
            self.out.push((dialog.source, dialog.response.clone()));
            (dialog.sent, dialog.wait) = (now, (2 * dialog.wait).min(T2));
            true
        });
        news
    }
}

/// Our tag in a dialog: any that stays the same.
fn tag(call_id: &str) -> String {
    let hash = call_id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}
