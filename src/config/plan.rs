//! The file turned into what a shard is told.

use super::dialogs::{Refresh, Refresher, Reliable};
use super::file::{Redirects, Transfer};
use super::{Dtls, File, Route, Trunk};
use crate::base::{Map, RealmId};
use crate::leg::{Account, Attach, Secret, TrunkId};
use crate::{call, demo, http, media, shard, signal, sip, webrtc};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use toml::Spanned;

/// Bytes wanted for each queue of a web socket: 100 ms of 2,000 calls.
const WEB_BUFFER: usize = 8 << 20;

/// Stands for a trunk's servers until they are filled in.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

fn seconds(s: u32) -> Duration {
    Duration::from_secs(u64::from(s))
}

/// A limit of the whole node as one shard's share, rounded up.
fn share(limit: u32, shards: u8) -> usize {
    limit.div_ceil(u32::from(shards.max(1))) as usize
}

/// What each of `shards` shards is told. `identity` is the certificate of web media.
pub fn plan(file: &File, shards: u8, identity: webrtc::Identity) -> shard::Config {
    let web_media = shard::WebMedia {
        listen: std::iter::once(file.media.listen).chain(file.media.web_listen.iter().copied()).collect(),
        advertised: file.media.advertise,
        port: file.media.web_port,
        buffer: WEB_BUFFER,
    };
    let caps = shard::Caps {
        connections: share(file.limits.connections, shards),
        sip_connections: share(file.limits.sip_connections, shards),
        load: *file.limits.load.get_ref(),
        ..shard::Caps::default()
    };
    shard::Config {
        realms: vec![realm(file)],
        web_media,
        http: shard::Http {
            listen: Some(file.http.listen),
            origins: file.http.origins.clone(),
            ..shard::Http::default()
        },
        sip_tls: shard::SipTls::default(),
        io_uring: file.media.io_uring,
        caps,
        trace: shard::TraceCaps {
            on: file.trace.enabled,
            entries: file.trace.entries as usize,
            calls: share(file.trace.calls, shards),
            ..shard::TraceCaps::default()
        },
        connection: Arc::new(http::Config::default()),
        sip: Arc::new(plan_sip(file, shards)),
        signal: Arc::new(signal_of(file, shards)),
        call: Arc::new(call_of(file, shards)),
        webrtc: Arc::new(webrtc_of(file, shards, identity)),
        media: Arc::new(media_of(file)),
    }
}

fn realm(file: &File) -> shard::Realm {
    shard::Realm {
        sip_advertised: file.sip.advertise,
        sip_tls: file.sip.tls_listen,
        // Behind NAT the same address with its own port.
        sip_tls_advertised: file
            .sip
            .advertise
            .zip(file.sip.tls_listen)
            .map(|(told, listen)| (told.ip(), listen.port()).into()),
        media: file.media.listen,
        ..shard::Realm::new("default", file.sip.listen)
    }
}

fn trunk_id(file: &File, name: &str) -> Option<TrunkId> {
    file.trunk.iter().position(|trunk| trunk.name.get_ref() == name).map(|n| TrunkId(n as u16))
}

fn or<'a>(value: &'a str, other: &'a str) -> &'a str {
    if value.is_empty() { other } else { value }
}

fn accounts(file: &File) -> Map<Account, sip::Registration> {
    let mut map = Map::default();
    for user in &file.user {
        let Some(trunk) = user.trunk.as_ref().and_then(|trunk| trunk_id(file, trunk.get_ref())) else {
            continue;
        };
        let name = user.name.get_ref();
        let account = Account::from(name.as_str());
        let sip_user = or(&user.sip_user, name);
        let registration = sip::Registration {
            account: account.clone(),
            trunk,
            user: sip_user.to_owned(),
            auth_user: or(&user.sip_username, sip_user).to_owned(),
            password: Secret(or(&user.sip_password, &user.password).to_owned()),
        };
        map.insert(account, registration);
    }
    map
}

/// `check` has refused what is no such list.
fn attach(file: &File) -> Attach {
    Attach::new(file.calls.attach.iter().map(|entry| entry.get_ref().as_str())).unwrap_or_default()
}

