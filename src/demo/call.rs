//! One call to a number of ours: a dialog in which we were called, its answer until it is acknowledged, its media.

use super::Config;
use super::location::address;
use super::media::{self, Agreed, Stream};
use super::numbers::Kind;
use super::reply;
use crate::base::{CallId, Now, Random, TimerId};
use crate::sdp::Session;
use sip_codec::{Address, Host, Message, Method, Name, ViaOut, Writer};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);
/// Route entries of a dialog; more are a fault.
const ROUTES: usize = 8;

/// How far it is.
#[derive(Debug)]
enum Stage {
    /// The INVITE waits for an RTP socket.
    Opening,
    /// It rings, until it is answered.
    Ringing(Instant),
    /// Answered; the answer is repeated until ACK (RFC 3261 section 13.3.1.4).
    Answered(Repeat),
    /// Acknowledged.
    Up,
    /// Our BYE waits for its response.
    Ending(Repeat),
}

#[derive(Debug)]
struct Repeat {
    to: SocketAddr,
    data: Vec<u8>,
    at: Instant,
    interval: Duration,
    until: Instant,
}

impl Repeat {
    fn new(now: Now, to: SocketAddr, data: Vec<u8>) -> Repeat {
        let now = now.instant;
        Repeat { to, data, at: now + T1, interval: T1, until: now + 64 * T1 }
    }

    fn due(&mut self, now: Instant) -> bool {
        if now < self.at {
            return false;
        }
        self.interval = (2 * self.interval).min(T2);
        self.at = now + self.interval;
        true
    }
}

/// What a call wants of its server.
#[derive(Debug, PartialEq, Eq)]
pub enum Act {
    /// Send this on the SIP socket.
    Sip(SocketAddr, Vec<u8>),
    /// Send this on the call's RTP socket.
    Rtp(SocketAddr, Vec<u8>),
    /// Forget it.
    Over,
}

/// A call.
#[derive(Debug)]
pub struct Call {
    pub kind: Kind,
    pub timer: Option<(Instant, TimerId)>,
    /// Call-ID and the caller's tag: what all requests of it have in common.
    pub key: (String, String),
    pub tag: String,
    caller: String,
    called: String,
    target: String,
    hop: SocketAddr,
    routes: Vec<String>,
    own: SocketAddr,
    invite: Vec<u8>,
    source: SocketAddr,
    cseq: u32,
    stage: Stage,
    last: Option<(SocketAddr, Vec<u8>)>,
    local: Option<SocketAddr>,
    session: Option<Session>,
    /// Our description was an offer; theirs comes with the ACK.
    owed: bool,
    /// The CSeq number of the last INFO: one that is sent again tells nothing new.
    informed: u32,
    stream: Stream,
    heard: Instant,
    ends: Instant,
}

/// What names the call that a message belongs to, seen from its caller.
pub fn key(message: &Message<'_>) -> Option<(String, String)> {
    Some((message.call_id().ok()?.to_owned(), message.from().ok()?.tag()?.to_owned()))
}

impl Call {
    /// From the INVITE that begins it; `None` where it lacks what a dialog needs.
    pub fn new(
        now: Now,
        config: &Config,
        random: &mut Random,
        kind: Kind,
        invite: &Message<'_>,
        bytes: &[u8],
        source: SocketAddr,
    ) -> Option<Call> {
        let target = invite.address(Name::Contact).ok()?.uri.to_owned();
        let routes = invite.addresses(Name::RecordRoute).take(ROUTES);
        let routes: Vec<String> = routes.filter_map(|route| Some(route.ok()?.uri.to_owned())).collect();
        let next = routes.first().unwrap_or(&target);
        Some(Call {
            kind,
            timer: None,
            key: key(invite)?,
            tag: random.token(12),
            caller: invite.from().ok()?.uri.to_owned(),
            called: invite.to().ok()?.uri.to_owned(),
            hop: address(next).unwrap_or(source),
            target,
            routes,
            own: config.address,
            invite: bytes.to_vec(),
            source,
            cseq: invite.cseq().ok()?.number,
            stage: Stage::Opening,
            last: None,
            local: None,
            session: None,
            owed: false,
            informed: 0,
            stream: Stream::new(random, kind),
            heard: now.instant,
            ends: now.instant + config.talk,
        })
    }

    /// Its RTP socket stands: ring, or answer.
    pub fn on_opened(&mut self, now: Now, config: &Config, id: CallId, local: SocketAddr) -> Vec<Act> {
        self.local = Some(local);
        if !matches!(self.stage, Stage::Opening) {
            return Vec::new();
        }
        if self.kind == Kind::Delay { self.ring(now, config, id) } else { self.pick_up(now, id) }
    }

