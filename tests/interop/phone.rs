//! The mouth and ear of a SIP peer: an RTP socket that plays one PCMU tone and listens for another.
//!
//! SIPp does the signalling and names this socket in its SDP, so that what arrives there can be heard by the test.

use super::scene::{free_port, until};
use super::tone::{self, Heard, RATE};
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const FRAME: usize = 160;
/// Keys by their event.
const KEYS: &str = "0123456789*#ABCD";
/// The payload type of keys.
const KEY: u8 = 101;
const PTIME: Duration = Duration::from_millis(20);
/// Half a second: enough for 2 % at 200 Hz.
const WINDOW: usize = RATE as usize / 2;

/// An RTP endpoint. Dropping it stops it.
pub struct Phone {
    /// Its port on 127.0.0.1.
    pub port: u16,
    state: Arc<State>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    stop: AtomicBool,
    /// Where to play to.
    far: Mutex<Option<SocketAddr>>,
    heard: Mutex<Ear>,
    /// Keys to be pressed.
    keys: Mutex<VecDeque<u8>>,
    /// Of a hundred packets of keys, so many are lost, both ways.
    loss: AtomicU32,
}

#[derive(Default)]
struct Ear {
    samples: Vec<f32>,
    packets: u64,
    last_at: Option<Instant>,
    /// The longest time between two packets.
    gap: Duration,
    ssrc: Option<u32>,
    ssrcs: usize,
    lost: u64,
    sequence: Option<u16>,
    from: Option<SocketAddr>,
    keys: String,
    key_at: Option<u32>,
    /// How long each was pressed at the most, in milliseconds.
    key_ms: Vec<u32>,
}

impl Phone {
    /// Opens it; it plays `hz` as soon as it knows where to.
    pub fn new(hz: f32) -> Phone {
        let port = free_port();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let state = Arc::new(State::default());
        let (ear, mouth) = (state.clone(), state.clone());
        let out = socket.try_clone().unwrap();
        let threads = vec![
            std::thread::spawn(move || listen(&socket, &ear)),
            std::thread::spawn(move || play(&out, &mouth, hz)),
        ];
        Phone { port, state, threads }
    }

    /// Plays to the address that the far side's SDP named.
    pub fn call(&self, far: SocketAddr) {
        *self.state.far.lock().unwrap() = Some(far);
    }

    /// Loses so many of a hundred packets of keys, both ways.
    pub fn lose(&self, percent: u32) {
        self.state.loss.store(percent, Ordering::Relaxed);
    }

    /// Presses keys, 100 ms each (RFC 4733).
    pub fn press(&self, keys: &str) {
        let events = keys.chars().map(|key| KEYS.find(key).expect("a key") as u8);
        self.state.keys.lock().unwrap().extend(events);
    }

    /// The keys that it has heard.
    pub fn keys(&self) -> String {
        self.state.heard.lock().unwrap().keys.clone()
    }

    /// How long each of them was pressed, in milliseconds.
    pub fn key_ms(&self) -> Vec<u32> {
        self.state.heard.lock().unwrap().key_ms.clone()
    }

    /// Waits until it has heard these keys, all and no others.
    #[track_caller]
    pub fn assert_keys(&self, keys: &str) {
        until(&format!("keys {keys} at the phone, after {}", self.keys()), || {
            (self.keys().len() >= keys.len()).then_some(())
        });
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(self.keys(), keys);
    }

    /// What it hears: waits until it is `hz`, and panics with what it was instead.
    #[track_caller]
    pub fn assert_hears(&self, who: &str, hz: f32) {
        tone::await_tone(who, hz, || self.hear());
    }

    /// The last half second, once there is as much.
    pub fn hear(&self) -> Option<Heard> {
        let ear = self.state.heard.lock().unwrap();
        (ear.samples.len() >= WINDOW).then(|| tone::hear(&ear.samples[ear.samples.len() - WINDOW..], RATE))
    }

    /// Stops playing, as a phone does whose network is gone.
    pub fn fall_silent(&self) {
        *self.state.far.lock().unwrap() = None;
    }

    /// The longest time between two packets since this was last asked.
    pub fn longest_gap(&self) -> Duration {
        let mut ear = self.state.heard.lock().unwrap();
        let open = ear.last_at.map_or(Duration::ZERO, |at| at.elapsed());
        std::mem::take(&mut ear.gap).max(open)
    }

    /// RTP packets so far.
    pub fn packets(&self) -> u64 {
        self.state.heard.lock().unwrap().packets
    }

    /// Gaps in the sequence numbers, and sources, so far.
    pub fn losses_and_sources(&self) -> (u64, usize) {
        let ear = self.state.heard.lock().unwrap();
        (ear.lost, ear.ssrcs)
    }

    /// Where its RTP comes from.
    pub fn heard_from(&self) -> Option<SocketAddr> {
        self.state.heard.lock().unwrap().from
    }

    /// Waits until it has had so many packets.
    pub fn await_packets(&self, count: u64) {
        until("packets at the phone", || (self.packets() >= count).then_some(()));
    }

    /// Waits until packets bring no sound.
    pub fn await_quiet(&self) {
        until("quiet at the phone", || self.hear().filter(|heard| heard.db < -55.0));
    }

    /// Waits until nothing has come for a while.
    pub fn await_silence(&self) {
        until("silence at the phone", || {
            let last = self.state.heard.lock().unwrap().last_at;
            last.is_none_or(|at| at.elapsed() > Duration::from_millis(300)).then_some(())
        });
    }
}

