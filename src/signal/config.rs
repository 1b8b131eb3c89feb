//! Users, limits and deadlines, and what is counted.

use crate::base::{Map, counters};
use crate::leg::{Account, Attach};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use std::fmt;
use std::time::Duration;

/// A password to sign in with. Kept as a digest, so that comparing takes the same time whatever its length.
#[derive(Clone)]
pub struct Password([u8; 32]);

impl Password {
    /// Keeps a password.
    pub fn new(password: &str) -> Password {
        let mut kept = [0; 32];
        kept.copy_from_slice(digest(&SHA256, password.as_bytes()).as_ref());
        Password(kept)
    }

    /// Compares in constant time.
    pub fn is(&self, password: &str) -> bool {
        verify_slices_are_equal(&self.0, digest(&SHA256, password.as_bytes()).as_ref()).is_ok()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// A user who may sign in.
#[derive(Clone, Debug)]
pub struct User {
    /// The name to sign in with, which is the account.
    pub account: Account,
    /// The password.
    pub password: Password,
    /// The display name that called parties see; may be empty.
    pub display: String,
}

/// A STUN or TURN server for the browser (W3C `RTCIceServer`).
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct IceServer {
    /// `stun:` and `turn:` addresses.
    pub urls: Vec<String>,
    /// User name, for TURN.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// Password, for TURN.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub credential: String,
}

/// Users, limits and deadlines of one shard's [`super::Hub`].
#[derive(Clone, Debug)]
pub struct Config {
    /// Who may sign in.
    pub users: Map<Account, User>,
    /// How tokens are checked; none is taken where it is `None`.
    pub jwt: Option<super::Jwt>,
    /// What browsers are told to use beside the gateway's own candidates.
    pub ice_servers: Vec<IceServer>,
    /// Headers that may be attached to calls.
    pub attach: Attach,
    /// Whether a session must be registered before it may dial.
    pub require_registration: bool,
    /// Connections that have not signed in yet.
    pub max_unknown: usize,
    /// Sessions.
    pub max_sessions: usize,
    /// Sessions of one user.
    pub max_sessions_per_user: usize,
    /// Calls of one session.
    pub max_calls_per_session: usize,
    /// Events that a session keeps until they are acknowledged.
    pub max_events: usize,
    /// Bytes of those.
    pub max_event_bytes: usize,
    /// Bytes of one message.
    pub max_message: usize,
    /// A session may send one message in this time, in the long run.
    pub message_interval: Duration,
    /// Messages that it may send at once.
    pub message_burst: u32,
    /// Refused messages before sign-in, after which the connection is closed.
    pub max_failures: u32,
    /// Wrong passwords from one source (an IPv4 address, an IPv6 /64) in a minute; beyond, none is tried.
    pub max_source_failures: u32,
    /// How long a connection may take to sign in.
    pub connect_timeout: Duration,
    /// How long a poll may wait.
    pub max_poll: Duration,
    /// How long a session outlives its connection. Its calls end sooner where the call machine finds them dead.
    pub grace: Duration,
    /// How long a browser may take to accept an `update`.
    pub update_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            users: Map::default(),
            jwt: None,
            ice_servers: Vec::new(),
            attach: Attach::default(),
            require_registration: false,
            max_unknown: 10_000,
            max_sessions: 20_000,
            max_sessions_per_user: 16,
            max_calls_per_session: 32,
            max_events: 256,
            max_event_bytes: 128 * 1024,
            max_message: 64 * 1024,
            message_interval: Duration::from_millis(20),
            message_burst: 200,
            max_failures: 5,
            max_source_failures: 30,
            connect_timeout: Duration::from_secs(10),
            max_poll: Duration::from_secs(30),
            grace: Duration::from_mins(1),
            update_timeout: Duration::from_secs(10),
        }
    }
}

impl Config {
    /// Adds a user.
    pub fn add_user(&mut self, name: &str, password: &str, display: &str) {
        let account = Account::from(name);
        let user =
            User { account: account.clone(), password: Password::new(password), display: display.into() };
        self.users.insert(account, user);
    }
}

counters! {
    /// What a hub counted.
    pub struct Counters {
        /// HTTP requests about sessions.
        exchanges,
        /// Messages received.
        messages,
        /// Messages that are no JSON object of the schema, or too long.
        bad_messages,
        /// Requests refused because their session sent too many.
        flooding,
        /// Requests answered with an error, bad messages included.
        refusals,
        /// Tokens refused.
        bad_tokens,
        /// Wrong user names or passwords.
        wrong_passwords,
        /// Sign-ins refused unchecked, after too many wrong passwords from their source.
        throttled,
        /// Connections closed for not signing in, in time or at all.
        strangers_closed,
        /// Connections closed at once because too many had not signed in.
        unknown_full,
        /// Sign-ins refused because a table of sessions was full, or while draining.
        sessions_refused,
        /// Connections handed to the home shard of their user.
        moved,
        /// Sessions begun.
        sessions_opened,
        /// Sessions that ended after their grace.
        sessions_lost,
        /// Calls begun by browsers.
        calls_dialled,
        /// Calls that rang at a browser.
        calls_offered,
        /// Calls to a user without a session that can take them.
        nobody_home,
        /// Calls refused for a limit, or while draining.
        calls_refused,
        /// Calls ended because their browser was gone.
        calls_lost,
        /// Events that happened while a session had no connection.
        events_unheard,
        /// Events forgotten before they were acknowledged, for want of room.
        events_forgotten,
        /// Events said again to a browser that came back.
        events_replayed,
        /// Requests that came again and were carried out before.
        requests_repeated,
        /// Sessions that a browser came back to.
        resumed,
        /// Tokens that open no session.
        resumes_refused,
        /// Sessions ended because too much happened while their browser was away.
        sessions_overflowed,
        /// Offers to a browser that were not accepted in time.
        updates_unanswered,
        /// Commands for a leg that is over.
        stale_commands,
        /// Second answers to one offer, which a browser can't be given.
        second_answers,
    }
}
