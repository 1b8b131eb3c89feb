//! What the gateway sends, judged in the order in which it leaves, before the network loses or reorders anything.

use crate::message::Read;
use crate::net::{Net, gateway_sip, ms};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Instant;

/// Call-ID and the gateway's tag.
type Dialog = (String, String);

#[derive(Debug, Default)]
struct Requests {
    /// The highest CSeq, with its branch and method.
    newest: u32,
    bye: bool,
}

#[derive(Debug, Default)]
struct Answers {
    /// The final response, by To tag as sent.
    last: Vec<u8>,
    code: u16,
    sent: u32,
    /// When its ACK came in.
    acknowledged: Option<Instant>,
}

/// Listens on the gateway's line.
#[derive(Debug, Default)]
pub struct Wiretap {
    /// Mail between shards was lost: an ACK may have been in it.
    pub shed: bool,
    requests: BTreeMap<Dialog, Requests>,
    /// Bytes by branch and method.
    sent: BTreeMap<(String, String), Vec<u8>>,
    answers: BTreeMap<String, Answers>,
    /// Which transaction an ACK of a 2xx means.
    invites: BTreeMap<(String, u32, String), String>,
    packets: BTreeSet<(SocketAddr, SocketAddr, u32, u32, u16)>,
    last: BTreeMap<(SocketAddr, SocketAddr, u32), (u16, u32)>,
}

impl Wiretap {
    /// Something leaves the gateway.
    pub fn see(&mut self, net: &Net, from: SocketAddr, to: SocketAddr, data: &[u8]) {
        if crate::scenario::is_vandal(to) {
            return;
        }
        if from == gateway_sip() {
            let Some(read) = Read::parse(data) else {
                net.fault(&format!(
                    "the gateway sends what can't be read: {}",
                    String::from_utf8_lossy(data)
                ));
            };
            if read.is_request() { self.request(net, &read) } else { self.response(net, &read) }
        } else if matches!(data.first(), Some(128..=191)) && !crate::media::is_rtcp(data) {
            self.packet(net, from, to, data);
        }
    }

    /// No RTP index is used twice.
    fn packet(&mut self, net: &Net, from: SocketAddr, to: SocketAddr, data: &[u8]) {
        let Some(arrived) = crate::media::read(data) else {
            net.fault("the gateway sends what is not RTP");
        };
        let (ssrc, sequence) = (arrived.ssrc, arrived.sequence);
        let last = self.last.entry((from, to, ssrc)).or_insert((sequence, 0));
        let ahead = sequence.wrapping_sub(last.0) as i16;
        let edge = ahead > 0 && sequence < last.0;
        // Behind the edge still belongs to the turn before.
        let turn = match (edge, ahead < 0 && sequence > last.0) {
            (true, _) => last.1 + 1,
            (_, true) => last.1.wrapping_sub(1),
            _ => last.1,
        };
        if ahead > 0 {
            *last = (sequence, turn);
        }
        net.check(self.packets.insert((from, to, ssrc, turn, sequence)), || {
            format!("packet {sequence} of SSRC {ssrc} leaves twice for {to}")
        });
    }

    fn request(&mut self, net: &Net, read: &Read) {
        let key = (read.branch.clone(), read.method.clone());
        if let Some(before) = self.sent.get(&key) {
            return net.check(*before == read.raw, || format!("a retransmitted {} differs", read.method));
        }
        self.sent.insert(key, read.raw.clone());
        net.check(read.branch.starts_with("z9hG4bK"), || format!("branch {}", read.branch));
        net.check(read.call_id.len() > 4 && !read.from_tag.is_empty(), || "no tag, no Call-ID".to_owned());
        let dialog = (read.call_id.clone(), format!("{} {}", read.from_tag, read.to_tag));
        let requests = self.requests.entry(dialog).or_default();
        match read.method.as_str() {
            "CANCEL" => {
                let invite = (read.branch.clone(), "INVITE".to_owned());
                let found = self.sent.get(&invite).and_then(|bytes| Read::parse(bytes));
                let Some(invite) = found else { net.fault("CANCEL of no INVITE") };
                let same = invite.cseq == read.cseq && invite.uri == read.uri && invite.from == read.from;
                net.check(same && invite.to == read.to, || "CANCEL is not as its INVITE".to_owned());
            }
            "ACK" => {}
            method => {
                net.check(!requests.bye || method == "BYE", || format!("{method} after BYE"));
                net.check(read.cseq > requests.newest, || {
                    format!("{method} with CSeq {} after {}", read.cseq, requests.newest)
                });
                requests.newest = read.cseq;
                requests.bye |= method == "BYE";
            }
        }
    }

    fn response(&mut self, net: &Net, read: &Read) {
        let key = read.transaction();
        let answers = self.answers.entry(key.clone()).or_default();
        if answers.code >= 200 {
            net.check(read.code >= 200, || format!("{} after {}", read.code, answers.code));
            net.check(answers.last == read.raw, || {
                format!("two final answers to {key}: {} and {}", answers.code, read.code)
            });
            let late = answers.acknowledged.is_some_and(|at| net.now.instant > at + ms(250));
            let again = read.method == "INVITE" && late && !self.shed;
            net.check(!again, || format!("{} goes on after its ACK", read.code));
        }
        answers.sent += 1;
        if read.code >= 200 {
            (answers.code, answers.last) = (read.code, read.raw.clone());
            if read.method == "INVITE" {
                self.invites.insert((read.call_id.clone(), read.cseq, read.to_tag.clone()), key);
            }
        }
    }

    /// Something reaches the gateway.
    pub fn hear(&mut self, net: &Net, data: &[u8]) {
        let Some(read) = Read::parse(data).filter(|read| read.method == "ACK" && read.is_request()) else {
            return;
        };
        let by_dialog = self.invites.get(&(read.call_id.clone(), read.cseq, read.to_tag.clone()));
        let key = by_dialog.cloned().unwrap_or_else(|| read.transaction());
        if let Some(answers) = self.answers.get_mut(&key) {
            answers.acknowledged.get_or_insert(net.now.instant);
        }
    }
}
