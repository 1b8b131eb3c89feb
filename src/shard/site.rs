//! What the web server answers: pages and SDK, the WebSocket's door, health. Pure: a request in, an answer out.

use super::config;
use crate::http::{Cors, Method, Origins, Request, Response};
use crate::signal::{self, Asked};
use crate::web;
use std::time::Duration;

/// The WebSocket subprotocol of browser signalling.
pub const SUBPROTOCOL: &str = "bridgehead.v1";

/// The WebSocket subprotocol of SIP phones (RFC 7118 section 3).
pub const SIP: &str = "sip";

/// To whom a WebSocket opens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Door {
    /// A browser with our SDK, at `/v1/ws`.
    Browser,
    /// A SIP phone, at any other path.
    Phone,
}

/// What to do with a request.
#[derive(Debug)]
pub(super) enum Answer {
    /// Let it become a WebSocket.
    Upgrade(Door),
    /// Send this.
    Respond(Response),
    /// Let the session answer; its status and body go into this response.
    Ask(Asked, Response),
}

/// The web server's rules.
#[derive(Debug)]
pub(super) struct Site {
    origins: Origins,
    demo: Option<String>,
}

impl Site {
    /// Reads them. Entries of the allow-list that are no origins were refused with the configuration; here they
    /// allow nothing.
    pub(super) fn new(http: &config::Http) -> Site {
        let origins = Origins::new(http.origins.iter().map(String::as_str)).unwrap_or_default();
        // The demo's passwords are public.
        let origins = if http.demo.is_some() { origins.without_names().with_localhost() } else { origins };
        Site { origins, demo: http.demo.clone() }
    }

    /// Answers a request.
    pub(super) fn answer(&self, request: &Request, draining: bool) -> Answer {
        if request.path() == "/v1/ws" {
            return self.door(request, Door::Browser);
        }
        // Phones are told all sorts of paths: the subprotocol is what counts.
        if request.is_websocket() && request.protocols().any(|protocol| protocol == SIP) {
            return self.door(request, Door::Phone);
        }
        // Pages and SDK are public and bring their own headers.
        if let Some(asset) = web::asset(request.path()) {
            return Answer::Respond(serve(request, asset));
        }
        match self.origins.cors(request) {
            Cors::Preflight(response) => Answer::Respond(response),
            Cors::Denied(_) => {
                Answer::Respond(safe(error(403, "origin", "pages of this origin may not use the gateway")))
            }
            Cors::Same | Cors::Allowed => self.admitted(request, draining),
        }
    }

    fn admitted(&self, request: &Request, draining: bool) -> Answer {
        let readable = |response| self.origins.grant(request, safe(response));
        match exchange(request) {
            Some(Ok(what)) => {
                let template = Response::json(200, "").header("Cache-Control", "no-store");
                Answer::Ask(what, readable(template))
            }
            Some(Err(refusal)) => Answer::Respond(readable(refusal)),
            None => Answer::Respond(readable(self.resource(request, draining))),
        }
    }

    fn door(&self, request: &Request, door: Door) -> Answer {
        let wanted = if door == Door::Phone { SIP } else { SUBPROTOCOL };
        let refusal = if !matches!(request.method, Method::Get) {
            error(405, "method", "a WebSocket is opened by GET").header("Allow", "GET")
        } else if !request.is_websocket() {
            error(426, "upgrade", "this address speaks WebSocket").header("Upgrade", "websocket")
        } else if !self.origins.admits_websocket(request) {
            error(403, "origin", "pages of this origin may not use the gateway; see http.origins")
        } else if !request.protocols().any(|protocol| protocol == wanted) {
            error(400, "subprotocol", "offer the subprotocol bridgehead.v1")
        } else {
            return Answer::Upgrade(door);
        };
        Answer::Respond(safe(refusal))
    }

    fn resource(&self, request: &Request, draining: bool) -> Response {
        let text: &str = match request.path() {
            "/healthz" if draining => return error(503, "draining", "the gateway is about to stop"),
            "/healthz" => r#"{"status":"ok"}"#,
            "/v1/schema.json" => signal::SCHEMA,
            "/v1/demo.json" => match &self.demo {
                Some(demo) => demo,
                // Asked by every softphone page: no demo is no error that a console should show.
                None => "{}",
            },
            _ => return error(404, "not_found", "there is nothing at this address"),
        };
        match request.method {
            Method::Get | Method::Head => {
                Response::json(200, text.to_owned()).header("Cache-Control", "no-store")
            }
            _ => not_allowed(),
        }
    }
}

