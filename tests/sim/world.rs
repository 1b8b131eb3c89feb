//! The gateway, phones and browsers together on the virtual network.

use crate::browser::Page;
use crate::gateway::Gateway;
use crate::net::{Datagram, Event, GATEWAY, Net, gateway_sip};
use crate::phone::{Phone, Registrar};
use crate::scenario::Step;
use bridgehead::base::Now;
use bridgehead::leg::{Account, TrunkId};
use bridgehead::shard::{Config, Http, Realm, WebMedia};
use bridgehead::{call, http, media, shard, signal, sip, webrtc};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The browser users; each one's password is the name twice.
pub const USERS: [&str; 3] = ["alice", "bob", "carol"];
/// The phones: a registrar with phones behind it, and a carrier.
pub const PBX: usize = 0;
pub const CARRIER: usize = 1;

/// Everything.
pub struct World {
    pub net: Net,
    pub gateway: Gateway,
    pub phones: Vec<Phone>,
    pub pages: Vec<Page>,
    pub planned: Vec<crate::scenario::Planned>,
}

/// How a world is made.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub shards: u8,
    pub faulty: bool,
    pub verbose: bool,
    pub ring_size: usize,
    pub mail_ms: u64,
    pub drain: Duration,
}

impl Plan {
    pub fn clean(seed: u64, shards: u8) -> Plan {
        Plan {
            seed,
            shards,
            faulty: false,
            verbose: std::env::var_os("BRIDGEHEAD_TRACE").is_some(),
            ring_size: 1024,
            mail_ms: 1,
            drain: Duration::from_secs(5),
        }
    }
}

/// One certificate for all seeds: making one takes a tenth of a second.
fn identity(now: Now) -> webrtc::Identity {
    static IDENTITY: OnceLock<webrtc::Identity> = OnceLock::new();
    IDENTITY.get_or_init(|| webrtc::Identity::create(now).expect("a certificate")).clone()
}

fn sip_config(phones: &[Phone]) -> sip::Config {
    let trunks = phones.iter().map(|phone| sip::Trunk {
        credentials: Some(sip::Credentials {
            user: phone.password.0.clone(),
            password: sip::Secret(phone.password.1.clone()),
        }),
        sources: vec![[10, 0, 1, 203].into()],
        ring: Duration::from_secs(20),
        ..sip::Trunk::new(phone.name, phone.sip())
    });
    let accounts = USERS.map(|user| {
        let account = Account::from(user);
        let registration = sip::Registration {
            account: account.clone(),
            trunk: TrunkId(PBX as u16),
            user: user.into(),
            auth_user: user.into(),
            password: sip::Secret(format!("{user}{user}")),
        };
        (account, registration)
    });
    sip::Config {
        trunks: trunks.collect(),
        accounts: accounts.into_iter().collect(),
        user_agent: "Bridgehead".into(),
        ..sip::Config::default()
    }
}

fn call_config(phones: &[Phone], drain: Duration) -> call::Config {
    let trunks = phones.iter().map(|phone| call::Trunk {
        name: phone.name.into(),
        codecs: call::codecs(&["pcmu"]),
        // One of the phones gets all its media from one port.
        shared_rtp_ports: phone.number % 2 == 1,
        ..call::Trunk::default()
    });
    // Numbers say by their first letter where they are.
    let route = |prefix: &str, trunk: usize| call::Route {
        called: call::Pattern::prefix(prefix),
        to: call::RouteTo::Trunk(TrunkId(trunk as u16)),
        ..call::Route::default()
    };
    let homes = USERS.iter().map(|user| (Account::from(*user), TrunkId(PBX as u16)));
    call::Config {
        routes: vec![route("p", PBX), route("x", CARRIER)],
        trunks: trunks.collect(),
        homes: homes.collect(),
        ring: Duration::from_secs(20),
        first_reply: None,
        drain,
        ..call::Config::default()
    }
}

fn config(now: Now, phones: &[Phone], plan: &Plan) -> Config {
    let mut users = signal::Config { grace: Duration::from_secs(5), ..signal::Config::default() };
    for user in USERS {
        users.add_user(user, &format!("{user}{user}"), "");
    }
    Config {
        sip_tls: bridgehead::shard::SipTls::default(),
        io_uring: false,
        realms: vec![Realm::new("default", gateway_sip())],
        web_media: WebMedia { listen: vec![GATEWAY], advertised: None, port: 10_000, buffer: 0 },
        http: Http { listen: None, ..Http::default() },
        caps: shard::Caps { mailbox: plan.ring_size, ..shard::Caps::default() },
        trace: shard::TraceCaps::default(),
        connection: Arc::new(http::Config::default()),
        sip: Arc::new(sip_config(phones)),
        signal: Arc::new(users),
        call: Arc::new(call_config(phones, plan.drain)),
        webrtc: Arc::new(webrtc::Config::new(identity(now), Vec::new())),
        media: Arc::new(media::Config {
            realms: vec![media::Realm { address: GATEWAY, ports: 16_384..=17_407, shared: true }],
            stock: 4,
            ..media::Config::default()
        }),
    }
}