fn session_policy(trunk: &Trunk) -> sip::SessionPolicy {
    sip::SessionPolicy {
        expires: seconds(*trunk.session_expires_s.get_ref()),
        min: seconds(*trunk.min_se_s.get_ref()),
        refresher: match trunk.refresher {
            Refresher::Auto => sip::Refreshes::Auto,
            Refresher::Us => sip::Refreshes::Us,
            Refresher::Them => sip::Refreshes::Them,
        },
        update: trunk.refresh == Refresh::Update,
    }
}

/// What the SIP stack of each shard is told.
pub fn plan_sip(file: &File, shards: u8) -> sip::Config {
    let trunk = |trunk: &Trunk| {
        let credentials = (!trunk.username.is_empty()).then(|| sip::Credentials {
            user: trunk.username.clone(),
            password: Secret(trunk.password.clone()),
        });
        sip::Trunk {
            credentials,
            digest_realm: (!trunk.realm.is_empty()).then(|| trunk.realm.clone()),
            sources: trunk.accept.clone(),
            deadline: seconds(file.calls.first_reply_s),
            ring: seconds(file.calls.ring_s),
            tcp_when_large: trunk.tcp_when_large,
            reliable: match trunk.reliable {
                Reliable::Off => sip::Reliability::Off,
                Reliable::Supported => sip::Reliability::Supported,
                Reliable::Required => sip::Reliability::Required,
            },
            session: session_policy(trunk),
            early_media: trunk.early_media,
            bodies: trunk.bodies.iter().map(|kind| kind.get_ref().clone()).collect(),
            // `check` has refused what is none.
            policy: super::trunk::policy(trunk).unwrap_or_default(),
            ..trunk.plan_servers(sip::Trunk::new(trunk.name.get_ref(), NOWHERE))
        }
    };
    sip::Config {
        trunks: file.trunk.iter().map(trunk).collect(),
        accounts: accounts(file),
        attach: attach(file),
        watched: file
            .route
            .iter()
            .filter_map(|route| Some(route.get_ref().header.as_ref()?.get_ref().clone()))
            .collect(),
        strangers: file.sip.strangers.into(),
        banning: sip::Banning {
            after: file.sip.ban_after,
            time: seconds(file.sip.ban_s),
            ..sip::Banning::default()
        },
        user_agent: file.sip.user_agent.clone(),
        phones: super::phones::plan(file, shards),
        dns: file.dns.plan(),
        ..sip::Config::default()
    }
}

fn signal_of(file: &File, shards: u8) -> signal::Config {
    let mut config = signal::Config {
        max_sessions: share(file.limits.sessions, shards),
        max_sessions_per_user: file.limits.sessions_per_user as usize,
        attach: attach(file),
        grace: seconds(file.calls.signalling_grace_s),
        ..signal::Config::default()
    };
    config.jwt = jwt_of(file);
    for user in &file.user {
        config.add_user(user.name.get_ref(), &user.password, "");
    }
    config
}

/// Reads a public key for tokens; else what is wrong with the file.
pub(super) fn public_key(path: &std::path::Path) -> Result<signal::JwtKey, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("{} can't be read ({error}); name a PEM file", path.display()))?;
    signal::JwtKey::from_pem(&text).ok_or_else(|| {
        let path = path.display();
        format!("{path} holds no public key of P-256 or RSA in PEM; write one by openssl pkey -pubout")
    })
}

fn jwt_of(file: &File) -> Option<signal::Jwt> {
    let secret = file
        .auth
        .jwt_secret
        .as_ref()
        .map(|secret| signal::JwtKey::Secret(secret.get_ref().clone().into_bytes()));
    // A file that can't be read was an error when the configuration was checked.
    let public = file.auth.jwt_public_key.as_ref().and_then(|path| public_key(path.get_ref()).ok());
    let keys: Vec<_> = secret.into_iter().chain(public).collect();
    let text = |value: &Option<Spanned<String>>| value.as_ref().map(|value| value.get_ref().clone());
    let trunks = file.auth.trunks.iter().filter_map(|name| {
        let name = name.get_ref();
        Some((name.clone(), trunk_id(file, name)?))
    });
    let secrets = file.secret.iter().filter_map(|secret| {
        let trunk = trunk_id(file, secret.trunk.get_ref())?;
        Some((secret.name.get_ref().clone(), (trunk, Secret(secret.password.clone()))))
    });
    (!keys.is_empty()).then(|| signal::Jwt {
        keys,
        audience: text(&file.auth.audience),
        issuer: text(&file.auth.issuer),
        trunks: trunks.collect(),
        secrets: secrets.collect(),
    })
}

