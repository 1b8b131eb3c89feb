//! Starting, running and ending the whole.

use super::admin::{self, Desk};
use super::certificate::{Source, Tls, watch};
use super::log::{self, note, say, warn};
use super::notes::write_notes;
use super::signals::{News, listen};
use super::trial::Trial;
use super::{ask, check};
use crate::base::{Random, redact, seed_maps};
use crate::call::Record;
use crate::cdr;
use crate::config::{ADMIN, Args, Command, Error, File, Question, explain, plan, print};
use crate::net::{Certificate, Listener, Tickets};
use crate::shard::{self, Bound, Control, Order};
use crate::sip::Note;
use crate::{net, webrtc};
use aws_lc_rs::rand::fill;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

/// Call records that may wait to be written.
const RECORDS: usize = 4096;

/// Why the process ends with an error, and with which exit code.
#[derive(Debug)]
pub struct Failure {
    /// 2: told wrong (command line, configuration); 1: everything else.
    pub code: u8,
    /// One line.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure { code: 2, what: error.to_string() }
    }
}

impl Failure {
    /// Something that the machine refused.
    pub(super) fn new(what: impl fmt::Display) -> Failure {
        Failure { code: 1, what: what.to_string() }
    }
}

/// Does what the command line says; returns when all is over.
pub fn run(args: &Args) -> Result<(), Failure> {
    redact::show_personal_data(args.log_personal);
    let cores = args.cores.as_ref().map(|cores| cores.0.clone()).unwrap_or_default();
    check_cores(&cores)?;
    let mut random = system_random()?;
    seed_maps(random.u64());
    let mut file = args.file()?;
    log::set(file.log);
    if args.print_config {
        say(format_args!("{}", print(&file).trim_end()));
        return Ok(());
    }
    let admin = file.admin.listen.unwrap_or(ADMIN);
    match &args.command {
        Some(Command::Check) => {
            if let Some(source) = Source::of(&file) {
                let tickets = Tickets::new().map_err(Failure::new)?;
                source.load(&tickets).map_err(|what| Failure { code: 2, what })?;
            }
            if let Some(tls) = Tls::of(&file) {
                let tickets = Tickets::new().map_err(Failure::new)?;
                tls.load(&tickets).map_err(|what| Failure { code: 2, what })?;
            }
            check::check(&file, &cores, random);
            Ok(())
        }
        Some(Command::Route { from, to, caller, header }) => {
            let question = Question { from, to, caller, headers: header, unix: shard::clock().unix };
            say(format_args!("{}", explain(&file, question)?.trim_end()));
            Ok(())
        }
        Some(Command::Calls { json }) => ask::calls(admin, *json),
        Some(Command::Trace { call, json }) => ask::trace(admin, call, *json),
        Some(Command::Demo { https }) => {
            let shards = cores.len().max(1) as u16;
            let trial = Trial::prepare(args, *https, &mut file, shards, &mut random)?;
            let extra = Extra { demo: Some(trial.page.clone()), certificate: trial.certificate() };
            let node = Node::start(&file, &cores, extra, &mut random)?;
            node.announce();
            trial.announce(node.bound().http, &file.media.web_listen);
            node.wait()
        }
        Some(Command::Run) | None => {
            let node = Node::start(&file, &cores, Extra::default(), &mut random)?;
            node.announce();
            node.wait()
        }
    }
}

fn system_random() -> Result<Random, Failure> {
    let mut seed = [0; 32];
    fill(&mut seed).map_err(|_| Failure::new("the system gives no randomness"))?;
    Ok(Random::new(seed))
}

fn check_cores(cores: &[u16]) -> Result<(), Failure> {
    let online = net::online_cores().map_err(Failure::new)?;
    for &core in cores {
        if !online.contains(&usize::from(core)) {
            let last = online.last().copied().unwrap_or(0);
            let what = format!("--cores: this process may not use core {core}; it has 0-{last}");
            return Err(Failure { code: 2, what });
        }
    }
    Ok(())
}

/// What a gateway has beside its configuration.
#[derive(Debug, Default)]
pub struct Extra {
    /// What the softphone page is told of the demo.
    pub demo: Option<String>,
    /// A certificate that comes from no file.
    pub certificate: Option<Certificate>,
}

/// A running gateway.
#[derive(Debug)]
pub struct Node {
    controls: Vec<Control>,
    bound: Bound,
    https: bool,
    admin: Option<SocketAddr>,
    draining: Arc<AtomicBool>,
    news: Receiver<News>,
}