impl World {
    pub fn new(plan: &Plan) -> World {
        let mut net = Net::new(plan.seed, plan.faulty, plan.verbose);
        let mut phones = vec![Phone::new(PBX, "pbx"), Phone::new(CARRIER, "carrier")];
        let users = USERS.iter().map(|user| ((*user).to_owned(), format!("{user}{user}")));
        phones[PBX].registrar = Some(Registrar { users: users.collect(), ..Registrar::default() });
        let config = Arc::new(config(net.now, &phones, plan));
        let mut gateway = Gateway::new(&mut net, &config, plan.shards);
        gateway.mail_ms = plan.mail_ms;
        World { net, gateway, phones, pages: Vec::new(), planned: Vec::new() }
    }

    /// A page of a user; it signs in at once.
    pub fn page(&mut self, user: &str) -> usize {
        let number = self.pages.len();
        self.pages.push(Page::new(number, user, &format!("{user}{user}")));
        self.net.after(Duration::from_millis(1), Event::Browser(number, crate::browser::Due::Open));
        number
    }

    /// Lets everything happen that happens within this time.
    pub fn run(&mut self, time: Duration) {
        let end = self.net.now.instant + time;
        while let Some(event) = self.net.next(end) {
            self.happen(event);
        }
    }

    fn happen(&mut self, event: Event) {
        let World { net, gateway, phones, pages, .. } = self;
        match event {
            Event::Datagram(datagram) => self.arrive(&datagram),
            Event::Connect { connection } => {
                let remote = pages[gateway.connections[connection].browser].remote();
                gateway.on_connect(net, connection, remote);
            }
            Event::Up { connection, stream } => gateway.on_up(net, connection, stream),
            Event::Down { connection, stream } => {
                let page = gateway.connections[connection].browser;
                pages[page].receive(net, gateway, connection, stream);
            }
            Event::Writable { connection } => gateway.write(net, connection),
            Event::Mail { from, to } => gateway.deliver(net, from, to),
            Event::Shard(shard) => gateway.wake(net, shard),
            Event::Phone(phone, due) => phones[phone].handle(net, due),
            Event::Browser(page, due) => pages[page].handle(net, gateway, due),
            Event::Step(step) => self.step(step),
        }
    }

    fn arrive(&mut self, datagram: &Datagram) {
        let World { net, gateway, phones, pages, .. } = self;
        let to = net.inside(datagram.to);
        if to.ip() == GATEWAY {
            return gateway.receive(net, datagram);
        }
        if let Some(phone) = phones.iter_mut().find(|phone| phone.ip == to.ip()) {
            phone.receive(net, datagram);
        } else if let Some(page) = pages.iter_mut().find(|page| page.ip == to.ip()) {
            page.datagram(net, datagram);
        }
    }

    /// Something that the scenario does.
    pub fn step(&mut self, step: Step) {
        let World { net, gateway, phones, pages, .. } = self;
        match step {
            Step::PhoneDials { phone, script, to } => {
                let uri = format!("sip:{to}@{}", gateway_sip());
                phones[phone].dial(net, script, &uri);
            }
            Step::PhoneDialsUser { script, user } => {
                let contact = phones[PBX].registrar.as_ref().and_then(|r| r.contact(net.now.instant, &user));
                let uri = contact.unwrap_or_else(|| format!("sip:u.{user}@{}", gateway_sip()));
                phones[PBX].dial(net, script, &uri);
            }
            Step::PageDials { page, script, to } => pages[page].dial(net, gateway, script, &to),
            Step::Cut { page } => pages[page].cut(net, gateway),
            Step::Close { page } => pages[page].close(net, gateway),
            Step::Drain => {
                net.states.reach("drain");
                gateway.drain(net);
            }
            Step::HangUpAll => {
                for phone in phones {
                    for leg in 0..phone.legs.len() {
                        phone.hang_up(net, leg);
                    }
                }
                for page in pages {
                    for call in 0..page.calls.len() {
                        page.hang_up(net, gateway, call);
                    }
                }
            }
            Step::Garbage { from, data } => {
                net.states.reach("malformed_sip");
                net.send(from, gateway_sip(), data);
            }
        }
    }

    /// Notes what the gateway counted.
    pub fn note_counters(&mut self) {
        for shard in 0..self.gateway.shards() {
            let mut all = Vec::new();
            self.gateway.core(shard).all_counters(&mut all);
            all.retain(|(_, _, value)| *value > 0);
            self.net.note(|| format!("shard {shard} counted {all:?}"));
        }
    }
}
