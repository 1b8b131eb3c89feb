//! What `sip_parse` and its comparison with other crates share: the message, the clock, the counting allocator.
#![allow(unsafe_code)] // `GlobalAlloc` is an unsafe trait; both calls are passed on as they come.

use sip_codec::{CSeq, Message, Name};
use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// An INVITE as a carrier sends it: 20 headers and SDP.
pub const INVITE: &[u8] = b"INVITE sip:+15551234567@gw.example.com:5060;user=phone SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK-524287-1---8f2c9a1be5b2c9a1;rport\r\n\
    Via: SIP/2.0/UDP 10.1.2.3:5080;branch=z9hG4bKx9vQ2;received=203.0.113.7;rport=5080\r\n\
    Record-Route: <sip:192.0.2.10;lr;ftag=as58f4201b>\r\n\
    Max-Forwards: 69\r\n\
    From: \"Alice Example\" <sip:+15557654321@carrier.example.net;user=phone>;tag=as58f4201b\r\n\
    To: <sip:+15551234567@gw.example.com;user=phone>\r\n\
    Call-ID: 1f6e2b7c4d0a9e8833aa22bb11cc00dd@10.1.2.3:5080\r\n\
    CSeq: 102 INVITE\r\n\
    Contact: <sip:+15557654321@10.1.2.3:5080;transport=udp>\r\n\
    Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, SUBSCRIBE, NOTIFY, INFO, PUBLISH, MESSAGE, UPDATE, PRACK\r\n\
    Supported: 100rel, timer, replaces, path, outbound, gruu\r\n\
    Session-Expires: 1800;refresher=uac\r\n\
    Min-SE: 90\r\n\
    User-Agent: Carrier SBC 7.4.1 build 20260103\r\n\
    P-Asserted-Identity: \"Alice Example\" <sip:+15557654321@carrier.example.net;user=phone>\r\n\
    Privacy: none\r\n\
    Date: Sun, 22 Nov 2026 09:45:00 GMT\r\n\
    Accept: application/sdp, application/dtmf-relay\r\n\
    Content-Type: application/sdp\r\n\
    Content-Length: 297\r\n\
    \r\n\
    v=0\r\n\
    o=root 1821367381 1821367381 IN IP4 203.0.113.7\r\n\
    s=call\r\n\
    c=IN IP4 203.0.113.7\r\n\
    t=0 0\r\n\
    m=audio 17416 RTP/AVP 8 0 9 111 101\r\n\
    a=rtpmap:8 PCMA/8000\r\n\
    a=rtpmap:0 PCMU/8000\r\n\
    a=rtpmap:9 G722/8000\r\n\
    a=rtpmap:111 opus/48000/2\r\n\
    a=rtpmap:101 telephone-event/8000\r\n\
    a=fmtp:101 0-16\r\n\
    a=ptime:20\r\n\
    a=sendrecv\r\n";

/// The values that a B2BUA reads of an INVITE, typed.
pub fn codec_reads(message: &Message<'_>) {
    black_box(message.uri()).ok();
    let via = message.via().unwrap();
    black_box((via.branch(), via.host, via.port, via.rport()));
    for name in [Name::From, Name::To, Name::Contact, Name::RecordRoute] {
        let addr = message.address(name).unwrap();
        black_box((addr.tag(), addr.uri())).1.ok();
    }
    let cseq: CSeq<'_> = message.cseq().unwrap();
    black_box((cseq.number, message.call_id(), message.max_forwards(), message.body())).1.ok();
}

/// Counts allocations.
pub struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }
}

/// The allocations that a piece of work makes.
pub fn counted(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    work();
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

/// One thing that is timed.
pub struct Line<'a> {
    /// What it is.
    pub name: &'static str,
    /// The best time so far of one run, in nanoseconds.
    pub ns: f64,
    work: Box<dyn FnMut(u32) + 'a>,
}

impl<'a> Line<'a> {
    /// Something to time.
    pub fn new(name: &'static str, mut work: impl FnMut() + 'a) -> Self {
        let work = Box::new(move |times| {
            for _ in 0..times {
                work();
            }
        });
        Self { name, ns: f64::INFINITY, work }
    }

    /// Runs it so many times.
    pub fn run(&mut self, times: u32) {
        (self.work)(times);
    }

    /// Prints what it took.
    pub fn print(&self, allocations: u64) {
        println!("{:<48} {:>8.0} ns {:>6.1} allocations", self.name, self.ns, allocations as f64 / 1000.0);
    }
}

/// Times every line in turn, several rounds, and keeps the best of each.
pub fn time_all(lines: &mut [Line<'_>]) {
    // Short enough to fall between two interruptions.
    const TIMES: u32 = 300;
    for round in 0..400 {
        for line in &mut *lines {
            let start = Instant::now();
            line.run(TIMES);
            let ns = start.elapsed().as_nanos() as f64 / f64::from(TIMES);
            // The first round warms caches and branch predictors.
            line.ns = if round == 0 { line.ns } else { line.ns.min(ns) };
        }
    }
}
