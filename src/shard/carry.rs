//! The loop carries out what the machines asked for, and seats the sockets that they ask with.

use super::config::Config;
use super::core::{Output, Places, SipPlace, WebPlace};
use super::run::Loop;
use crate::base::{Now, RealmId, SocketId};
use crate::call::Record;
use crate::net::{Poll, Sockets, Udp, UdpOptions};
use std::io;
use std::net::SocketAddr;

/// Sockets opened in one pass, at some 15 µs each.
const BINDS: usize = 32;

/// Hears a socket: one that carries many calls by edges, to be drained in batches; one of a single call by level.
fn seat_socket(poll: &Poll, sockets: &mut Sockets, socket: Udp, wide: bool) -> io::Result<SocketId> {
    let id = sockets.insert(socket).map_err(|_| io::ErrorKind::OutOfMemory)?;
    let add = if wide { Poll::add_socket } else { Poll::add_level };
    match sockets.get(id).map(|socket| add(poll, id, socket)) {
        Some(Err(error)) => {
            sockets.remove(id);
            Err(error)
        }
        _ => Ok(id),
    }
}

/// Takes in the sockets that a shard is born with.
pub(super) fn seat_sockets(
    config: &Config,
    poll: &Poll,
    sockets: &mut Sockets,
    web: Vec<Udp>,
    sip: Vec<Udp>,
    secure: &[Option<SocketAddr>],
) -> io::Result<Places> {
    let mut places = Places::default();
    for (n, socket) in web.into_iter().enumerate() {
        let local = socket.address();
        let mut advertised = local;
        if let (0, Some(ip)) = (n, config.web_media.advertised) {
            advertised.set_ip(ip);
        }
        let socket = seat_socket(poll, sockets, socket, true)?;
        places.web.push(WebPlace { socket, local, advertised });
    }
    for (n, socket) in sip.into_iter().enumerate() {
        let told = config.realms.get(n).and_then(|realm| realm.sip_advertised);
        let advertised = told.unwrap_or(socket.address());
        let told = config.realms.get(n).and_then(|realm| realm.sip_tls_advertised);
        let secure = secure.get(n).copied().flatten().map(|bound| told.unwrap_or(bound));
        let socket = seat_socket(poll, sockets, socket, true)?;
        places.sip.push(SipPlace { socket, realm: RealmId(n as u8), advertised, secure });
    }
    Ok(places)
}

impl Loop {
    /// Carries out what the machines asked for; false where they asked for nothing.
    pub(super) fn outputs(&mut self, now: Now) -> bool {
        if !self.core.has_output() && self.binds.is_empty() {
            return false;
        }
        self.carry_out(now);
        for _ in 0..BINDS {
            let Some((realm, port, shared)) = self.binds.pop_front() else { break };
            let socket = self.bind(realm, port, shared);
            self.counters.bind_failed += u64::from(socket.is_none());
            self.core.bound(now, realm, port, socket);
        }
        self.carry_out(now);
        self.sockets.send(&mut self.own);
        self.mailboxes.wake();
        true
    }

    pub(super) fn carry_out(&mut self, now: Now) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Send { socket, to, data } => self.send(now, socket, to, &data),
                Output::Bind { realm, port, shared } => self.binds.push_back((realm, port, shared)),
                Output::Unbind { socket } => {
                    // A leg's last report may still wait to be sent by it.
                    self.sockets.send(&mut self.own);
                    self.sockets.remove(socket);
                    self.wide.retain(|wide| *wide != socket);
                }
                Output::Write { flow } => self.write_stream(now, flow),
                Output::Connect { flow, name, trunk } => self.connect(now, flow, name.as_deref(), trunk),
                Output::Close { flow } => self.close_stream(flow),
                Output::Record(record) => self.record(record),
                Output::Dns(output) => self.query(now, output),
                Output::Note(note) => drop(self.notes.as_ref().map(|notes| notes.try_send(note))),
                Output::Mail { to, mail } => {
                    if let Err(mail) = self.mailboxes.send(to, mail) {
                        self.core.shed(now, to, mail);
                    }
                }
            }
        }
    }

    pub(super) fn send(&mut self, now: Now, socket: SocketId, to: SocketAddr, data: &[u8]) {
        // SIP is rare, may be longer than a slot, and its stack wants to know of a far side that can't be reached.
        if self.sip.contains(&socket) {
            if !self.sockets.send_one(socket, to, data) {
                self.core.unsendable(now, socket, to);
            }
            return;
        }
        if self.own.room() == 0 {
            self.sockets.send(&mut self.own);
        }
        if !self.own.push(socket, to, data, true) {
            self.sockets.send_one(socket, to, data);
        }
    }

    pub(super) fn record(&mut self, record: Box<Record>) {
        let taken = self.records.as_ref().is_none_or(|records| records.try_send(record).is_ok());
        self.counters.records_shed += u64::from(!taken);
    }

    pub(super) fn bind(&mut self, realm: RealmId, port: u16, shared: bool) -> Option<SocketId> {
        let realm = self.config.realms.get(usize::from(realm.0))?;
        let options = UdpOptions {
            device: realm.device.clone(),
            dscp: realm.media_dscp,
            gather: shared,
            whole: true,
            ..UdpOptions::new(SocketAddr::new(realm.media, port))
        };
        let buffer = if shared { self.config.web_media.buffer } else { 0 };
        let options = UdpOptions { receive_buffer: buffer, send_buffer: buffer, ..options };
        let socket = Udp::open(&options).ok()?;
        let id = seat_socket(&self.poll, &mut self.sockets, socket, shared).ok()?;
        if shared {
            self.wide.push(id);
        }
        Some(id)
    }
}