impl Node {
    /// Binds everything, then starts a thread for each core, pinned to it (one, not pinned, where none is named).
    pub fn start(file: &File, cores: &[u16], extra: Extra, random: &mut Random) -> Result<Node, Failure> {
        let shards = cores.len().max(1) as u8;
        let identity = webrtc::Identity::create(shard::clock())
            .map_err(|_| Failure::new("no DTLS certificate could be made"))?;
        let mut config = plan(file, shards, identity);
        config.http.demo = extra.demo;
        let source = Source::of(file);
        let tickets = Tickets::new().map_err(Failure::new)?;
        config.http.certificate = match &source {
            Some(source) => Some(source.load(&tickets).map_err(|what| Failure { code: 2, what })?),
            None => extra.certificate,
        };
        let tls = Tls::of(file);
        if let Some(tls) = &tls {
            config.sip_tls = tls.load(&tickets).map_err(|what| Failure { code: 2, what })?;
        }
        let https = config.http.certificate.is_some();
        let opened = shard::open(&Arc::new(config), shards).map_err(Failure::new)?;
        let admin = file.admin.listen.map(admin::bind).transpose()?;
        let (sender, news) = channel();
        listen(sender.clone()).map_err(Failure::new)?;
        let trunks: Vec<String> = file.trunk.iter().map(|trunk| trunk.name.get_ref().clone()).collect();
        let records = write_records(trunks.clone())?;
        let notes = write_notes(trunks.clone()).map_err(Failure::new)?;
        for seat in opened.seats {
            let core = cores.get(usize::from(seat.shard().0)).copied();
            spawn(seat, core, random.fork(), (records.clone(), notes.clone()), sender.clone())?;
        }
        if let Some(source) = source {
            let (paths, tickets) = (source.paths(), tickets.clone());
            let read = move || source.load(&tickets);
            watch("certificate", paths, read, Order::Certificate, opened.controls.clone())?;
        }
        if let Some(tls) = tls {
            let paths = tls.paths();
            let read = move || tls.load(&tickets);
            watch(
                "sip certificate",
                paths,
                read,
                |tls| Order::SipTls(Box::new(tls)),
                opened.controls.clone(),
            )?;
        }
        let draining = Arc::new(AtomicBool::new(false));
        let address = admin.as_ref().map(Listener::address);
        if let Some(listener) = admin {
            let (controls, draining) = (opened.controls.clone(), Arc::clone(&draining));
            admin::serve(listener, Desk { controls, trunks, started: shard::clock().unix, draining })?;
        }
        Ok(Node { controls: opened.controls, bound: opened.bound, https, admin: address, draining, news })
    }

    /// Where it listens.
    pub fn bound(&self) -> &Bound {
        &self.bound
    }

    /// Prints where it listens, then `ready`.
    pub fn announce(&self) {
        if let Some(http) = self.bound.http {
            say(format_args!("listening {} {http}", if self.https { "https" } else { "http" }));
        }
        for sip in &self.bound.sip {
            say(format_args!("listening sip {sip}"));
        }
        for sip in self.bound.sip_tls.iter().flatten() {
            say(format_args!("listening sips {sip}"));
        }
        for (shard, sockets) in self.bound.web.iter().enumerate() {
            for socket in sockets {
                say(format_args!("listening media {socket} shard {shard}"));
            }
        }
        if let Some(admin) = self.admin {
            say(format_args!("listening admin {admin}"));
        }
        say(format_args!("ready"));
    }

    /// Waits for the end: SIGTERM drains, a second signal ends at once, a shard that fails takes the node with it.
    pub fn wait(self) -> Result<(), Failure> {
        let mut running = self.controls.len();
        let mut signals = 0;
        let mut failed = None;
        while running > 0 {
            let Ok(news) = self.news.recv() else { break };
            match news {
                News::Signal => {
                    signals += 1;
                    self.draining.store(true, Ordering::Relaxed);
                    let draining = signals == 1;
                    note(format_args!("signal: {}", if draining { "draining" } else { "ending now" }));
                    self.order(if draining { || Order::Drain } else { || Order::Stop });
                }
                News::Ended { shard, error } => {
                    running -= 1;
                    if let Some(error) = error {
                        log::error(format_args!("shard {shard} failed: {error}"));
                        failed.get_or_insert(Failure::new(format_args!("shard {shard}: {error}")));
                        self.order(|| Order::Stop);
                    }
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn order(&self, order: fn() -> Order) {
        for control in &self.controls {
            control.send(order());
        }
    }
}

/// Reports a shard's end even where it panics.
struct Farewell {
    shard: u8,
    news: Sender<News>,
    error: Option<String>,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        let _ = self.news.send(News::Ended { shard: self.shard, error: self.error.take() });
    }
}

fn spawn(
    seat: shard::Seat,
    core: Option<u16>,
    random: Random,
    (records, notes): (SyncSender<Box<Record>>, SyncSender<Note>),
    news: Sender<News>,
) -> Result<(), Failure> {
    let shard = seat.shard().0;
    let work = move || {
        let mut farewell = Farewell { shard, news, error: Some("it panicked".to_owned()) };
        if let Some(Err(error)) = core.map(|core| net::pin(usize::from(core))) {
            warn(format_args!("shard {shard} is not pinned: {error}"));
        }
        let ended = shard::Loop::new(seat, random)
            .and_then(|shard| shard.with_records(records).with_notes(notes).run());
        farewell.error = ended.err().map(|error| error.to_string());
    };
    thread::Builder::new().name(format!("shard{shard}")).spawn(work).map(drop).map_err(Failure::new)
}

/// The thread that writes call records, off the shards' cores.
fn write_records(trunks: Vec<String>) -> Result<SyncSender<Box<Record>>, Failure> {
    let (sender, receiver) = sync_channel::<Box<Record>>(RECORDS);
    let writer = cdr::Writer { format: log::format(), trunks };
    let write = move || {
        while let Ok(record) = receiver.recv() {
            log::record(&writer.line(&record));
        }
    };
    thread::Builder::new().name("records".into()).spawn(write).map_err(Failure::new)?;
    Ok(sender)
}