impl Drop for Phone {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn listen(socket: &UdpSocket, state: &State) {
    let mut packet = [0; 2_048];
    let mut luck = Luck(1);
    while !state.stop.load(Ordering::Relaxed) {
        let Ok((size, from)) = socket.recv_from(&mut packet) else { continue };
        let packet = &packet[..size];
        if size >= 16 && packet[0] >> 6 == 2 && packet[1] & 0x7f == KEY && !luck.loses(state) {
            state.heard.lock().unwrap().note_key(packet);
        }
        // PCMU without CSRCs: all that this phone was offered to hear.
        if size > 12 && packet[0] >> 6 == 2 && matches!(packet[1], 0 | 0x80) {
            let mut ear = state.heard.lock().unwrap();
            ear.note(packet, from);
            ear.samples.extend(packet[12..].iter().map(|octet| tone::from_ulaw(*octet)));
        }
    }
}

/// The same losses in each run.
struct Luck(u32);

impl Luck {
    fn loses(&mut self, state: &State) -> bool {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) % 100 < state.loss.load(Ordering::Relaxed)
    }
}

/// A key under way: its event, its timestamp, and how many reports of it went out.
struct Press {
    event: u8,
    timestamp: u32,
    reports: u16,
}

impl Press {
    /// Five reports, the last one three times, then a pause.
    fn report(&mut self) -> Option<(bool, [u8; 4])> {
        self.reports += 1;
        let end = self.reports > 5;
        let [high, low] = (self.reports.min(5) * FRAME as u16).to_be_bytes();
        (self.reports <= 8).then_some((self.reports == 1, [self.event, u8::from(end) << 7 | 0x0a, high, low]))
    }
}

impl Ear {
    fn note_key(&mut self, packet: &[u8]) {
        let timestamp = u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]);
        if self.key_at.replace(timestamp) != Some(timestamp) {
            self.keys.push(KEYS.chars().nth(usize::from(packet[12])).unwrap_or('?'));
            self.key_ms.push(0);
        }
        let units = u32::from(u16::from_be_bytes([packet[14], packet[15]]));
        if let Some(ms) = self.key_ms.last_mut() {
            *ms = units / (RATE / 1_000);
        }
    }

    fn note(&mut self, packet: &[u8], from: SocketAddr) {
        let sequence = u16::from_be_bytes([packet[2], packet[3]]);
        let ssrc = u32::from_be_bytes([packet[8], packet[9], packet[10], packet[11]]);
        if self.ssrc.replace(ssrc) != Some(ssrc) {
            self.ssrcs += 1;
            self.sequence = None;
        }
        if let Some(last) = self.sequence.replace(sequence) {
            self.lost += u64::from(sequence.wrapping_sub(last).saturating_sub(1).min(1_000));
        }
        self.packets += 1;
        self.from = Some(from);
        let now = Instant::now();
        if let Some(last) = self.last_at.replace(now) {
            self.gap = self.gap.max(now - last);
        }
    }
}

/// Sends a packet every 20 ms on an absolute schedule, so that a late one doesn't delay those after it.
fn play(socket: &UdpSocket, state: &State, hz: f32) {
    // A whole second of a whole frequency repeats without a click.
    let sound: Vec<u8> = tone::sine(hz, 1.0, RATE).into_iter().map(tone::to_ulaw).collect();
    let start = Instant::now();
    let ssrc = (hz as u32).wrapping_mul(0x9e37_79b9);
    let (mut press, mut luck) = (None::<Press>, Luck(2));
    for n in 0_u32.. {
        std::thread::sleep((PTIME * n).saturating_sub(start.elapsed()));
        if state.stop.load(Ordering::Relaxed) {
            return;
        }
        let Some(far) = *state.far.lock().unwrap() else { continue };
        let timestamp = n.wrapping_mul(FRAME as u32);
        let head = |kind: u8, timestamp: u32| {
            let mut packet = vec![0x80, kind];
            packet.extend_from_slice(&(n as u16).to_be_bytes());
            packet.extend_from_slice(&timestamp.to_be_bytes());
            packet.extend_from_slice(&ssrc.to_be_bytes());
            packet
        };
        if let Some(key) = &mut press {
            if let Some((marker, report)) = key.report() {
                let mut packet = head(KEY | u8::from(marker) << 7, key.timestamp);
                packet.extend_from_slice(&report);
                if !luck.loses(state) {
                    let _ = socket.send_to(&packet, far);
                }
                continue;
            }
            press = None;
        } else if let Some(event) = state.keys.lock().unwrap().pop_front() {
            press = Some(Press { event, timestamp, reports: 0 });
        }
        let mut packet = head(0, timestamp);
        let at = n as usize % (RATE as usize / FRAME) * FRAME;
        packet.extend_from_slice(&sound[at..at + FRAME]);
        let _ = socket.send_to(&packet, far);
    }
}

#[test]
fn two_phones_hear_each_other() {
    let (one, other) = (Phone::new(600.0), Phone::new(900.0));
    one.call(SocketAddr::from((Ipv4Addr::LOCALHOST, other.port)));
    other.call(SocketAddr::from((Ipv4Addr::LOCALHOST, one.port)));
    one.assert_hears("one", 900.0);
    other.assert_hears("other", 600.0);
    assert_eq!(one.losses_and_sources(), (0, 1));
    drop(other);
    one.await_silence();
}
