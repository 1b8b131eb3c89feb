//! Dialogs: route set, remote target, sequence numbers (RFC 3261 section 12).

use super::Target;
use super::hop::Place;
use super::transaction::ServerId;
use sip_codec::{Message, Method, Name, NameAddr, Params, Uri};

/// One dialog of a leg, early or confirmed.
#[derive(Debug, Default)]
pub(super) struct Dialog {
    pub remote_tag: Box<str>,
    /// The far side's To (or From) value, tag included.
    pub remote: String,
    /// Remote target: the URI of their Contact.
    pub target: String,
    /// Route set, in the order of our requests.
    pub routes: Vec<String>,
    pub local_seq: u32,
    pub remote_seq: Option<u32>,
    /// The last reliable provisional response that we acknowledged (RFC 3262 section 4).
    pub reliable: u32,
    /// The body of our last PRACK, until it is answered.
    pub pracked: Option<Vec<u8>>,
    /// A reliable provisional response with an offer waits for our answer, and its PRACK with it.
    pub offered: bool,
    /// Of an early dialog: a first offer is answered, so that another may be made.
    pub settled: bool,
    /// Of an early dialog: their UPDATE with an offer, which waits for our answer.
    pub change: Option<ServerId>,
    /// How often our BYE, or PRACK, was challenged.
    pub tries: u8,
    /// Our BYE went out, or theirs came.
    pub ended: bool,
}

/// More routes than this make no dialog.
const ROUTES: usize = 32;

/// What a request within a dialog is addressed with.
pub(super) struct Addressed {
    pub uri: String,
    pub routes: Vec<String>,
    /// What the next hop's URI says of the way to it.
    pub place: Place,
    /// Where it leads, where it does so by name.
    pub target: Option<Target>,
}

impl Dialog {
    /// The caller's side, from a response to our INVITE with a To tag.
    pub fn from_response(response: &Message<'_>, local_seq: u32, request_uri: &str) -> Dialog {
        let to = response.to().ok();
        let mut dialog = Dialog {
            remote_tag: to.and_then(|to| to.tag()).unwrap_or("").into(),
            remote: to.map(|to| tagged(&to)).unwrap_or_default(),
            target: request_uri.to_owned(),
            local_seq,
            ..Dialog::default()
        };
        dialog.confirm(response);
        dialog
    }

    /// The callee's side, from an INVITE.
    pub fn from_request(request: &Message<'_>, from: &NameAddr<'_>) -> Dialog {
        let mut dialog = Dialog {
            remote_tag: from.tag().unwrap_or("").into(),
            remote: tagged(from),
            routes: routes(request),
            remote_seq: request.cseq().ok().map(|cseq| cseq.number),
            ..Dialog::default()
        };
        dialog.refresh(request);
        dialog
    }

    /// A 2xx computes the route set anew (section 13.2.2.4).
    pub fn confirm(&mut self, response: &Message<'_>) {
        self.routes = routes(response);
        self.routes.reverse();
        self.refresh(response);
    }

    /// Takes the remote target from a target refresh request or its 2xx (section 12.2). Other schemes than `sip` can't
    /// be reached, so that the old target stays.
    pub fn refresh(&mut self, message: &Message<'_>) {
        if let Some(target) = target(message) {
            target.clone_into(&mut self.target);
        }
    }

    /// Whether a request is in order (section 12.2.2), and remembers its number.
    pub fn is_in_order(&mut self, cseq: u32, method: Method<'_>) -> bool {
        if matches!(method, Method::Ack | Method::Cancel) {
            return true;
        }
        let fine = self.remote_seq.is_none_or(|last| cseq >= last);
        if fine {
            self.remote_seq = Some(cseq);
        }
        fine
    }

    /// Request-URI, routes and next hop (section 12.2.1.1).
    pub fn address(&self) -> Addressed {
        let first = self.routes.first().and_then(|route| NameAddr::parse(route).ok()?.uri().ok());
        match first {
            Some(uri) if !uri.params.has("lr") => {
                // A strict router wants itself in the Request-URI and the target at the routes' end.
                let mut routes = self.routes[1..].to_vec();
                routes.push(format!("<{}>", self.target));
                Addressed { uri: bare(&uri), routes, place: Place::of(&uri), target: Target::of(&uri) }
            }
            Some(uri) => {
                let (place, target) = (Place::of(&uri), Target::of(&uri));
                Addressed { uri: self.target.clone(), routes: self.routes.clone(), place, target }
            }
            None => {
                let uri = Uri::parse(&self.target).ok();
                let place = uri.as_ref().map_or(Place::default(), Place::of);
                let target = uri.as_ref().and_then(Target::of);
                Addressed { uri: self.target.clone(), routes: Vec::new(), place, target }
            }
        }
    }
}