    /// Says 180 (RFC 3261 section 13.3.1.1), unless the call could not be answered anyway.
    fn ring(&mut self, now: Now, config: &Config, id: CallId) -> Vec<Act> {
        let bytes = std::mem::take(&mut self.invite);
        let Ok(invite) = Message::parse(&bytes) else { return vec![Act::Over] };
        if let Err(status) = self.meet(&invite, id) {
            let refusal = reply::write(&invite, self.source, status, Some(&self.tag), &[]);
            return refusal.map(|(to, data)| Act::Sip(to, data)).into_iter().chain([Act::Over]).collect();
        }
        let Some((to, data)) = self.write_answer(&invite, self.source, (180, "Ringing"), None) else {
            return vec![Act::Over];
        };
        self.stage = Stage::Ringing(now.instant + config.ring);
        self.last = Some((to, data.clone()));
        self.invite = bytes;
        vec![Act::Sip(to, data)]
    }

    /// Answers the INVITE that began it.
    fn pick_up(&mut self, now: Now, id: CallId) -> Vec<Act> {
        let bytes = std::mem::take(&mut self.invite);
        let Ok(invite) = Message::parse(&bytes) else { return vec![Act::Over] };
        let mut acts = self.answer(now, id, &invite, self.source);
        if !matches!(self.stage, Stage::Answered(_)) {
            acts.push(Act::Over);
        }
        acts
    }

    /// It ends before it was answered, with this status.
    pub fn refuse(&mut self, status: (u16, &str)) -> Vec<Act> {
        let bytes = std::mem::take(&mut self.invite);
        let refusal = Message::parse(&bytes).ok();
        let refusal =
            refusal.and_then(|invite| reply::write(&invite, self.source, status, Some(&self.tag), &[]));
        refusal.map(|(to, data)| Act::Sip(to, data)).into_iter().chain([Act::Over]).collect()
    }

    /// Our description and theirs for an INVITE; otherwise the status that refuses it.
    fn meet(
        &self,
        invite: &Message<'_>,
        id: CallId,
    ) -> Result<(Session, Option<Session>), (u16, &'static str)> {
        let local = self.local.ok_or((500, "Server Internal Error"))?;
        let theirs = match invite.body() {
            [] => None,
            body => Some(Session::parse(body).map_err(|_| (400, "Bad Session Description"))?),
        };
        let ours = match &theirs {
            Some(offer) => media::answer(offer, local, id.to_bits()),
            None => Some(media::offer(local, id.to_bits())),
        };
        let mut ours = ours.ok_or((488, "Not Acceptable Here"))?;
        if let Some(before) = &self.session {
            ours.follow(before);
        }
        Ok((ours, theirs))
    }

    /// Answers an INVITE, the first or a later one. One that can't be met leaves everything as it was.
    fn answer(&mut self, now: Now, id: CallId, invite: &Message<'_>, source: SocketAddr) -> Vec<Act> {
        let refuse = |status| {
            let refusal = reply::write(invite, source, status, Some(&self.tag), &[]);
            refusal.map(|(to, data)| Act::Sip(to, data)).into_iter().collect()
        };
        let (ours, theirs) = match self.meet(invite, id) {
            Ok(both) => both,
            Err(status) => return refuse(status),
        };
        let Some((to, data)) = self.write_answer(invite, source, (200, "OK"), Some(&ours)) else {
            return refuse((500, "Server Internal Error"));
        };
        if let Ok(contact) = invite.address(Name::Contact)
            && self.session.is_some()
        {
            contact.uri.clone_into(&mut self.target);
        }
        if let Some(theirs) = &theirs {
            self.agree(now, Agreed::new(&ours, theirs));
        }
        self.owed = theirs.is_none();
        self.session = Some(ours);
        self.cseq = invite.cseq().map_or(self.cseq, |cseq| cseq.number);
        self.stage = Stage::Answered(Repeat::new(now, to, data.clone()));
        self.last = Some((to, data.clone()));
        vec![Act::Sip(to, data)]
    }