/// A request about a session, by HTTP (`SCHEMA.md`). `None`: it is about something else.
fn exchange(request: &Request) -> Option<Result<Asked, Response>> {
    let (method, allow) = match request.path() {
        "/v1/session" | "/v1/messages" => (Method::Post, "POST"),
        "/v1/events" => (Method::Get, "GET"),
        _ => return None,
    };
    if request.method != method {
        return Some(Err(error(405, "method", "another method is answered here").header("Allow", allow)));
    }
    Some(match request.path() {
        "/v1/session" => body(request).map(|body| Asked::Connect { body }),
        "/v1/messages" => {
            bearer(request).and_then(|token| body(request).map(|body| Asked::Request { token, body }))
        }
        _ => bearer(request).map(|token| Asked::Events {
            token,
            cursor: number(request, "cursor").unwrap_or(0),
            wait: Duration::from_secs(number(request, "wait").unwrap_or(0)),
        }),
    })
}

fn body(request: &Request) -> Result<String, Response> {
    String::from_utf8(request.body.clone()).map_err(|_| error(400, "bad_request", "the body is no UTF-8"))
}

/// What opens a session (RFC 6750 section 2.1). Never from the address, which ends in logs.
fn bearer(request: &Request) -> Result<String, Response> {
    let value = request.header("authorization").and_then(|value| value.split_once(' '));
    match value {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim().to_owned()),
        _ => {
            Err(error(401, "unauthorized", "send Authorization: Bearer with what /v1/session gave as resume")
                .header("WWW-Authenticate", "Bearer"))
        }
    }
}

fn number(request: &Request, name: &str) -> Option<u64> {
    let mut pairs = request.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name)?.1.parse().ok()
}

fn serve(request: &Request, asset: &'static web::Asset) -> Response {
    if !matches!(request.method, Method::Get | Method::Head) {
        return safe(not_allowed());
    }
    let known = request.header("if-none-match").is_some_and(|tags| asset.is_known(tags));
    let response = if known { Response::new(304) } else { Response::new(200).body(asset.bytes) };
    asset.headers().fold(response, |response, (name, value)| response.header(name, value))
}

fn not_allowed() -> Response {
    error(405, "method", "only GET and HEAD are answered here").header("Allow", "GET, HEAD")
}