/// The remote target that a message names: a usable Contact; of an INVITE as RFC 2543 had it, which needed none, From
/// (RFC 4475 section 3.4.1).
pub(super) fn target<'a>(message: &Message<'a>) -> Option<&'a str> {
    let old = || message.method() == Some(Method::Invite) && !message.via().is_ok_and(|via| via.has_cookie());
    if message.headers(Name::Contact).next().is_none() && old() {
        let from = message.from().ok()?;
        return from.uri().ok()?.is_sip().then_some(from.uri);
    }
    let contact = message.addresses(Name::Contact).next()?.ok()?;
    let uri = contact.uri().ok()?;
    uri.is_sip().then_some(contact.uri)
}

fn routes(message: &Message<'_>) -> Vec<String> {
    let routes = message.addresses(Name::RecordRoute).filter_map(Result::ok);
    routes.map(|route| format!("<{}>{}", route.uri, unfolded(route.params))).take(ROUTES).collect()
}

/// Parameters on one line: folds may stand anywhere between them, and in quoted strings (RFC 3261 section 7.3.1).
fn unfolded(params: Params<'_>) -> String {
    let mut out = String::new();
    for param in params {
        out.push(';');
        out.push_str(param.name);
        if let Some(value) = param.value {
            out.push('=');
            let mut lines = value.split("\r\n");
            out.push_str(lines.next().unwrap_or(""));
            for line in lines {
                out.push(' ');
                out.push_str(line.trim_start_matches([' ', '\t']));
            }
        }
    }
    out
}

fn tagged(address: &NameAddr<'_>) -> String {
    match address.tag() {
        Some(tag) => format!("<{}>;tag={tag}", address.uri),
        None => format!("<{}>", address.uri),
    }
}

/// A URI as Request-URI: without the method parameter and headers that may not stand there (section 19.1.1).
fn bare(uri: &Uri<'_>) -> String {
    let text = uri.text.split('?').next().unwrap_or("");
    let mut parts = text.split(';');
    let mut out = parts.next().unwrap_or("").to_owned();
    for part in parts.filter(|part| !part.to_ascii_lowercase().starts_with("method=")) {
        out.push(';');
        out.push_str(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn to(addressed: &Addressed) -> Option<SocketAddr> {
        addressed.place.address
    }

    fn answer(headers: &str) -> Vec<u8> {
        format!(
            "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n\
             To: \"B\" <sip:b@c>;tag=2\r\nCall-ID: x\r\nCSeq: 7 INVITE\r\n{headers}\r\n"
        )
        .into_bytes()
    }

    fn dialog(headers: &str) -> Dialog {
        let bytes = answer(headers);
        Dialog::from_response(&Message::parse(&bytes).unwrap(), 7, "sip:b@trunk.example")
    }

    #[test]
    fn the_caller_turns_record_routes_round() {
        let dialog = dialog(
            "Record-Route: <sip:192.0.2.3;lr>, <sip:p2.example;lr>\r\nRecord-Route: <sip:192.0.2.5:5099;lr=on>\r\n\
             Contact: <sip:b@192.0.2.9:5070>\r\n",
        );
        let addressed = dialog.address();
        assert_eq!(addressed.uri, "sip:b@192.0.2.9:5070");
        let expected = ["<sip:192.0.2.5:5099;lr=on>", "<sip:p2.example;lr>", "<sip:192.0.2.3;lr>"];
        assert_eq!(addressed.routes, expected);
        assert_eq!(to(&addressed), "192.0.2.5:5099".parse().ok());
        assert_eq!(dialog.remote, "<sip:b@c>;tag=2");
    }

    #[test]
    fn a_strict_router_gets_itself_in_the_request_uri() {
        let dialog = dialog(
            "Record-Route: <sip:end.example;lr>, <sip:192.0.2.3;method=INVITE>\r\nContact: <sip:b@192.0.2.9>\r\n",
        );
        let addressed = dialog.address();
        assert_eq!(addressed.uri, "sip:192.0.2.3");
        assert_eq!(addressed.routes, ["<sip:end.example;lr>", "<sip:b@192.0.2.9>"]);
        assert_eq!(to(&addressed), "192.0.2.3:5060".parse().ok());
    }

    #[test]
    fn without_a_usable_contact_the_request_uri_stays_the_target() {
        assert_eq!(dialog("").address().uri, "sip:b@trunk.example");
        let odd = dialog("Contact: <mailto:b@example.com>\r\n");
        assert_eq!((odd.address().uri.as_str(), to(&odd.address())), ("sip:b@trunk.example", None));
    }

    #[test]
    fn an_older_sequence_number_is_out_of_order() {
        let mut dialog = dialog("");
        assert!(dialog.is_in_order(5, Method::Bye));
        assert!(!dialog.is_in_order(4, Method::Bye));
        assert!(dialog.is_in_order(4, Method::Ack));
        assert!(dialog.is_in_order(6, Method::Invite));
    }
}
