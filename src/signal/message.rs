//! The messages of `SCHEMA.md` as types.

use super::config::IceServer;
use super::errand::Mwi;
use super::quality::Stats;
use crate::leg::{Party, Reason};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of the schema that we speak.
pub(super) const VERSION: u64 = 1;

/// Any request. One flat type, so that a message is read in one pass and unknown fields cost nothing; which fields a
/// request needs is checked where it is carried out.
#[derive(Deserialize, Debug)]
pub(super) struct Request {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) id: u64,
    pub(super) version: Option<u64>,
    pub(super) user: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) call: Option<String>,
    pub(super) to: Option<String>,
    pub(super) sdp: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) resume: Option<Secret>,
    pub(super) token: Option<Secret>,
    pub(super) cursor: Option<u64>,
    pub(super) ack: Option<u64>,
    pub(super) again: Option<bool>,
    pub(super) attach: Option<BTreeMap<String, String>>,
    pub(super) digits: Option<String>,
    pub(super) duration: Option<u32>,
    pub(super) via: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) body: Option<String>,
    pub(super) takeover: Option<bool>,
    pub(super) with: Option<String>,
    pub(super) watch: Option<String>,
    pub(super) event: Option<String>,
}

/// A password or token on its way in.
#[derive(Deserialize)]
pub(super) struct Secret(pub(super) String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What an answer to a message that can't be read whole may still be addressed to.
#[derive(Deserialize)]
pub(super) struct OnlyId {
    pub(super) id: u64,
}

/// What `ok` carries.
#[derive(Serialize, Debug, Default)]
pub(super) struct Carried<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) session: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ice_servers: Option<&'a [IceServer]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sdp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resume: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) calls: Option<Vec<Standing<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stats: Option<Stats<'a>>,
}

/// A call that a resumed session has.
#[derive(Serialize, Debug)]
pub(super) struct Standing<'a> {
    pub(super) call: &'a str,
    pub(super) direction: &'static str,
    pub(super) state: &'static str,
    /// The other party: who calls, or who was dialled.
    pub(super) party: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) on_hold: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) held: bool,
    /// What `incoming` said of it, while it rings.
    #[serde(flatten)]
    pub(super) ringing: Option<Ringing<'a>>,
}

/// What is said of a call that rings.
#[derive(Serialize, Debug)]
pub(super) struct Ringing<'a> {
    pub(super) from: Caller<'a>,
    pub(super) to: &'a str,
    pub(super) sdp: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) data: BTreeMap<&'a str, &'a str>,
}

/// The answer to a request.
#[derive(Serialize, Debug)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Reply<'a> {
    Ok {
        id: u64,
        #[serde(flatten)]
        carried: Carried<'a>,
    },
    Error {
        id: Option<u64>,
        error: &'static str,
        code: u16,
        message: &'static str,
        #[serde(skip_serializing_if = "str::is_empty")]
        reason: &'static str,
    },
}

impl Reply<'_> {
    /// An error.
    pub(super) fn refused(id: Option<u64>, refusal: Refusal) -> Self {
        let Refusal { error, code, message, reason } = refusal;
        Reply::Error { id, error, code, message, reason }
    }
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) error: &'static str,
    pub(super) code: u16,
    pub(super) message: &'static str,
    /// Of a token: what is wrong with it.
    pub(super) reason: &'static str,
}

macro_rules! refusals {
    ($($name:ident = $error:literal, $code:literal, $message:literal;)*) => {
        impl Refusal {
            $(pub(super) const $name: Refusal = Refusal { error: $error, code: $code, message: $message, reason: "" };)*
        }
    };
}