    fn write_answer(
        &self,
        invite: &Message<'_>,
        source: SocketAddr,
        status: (u16, &str),
        ours: Option<&Session>,
    ) -> Option<(SocketAddr, Vec<u8>)> {
        let to = reply::address(&invite.via().ok()?, source);
        let mut data = Vec::with_capacity(1024);
        let mut writer = Writer::response(&mut data, status.0, status.1);
        writer.reply_to(invite, source, Some(&self.tag)).copy(invite, Name::RecordRoute);
        writer.header(Name::Contact, format_args!("<sip:{}>", self.own));
        writer.text(Name::Allow, reply::ALLOW);
        if let Some(ours) = ours {
            let mut body = Vec::new();
            ours.write(&mut body);
            writer.body("application/sdp", &body).ok()?;
        } else {
            writer.finish().ok()?;
        }
        Some((to, data))
    }

    fn agree(&mut self, now: Now, agreed: Agreed) {
        self.stream.agreed = agreed;
        self.heard = now.instant;
        if !self.kind.echoes() {
            self.stream.start(now.instant);
        }
    }

    /// An INVITE of this call: the first again, or a later one.
    pub fn on_invite(&mut self, now: Now, id: CallId, invite: &Message<'_>, source: SocketAddr) -> Vec<Act> {
        let cseq = invite.cseq().map_or(0, |cseq| cseq.number);
        let tagged = invite.to().is_ok_and(|to| to.tag().is_some());
        let refusal = |status: (u16, &str), headers: &[(Name<'_>, String)]| {
            let refusal = reply::write(invite, source, status, Some(&self.tag), headers);
            refusal.map(|(to, data)| Act::Sip(to, data)).into_iter().collect()
        };
        match &self.stage {
            Stage::Opening | Stage::Ending(_) if cseq == self.cseq => Vec::new(),
            // Sent again: so is its answer (RFC 6026 section 7.1).
            _ if cseq == self.cseq => {
                self.last.iter().map(|(to, data)| Act::Sip(*to, data.clone())).collect()
            }
            // The same call by another way (section 8.2.2.2).
            _ if !tagged => refusal((482, "Loop Detected"), &[]),
            _ if cseq < self.cseq => refusal((500, "Server Internal Error"), &[]),
            Stage::Up => self.answer(now, id, invite, source),
            // Section 14.2: one at a time.
            _ => refusal((500, "Server Internal Error"), &[(Name::RetryAfter, "2".to_owned())]),
        }
    }

    /// An ACK: the repeating ends, and a late answer counts. False where it acknowledges nothing.
    pub fn on_ack(&mut self, now: Now, ack: &Message<'_>) -> bool {
        let fits = ack.cseq().is_ok_and(|cseq| cseq.number == self.cseq);
        if !fits || !matches!(self.stage, Stage::Answered(_)) {
            return false;
        }
        self.stage = Stage::Up;
        if let (true, Some(ours), Ok(theirs)) = (self.owed, &self.session, Session::parse(ack.body())) {
            let agreed = Agreed::new(ours, &theirs);
            self.owed = false;
            self.agree(now, agreed);
        }
        true
    }

    /// A CANCEL of its INVITE: only what has no final response yet can be cancelled.
    pub fn on_cancel(&mut self) -> Vec<Act> {
        if matches!(self.stage, Stage::Opening | Stage::Ringing(_)) {
            self.refuse((487, "Request Terminated"))
        } else {
            Vec::new()
        }
    }

    /// A BYE: an INVITE that still waits is answered too (section 15.1.2).
    pub fn on_bye(&mut self) -> Vec<Act> {
        let acts = self.on_cancel();
        if acts.is_empty() { vec![Act::Over] } else { acts }
    }

    /// An INFO, where it tells of a key.
    pub fn on_info(&mut self, info: &Message<'_>) {
        let number = info.cseq().map_or(0, |cseq| cseq.number);
        if number <= self.informed {
            return;
        }
        self.informed = number;
        if let Some(digit) = pressed(info) {
            self.stream.on_digit(digit);
        }
    }

    /// Whether a response is the one that our BYE waits for.
    pub fn is_ended_by(&self, response: &Message<'_>) -> bool {
        let bye = response.cseq().is_ok_and(|cseq| cseq.method == Method::Bye);
        bye && matches!(self.stage, Stage::Ending(_)) && response.code().is_some_and(|code| code >= 200)
    }

    /// A packet on its RTP socket; `Err` where it is not one that was agreed on.
    pub fn on_rtp(&mut self, now: Now, from: SocketAddr, data: &[u8]) -> Result<Option<Act>, ()> {
        if !self.stream.is_from_caller(from) || matches!(self.stage, Stage::Ending(_)) {
            return Err(());
        }
        self.heard = now.instant;
        if !self.kind.echoes() {
            if let Some(digit) = self.stream.digit(data)? {
                self.stream.on_digit(digit);
            }
            return Ok(None);
        }
        Ok(self.stream.echo(data)?.map(|(to, data)| Act::Rtp(to, data)))
    }

    /// When it wants to be woken.
    pub fn deadline(&self, config: &Config) -> Instant {
        let silence = self.stream.agreed.receive.then(|| self.heard + config.silence);
        let media = match &self.stage {
            Stage::Opening => return self.ends,
            Stage::Ringing(until) => return self.ends.min(*until),
            Stage::Ending(repeat) => return repeat.at.min(repeat.until),
            Stage::Answered(repeat) => [Some(repeat.at), Some(repeat.until), self.stream.deadline()],
            Stage::Up => [silence, None, self.stream.deadline()],
        };
        media.into_iter().flatten().fold(self.ends, Instant::min)
    }

    /// Its deadline has come. `true`: what was sent is an answer again.
    pub fn on_timeout(
        &mut self,
        now: Now,
        id: CallId,
        config: &Config,
        random: &mut Random,
    ) -> (Vec<Act>, bool) {
        let (mut acts, mut repeated) = (Vec::new(), false);
        while let Some((to, data)) = self.stream.play(now.instant) {
            acts.push(Act::Rtp(to, data));
        }
        let silent = self.stream.agreed.receive && now.instant >= self.heard + config.silence;
        let over = now.instant >= self.ends;
        let mut end = false;
        match &mut self.stage {
            Stage::Opening if over => acts.push(Act::Over),
            Stage::Opening => {}
            Stage::Ringing(until) if now.instant >= *until => acts.extend(self.pick_up(now, id)),
            Stage::Ringing(_) => {}
            Stage::Up => end = silent || over || self.stream.is_over(),
            Stage::Answered(repeat) if now.instant >= repeat.until => end = true,
            Stage::Ending(repeat) if now.instant >= repeat.until => acts.push(Act::Over),
            Stage::Answered(repeat) => {
                repeated = repeat.due(now.instant);
                acts.extend(repeated.then(|| Act::Sip(repeat.to, repeat.data.clone())));
            }
            Stage::Ending(repeat) => {
                let again = repeat.due(now.instant);
                acts.extend(again.then(|| Act::Sip(repeat.to, repeat.data.clone())));
            }
        }
        if end {
            acts.extend(self.end(now, random));
        }
        (acts, repeated)
    }

    /// Whether our BYE is out.
    pub fn is_ending(&self) -> bool {
        matches!(self.stage, Stage::Ending(_))
    }

    /// Says BYE (RFC 3261 section 15.1.1).
    fn end(&mut self, now: Now, random: &mut Random) -> Vec<Act> {
        let branch = format!("z9hG4bK{}", random.token(16));
        let (host, port) = (Host::from(self.own.ip()), Some(self.own.port()));
        let via = ViaOut { transport: "UDP", host, port, branch: &branch, rport: true };
        let mut data = Vec::with_capacity(512);
        let mut writer = Writer::request(&mut data, Method::Bye, &self.target);
        writer.header(Name::Via, via).header(Name::MaxForwards, 70);
        for route in &self.routes {
            writer.header(Name::Route, Address { display: "", uri: route, tag: None });
        }
        writer.header(Name::From, Address { display: "", uri: &self.called, tag: Some(&self.tag) });
        writer.header(Name::To, Address { display: "", uri: &self.caller, tag: Some(&self.key.1) });
        writer.text(Name::CallId, &self.key.0).header(Name::CSeq, format_args!("1 BYE"));
        if writer.finish().is_err() {
            return vec![Act::Over];
        }
        self.stage = Stage::Ending(Repeat::new(now, self.hop, data.clone()));
        vec![Act::Sip(self.hop, data)]
    }
}

/// The key that an INFO tells of: `application/dtmf-relay` with its `Signal=`, or `application/dtmf` with nothing else.
fn pressed(info: &Message<'_>) -> Option<char> {
    let kind = info.header(Name::ContentType)?.split(';').next()?.trim().to_ascii_lowercase();
    let body = std::str::from_utf8(info.body()).ok()?;
    let key = match kind.as_str() {
        "application/dtmf-relay" => body.lines().find_map(|line| {
            let (name, value) = line.split_once('=')?;
            name.trim().eq_ignore_ascii_case("signal").then(|| value.trim())
        })?,
        "application/dtmf" => body.trim(),
        _ => return None,
    };
    // Some write the event's number.
    match key {
        "10" => Some('*'),
        "11" => Some('#'),
        _ => key.chars().next().filter(|_| key.len() == 1).map(|key| key.to_ascii_uppercase()),
    }
}