/// An error in the shape of the signalling schema. Both texts are ours and hold nothing to be escaped.
fn error(status: u16, name: &str, message: &str) -> Response {
    Response::json(
        status,
        format!(r#"{{"type":"error","error":"{name}","code":{status},"message":"{message}"}}"#),
    )
    .header("Cache-Control", "no-store")
}

/// Headers that keep a browser from making more of an answer than it is.
fn safe(response: Response) -> Response {
    response
        .header("X-Content-Type-Options", "nosniff")
        .header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
        .header("Referrer-Policy", "no-referrer")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> Site {
        Site::new(&config::Http {
            listen: None,
            origins: vec!["https://app.example".to_owned()],
            demo: Some("{}".to_owned()),
            ..config::Http::default()
        })
    }

    fn request(method: Method, target: &str, headers: &[(&str, &str)]) -> Request {
        let headers = [("host", "gw.example:8080")].iter().chain(headers);
        Request {
            method,
            target: target.to_owned(),
            version_11: true,
            headers: headers.map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect(),
            body: Vec::new(),
        }
    }

    fn status(answer: &Answer) -> u16 {
        match answer {
            Answer::Upgrade(_) => 101,
            Answer::Respond(response) => response.status(),
            Answer::Ask(..) => 202,
        }
    }

    fn ask(method: Method, target: &str, headers: &[(&str, &str)]) -> u16 {
        status(&site().answer(&request(method, target, headers), false))
    }

    #[test]
    fn the_door_opens_to_our_own_and_to_listed_pages_that_speak_our_protocol() {
        let ws = |extra: &[(&str, &str)]| {
            let mut headers = vec![("upgrade", "websocket"), ("connection", "Upgrade")];
            headers.extend(extra);
            ask(Method::Get, "/v1/ws", &headers)
        };
        let ours = ("sec-websocket-protocol", "bridgehead.v1");
        assert_eq!(ws(&[ours]), 101);
        assert_eq!(ws(&[ours, ("origin", "https://app.example")]), 101);
        assert_eq!(ws(&[ours, ("origin", "https://evil.example")]), 403);
        assert_eq!(ws(&[]), 400);
        assert_eq!(ws(&[("sec-websocket-protocol", "sip")]), 400);
        assert_eq!(ask(Method::Get, "/v1/ws", &[]), 426);
        assert_eq!(ask(Method::Post, "/v1/ws", &[]), 405);
    }

    #[test]
    fn sip_phones_come_in_at_any_path_by_their_subprotocol_from_pages_that_are_listed() {
        let ws = |path: &str, extra: &[(&str, &str)]| {
            let mut headers = vec![("upgrade", "websocket"), ("connection", "Upgrade")];
            headers.extend(extra);
            site().answer(&request(Method::Get, path, &headers), false)
        };
        let sip = ("sec-websocket-protocol", "sip");
        for path in ["/", "/ws", "/sip", "/anything"] {
            assert!(matches!(ws(path, &[sip]), Answer::Upgrade(Door::Phone)), "{path}");
        }
        let listed = ("origin", "https://app.example");
        assert!(matches!(ws("/sip", &[sip, listed]), Answer::Upgrade(Door::Phone)));
        assert_eq!(status(&ws("/sip", &[sip, ("origin", "https://evil.example")])), 403);
        assert_eq!(status(&ws("/sip", &[])), 404);
    }

    #[test]
    fn sessions_are_spoken_to_by_http_with_the_token_in_a_header() {
        let bearer = ("authorization", "bearer abc");
        assert_eq!(ask(Method::Post, "/v1/session", &[]), 202);
        assert_eq!(ask(Method::Get, "/v1/session", &[]), 405);
        assert_eq!(ask(Method::Post, "/v1/session", &[("origin", "https://evil.example")]), 403);
        assert_eq!(ask(Method::Post, "/v1/messages", &[bearer]), 202);
        assert_eq!(ask(Method::Post, "/v1/messages", &[]), 401);
        assert_eq!(ask(Method::Post, "/v1/messages?access_token=abc", &[]), 401);
        assert_eq!(ask(Method::Post, "/v1/messages", &[("authorization", "Basic abc")]), 401);
        assert_eq!(ask(Method::Get, "/v1/events", &[]), 401);
        assert_eq!(ask(Method::Post, "/v1/events", &[bearer]), 405);
        let preflight = [("origin", "https://app.example"), ("access-control-request-method", "GET")];
        assert_eq!(ask(Method::Options, "/v1/events", &preflight), 204);
        let events = request(
            Method::Get,
            "/v1/events?cursor=7&wait=25&x",
            &[bearer, ("origin", "https://app.example")],
        );
        let Answer::Ask(Asked::Events { token, cursor, wait }, template) = site().answer(&events, true)
        else {
            panic!("no poll");
        };
        assert_eq!((token.as_str(), cursor, wait), ("abc", 7, Duration::from_secs(25)));
        let template = format!("{template:?}");
        assert!(template.contains("https://app.example") && template.contains("no-store"), "{template}");
        let mut bad = request(Method::Post, "/v1/session", &[]);
        bad.body = vec![0xff];
        assert_eq!(status(&site().answer(&bad, false)), 400);
    }

    #[test]
    fn unknown_addresses_and_methods_are_json_errors() {
        assert_eq!(ask(Method::Get, "/nowhere", &[]), 404);
        assert_eq!(ask(Method::Get, "/healthz?x=1", &[]), 200);
        assert_eq!(ask(Method::Get, "/v1/schema.json", &[]), 200);
        assert_eq!(ask(Method::Delete, "/healthz", &[]), 405);
        assert_eq!(ask(Method::Post, "/", &[]), 405);
        assert_eq!(ask(Method::Get, "/v1/demo.json", &[("origin", "https://evil.example")]), 403);
        assert_eq!(ask(Method::Get, "/v1/demo.json", &[("origin", "https://app.example")]), 200);
        let drained = site().answer(&request(Method::Get, "/healthz", &[]), true);
        assert_eq!(status(&drained), 503);
        let Answer::Respond(response) = site().answer(&request(Method::Get, "/x", &[]), false) else {
            panic!()
        };
        assert!(format!("{response:?}").contains("application/json"));
    }

    #[test]
    fn pages_are_served_once_and_then_by_their_tag() {
        assert_eq!(ask(Method::Get, "/", &[]), 200);
        assert_eq!(ask(Method::Head, "/sdk/bridgehead.js", &[("origin", "https://any.example")]), 200);
        let tag = web::asset("/").unwrap().etag;
        assert_eq!(ask(Method::Get, "/", &[("if-none-match", tag)]), 304);
        assert_eq!(ask(Method::Get, "/", &[("if-none-match", "\"other\"")]), 200);
    }
}