refusals! {
    UNAUTHORIZED = "unauthorized", 401, "Wrong user name or password.";
    NOT_CONNECTED = "unauthorized", 401, "The first message must be \"connect\".";
    NO_PASSWORD = "unauthorized", 401, "\"connect\" needs \"user\" and \"password\", or \"token\".";
    NO_IDENTITY = "bad_request", 400, "This user's SIP password is not told: the gateway's configuration has it.";
    NO_SECRET = "bad_request", 400, "\"register\" needs \"password\": the token names no secret at the SIP server.";
    BAD_PASSWORD = "bad_request", 400, "\"password\" must be text of 1 to 256 bytes without control characters.";
    OTHER_HOME = "unauthorized", 401, "Open a new connection to sign in as another user.";
    THROTTLED = "too_many", 0, "Too many wrong passwords came from this address. Wait a minute.";
    FLOODING = "too_many", 0, "This session sends too many messages. Wait a second.";
    VERSION = "version", 0, "This gateway speaks version 1.";
    NOT_JSON = "bad_request", 400, "Not a JSON object with a \"type\" and a number \"id\", or a field of a wrong type.";
    TOO_LONG = "bad_request", 400, "The message is too long.";
    NO_CALL = "bad_request", 400, "\"call\" must be 1 to 64 letters, digits, '_' or '-'.";
    CALL_USED = "bad_request", 400, "There is a call of this id already.";
    BAD_CALLEE = "bad_request", 400, "\"to\" must be a name, a number, or a sip: or tel: URI.";
    BAD_TRANSFER = "bad_request", 400, "\"transfer\" needs either \"to\", or \"with\", another answered call.";
    NO_WATCH = "bad_request", 400, "\"watch\" must be 1 to 64 letters, digits, '_' or '-'.";
    WATCH_USED = "bad_request", 400, "There is a subscription of this name already.";
    BAD_EVENT = "bad_request", 400, "\"event\" must be \"message-summary\", \"dialog\" or \"presence\".";
    UNKNOWN_WATCH = "bad_request", 481, "There is no subscription of this name.";
    TOO_MANY_WATCHES = "too_many", 0, "This session has too many subscriptions.";
    BAD_SDP = "bad_request", 400, "\"sdp\" is missing or no session description.";
    BAD_REASON = "bad_request", 400, "\"reason\" must be \"busy\" or \"declined\".";
    BAD_ATTACH = "bad_request", 400, "\"attach\" names a header that is not allowed, or holds control characters, or is too much.";
    BAD_DIGITS = "bad_request", 400, "\"digits\" must be 1 to 32 of 0-9, A-D, * and #, \"duration\" 40 to 6000 ms.";
    BAD_TYPE = "bad_request", 400, "\"content_type\" must be a form, JSON, text or application/octet-stream.";
    BAD_BODY = "bad_request", 400, "\"body\" must be text of 1 to 8192 bytes.";
    UNKNOWN_TYPE = "unknown_type", 0, "There is no request of this type.";
    UNKNOWN_CALL = "unknown_call", 481, "There is no call of this id, or it is over.";
    WRONG_STATE = "wrong_state", 0, "This can't be done now.";
    UNKNOWN_SESSION = "unknown_session", 481, "There is no such session, or it is over. Sign in again.";
    CROSSED = "wrong_state", 491, "Both sides changed the call at once; the gateway's offer goes first.";
    TOO_MANY_SESSIONS = "too_many", 0, "This user has too many sessions.";
    TOO_MANY_TOLD = "too_many", 0, "Too many of these wait for the other party.";
    TOO_MANY_CALLS = "too_many", 0, "This session has too many calls.";
    NOT_REGISTERED = "not_registered", 403, "Register first.";
    OVERLOADED = "overloaded", 503, "The gateway takes no more.";
}

impl Refusal {
    /// A token that is not taken.
    pub(super) fn token(reason: &'static str) -> Refusal {
        Refusal { error: "unauthorized", code: 401, message: "The token is not valid here.", reason }
    }

    /// The name of the cause, as in `ended`.
    pub(super) fn of(reason: Reason) -> Refusal {
        Refusal {
            error: reason.cause.name(),
            code: reason.code,
            message: "The far side refused it.",
            reason: "",
        }
    }
}

/// A party as a browser sees it.
#[derive(Serialize, Debug)]
pub(super) struct Caller<'a> {
    user: &'a str,
    host: &'a str,
    display: &'a str,
}

impl<'a> From<&'a Party> for Caller<'a> {
    fn from(party: &'a Party) -> Self {
        Caller { user: &party.user, host: &party.host, display: &party.display }
    }
}

/// What happens without being asked for.
#[derive(Serialize, Debug)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Event<'a> {
    Registered,
    Unregistered {
        reason: &'static str,
        code: u16,
    },
    Media {
        call: &'a str,
        sdp: String,
    },
    Ringing {
        call: &'a str,
        code: u16,
    },
    Answered {
        call: &'a str,
    },
    Incoming {
        call: &'a str,
        #[serde(flatten)]
        ringing: Ringing<'a>,
    },
    Update {
        call: &'a str,
        sdp: String,
    },
    Quality {
        call: &'a str,
        level: &'static str,
        mos: Option<f64>,
        one_way: bool,
    },
    Held {
        call: &'a str,
    },
    Resumed {
        call: &'a str,
    },
    Dtmf {
        call: &'a str,
        digit: char,
        duration: u32,
    },
    Info {
        call: &'a str,
        content_type: &'a str,
        body: &'a str,
    },
    Control {
        call: &'a str,
        action: &'static str,
    },
    Transferring {
        call: &'a str,
        code: u16,
    },
    Party {
        call: &'a str,
        party: Caller<'a>,
    },
    Message {
        #[serde(skip_serializing_if = "Option::is_none")]
        call: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<Caller<'a>>,
        content_type: &'a str,
        body: &'a str,
    },
    Notify {
        #[serde(skip_serializing_if = "Option::is_none")]
        watch: Option<&'a str>,
        event: &'static str,
        content_type: &'a str,
        body: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        mwi: Option<Mwi>,
    },
    Unsubscribed {
        watch: &'a str,
        reason: &'static str,
    },
    Ended {
        call: &'a str,
        reason: &'static str,
        code: u16,
        #[serde(skip_serializing_if = "Option::is_none")]
        stats: Option<Stats<'a>>,
    },
    Closed {
        reason: &'static str,
    },
}

/// An event with its place in the session.
#[derive(Serialize, Debug)]
pub(super) struct Numbered<'a> {
    pub(super) seq: u64,
    #[serde(flatten)]
    pub(super) event: &'a Event<'a>,
}

/// The text of a message. These types can't fail to be written; an empty object would say so.
pub(super) fn text<T: Serialize>(message: &T) -> String {
    serde_json::to_string(message).unwrap_or_else(|_| "{}".to_owned())
}