pub(super) fn call_of(file: &File, shards: u8) -> call::Config {
    let mut config = call::Config {
        hold_music: file.calls.hold_music.get_ref() != "off",
        trunks: file.trunk.iter().map(call_trunk).collect(),
        calls: share(file.limits.calls, shards),
        calls_per_account: file.limits.calls_per_user,
        emergency_calls: share(file.limits.emergency_calls, shards),
        ring: seconds(file.calls.ring_s),
        drain: seconds(file.calls.drain_s),
        signalling_grace: seconds(file.calls.signalling_grace_s),
        browser_grace: seconds(file.calls.browser_grace_s),
        media_timeout: Some(file.calls.media_timeout_s).filter(|&s| s > 0).map(seconds),
        // With one SIP server there is no choice to be made by routes.
        default_trunk: (file.trunk.len() == 1).then_some(TrunkId(0)),
        // The SIP stack watches its trunks itself.
        first_reply: None,
        ..call::Config::default()
    };
    for user in &file.user {
        if let Some(trunk) = user.trunk.as_ref().and_then(|trunk| trunk_id(file, trunk.get_ref())) {
            config.homes.insert(Account::from(user.name.get_ref().as_str()), trunk);
        }
    }
    config.users = file.user.iter().map(|user| Account::from(user.name.get_ref().as_str())).collect();
    // `check` has refused what is no route.
    config.routes = file.route.iter().filter_map(|route| Route::plan(route, file).ok()).collect();
    config
}

fn call_trunk(trunk: &Trunk) -> call::Trunk {
    let names: Vec<&str> = trunk.codecs.iter().map(|codec| codec.get_ref().as_str()).collect();
    call::Trunk {
        name: trunk.name.get_ref().clone(),
        realm: RealmId(0),
        codecs: call::codecs(&names),
        shared_rtp_ports: trunk.shared_rtp_ports,
        dialled: trunk.dialled_as.as_ref().and_then(|plan| plan.plan("").ok()?.e164),
        quota: Arc::new(call::Quota::new(
            trunk.max_calls,
            trunk.calls_per_second.as_ref().map(|rate| *rate.get_ref()),
        )),
        late_offer: trunk.delayed_offer,
        redirects: match trunk.redirects {
            Redirects::Follow => call::Redirects::Follow,
            Redirects::Refuse => call::Redirects::Refuse,
            Redirects::Pass => call::Redirects::Pass,
        },
        transfer: trunk.transfer.map(|transfer| match transfer {
            Transfer::Local => call::Transfers::Local,
            Transfer::Pass => call::Transfers::Pass,
            Transfer::Refuse => call::Transfers::Refuse,
        }),
    }
}

fn webrtc_of(file: &File, shards: u8, identity: webrtc::Identity) -> webrtc::Config {
    webrtc::Config {
        dtls: match file.media.dtls {
            Dtls::Auto => webrtc::Dtls::Auto,
            Dtls::V12 => webrtc::Dtls::V12,
            Dtls::V13 => webrtc::Dtls::V13,
        },
        peers: 2 * share(file.limits.calls + file.limits.emergency_calls, shards),
        ..webrtc::Config::new(identity, Vec::new())
    }
}

fn media_of(file: &File) -> media::Config {
    media::Config {
        realms: vec![media::Realm {
            address: file.media.advertise.unwrap_or(file.media.listen),
            ports: file.media.rtp_ports.clone(),
            shared: file.trunk.iter().any(|trunk| trunk.shared_rtp_ports),
        }],
        // Emergency calls come on top of all others.
        legs: 2 * (file.limits.calls + file.limits.emergency_calls) as usize,
        // A file that can't be read was an error when the configuration was checked.
        music: hold_music(file.calls.hold_music.get_ref()).ok().flatten().map(Arc::new),
        ..media::Config::default()
    }
}

/// What held parties hear; `None`: nothing. Else what is wrong with the file.
pub(super) fn hold_music(name: &str) -> Result<Option<media::Music>, String> {
    let (pcmu, pcma) = match name {
        "off" => return Ok(None),
        "melody" => demo::hold::melody(),
        name => {
            let bytes = std::fs::read(name).map_err(|error| {
                format!("{name} can't be read ({error}); name a WAV file, or say melody or off")
            })?;
            demo::hold::wav(&bytes).map_err(|what| format!("{name}: {what}"))?
        }
    };
    Ok(Some(media::Music { pcmu, pcma }))
}
