//! Which web applications may use the gateway: the Origin check of WebSockets, and CORS (Fetch standard section 3.2).

use super::head::{Method, Request};
use super::response::Response;
use std::net::{IpAddr, Ipv6Addr};

/// An entry of the allow-list is no origin (`scheme://host` or `scheme://host:port`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadOrigin;

/// The allow-list. Pages that the gateway serves itself are always allowed.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Origins {
    any: bool,
    named: bool,
    localhost: bool,
    listed: Vec<String>,
}

/// What CORS says of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cors {
    /// Not from another site's page: serve it as ever.
    Same,
    /// From a page that is allowed: serve it and pass the response through [`Origins::grant`].
    Allowed,
    /// A preflight: send this at once.
    Preflight(Response),
    /// From a page that is not allowed: serve nothing.
    Denied(Response),
}

impl Origins {
    /// Reads a list; `*` allows every origin.
    pub fn new<'a>(list: impl IntoIterator<Item = &'a str>) -> Result<Origins, BadOrigin> {
        let mut origins = Origins::default();
        for entry in list {
            if entry == "*" {
                origins.any = true;
            } else {
                origins.listed.push(normal(entry).ok_or(BadOrigin)?);
            }
        }
        Ok(origins)
    }

    /// Takes pages for our own only where they came from an address or `localhost`. Whoever owns a name can point it at
    /// a gateway that only this machine reaches (DNS rebinding), which matters where passwords are no secret.
    pub fn without_names(mut self) -> Origins {
        self.named = true;
        self
    }

    /// Allows pages from every port of the machine that the browser runs on: whoever tries the gateway writes a page of
    /// his own next, and serves it from there.
    pub fn with_localhost(mut self) -> Origins {
        self.localhost = true;
        self
    }

    /// Whether a WebSocket may be opened (RFC 6455 section 10.2). Programs that aren't browsers send no Origin; they
    /// still have to sign in.
    pub fn admits_websocket(&self, request: &Request) -> bool {
        match self.origin(request) {
            Ok(None) => true,
            Ok(Some(origin)) => self.is_own(&origin, request) || self.lists(&origin),
            Err(BadOrigin) => false,
        }
    }

    /// Judges a request, and answers it where it is a preflight.
    pub fn cors(&self, request: &Request) -> Cors {
        let origin = match self.origin(request) {
            Ok(None) => return Cors::Same,
            Ok(Some(origin)) if self.is_own(&origin, request) => return Cors::Same,
            Ok(Some(origin)) if self.lists(&origin) => origin,
            _ => return Cors::Denied(Response::new(403).header("Vary", "Origin")),
        };
        if request.method == Method::Options && request.header("access-control-request-method").is_some() {
            let response = Response::new(204)
                .header("Access-Control-Allow-Methods", "GET, HEAD, POST, PATCH, DELETE")
                .header(
                    "Access-Control-Allow-Headers",
                    "Authorization, Content-Type, If-Match, Last-Event-ID",
                )
                .header("Access-Control-Max-Age", "7200");
            return Cors::Preflight(allow(response, origin));
        }
        Cors::Allowed
    }

    /// Adds to a response what lets the page read it. Credentials (cookies) are never allowed: we have none.
    pub fn grant(&self, request: &Request, response: Response) -> Response {
        match self.origin(request) {
            Ok(Some(origin)) if !self.is_own(&origin, request) && self.lists(&origin) => {
                allow(response, origin).header("Access-Control-Expose-Headers", "Location, ETag, Link")
            }
            _ => response,
        }
    }

    /// Whether the page came from the address that the request went to.
    fn is_own(&self, origin: &str, request: &Request) -> bool {
        let Some((_, host)) = origin.split_once("://") else { return false };
        let same = request.header("host").map(str::to_ascii_lowercase).as_deref() == Some(host);
        same && (!self.named || is_address(host))
    }

    fn lists(&self, origin: &str) -> bool {
        self.any
            || self.listed.iter().any(|listed| listed == origin)
            || (self.localhost && is_localhost(origin))
    }

    /// The request's origin. `null` (sandboxed pages, files) and nonsense are refused unless all are allowed.
    fn origin(&self, request: &Request) -> Result<Option<String>, BadOrigin> {
        let mut origins = request.headers.iter().filter(|(name, _)| name == "origin").map(|(_, v)| v);
        match (origins.next(), origins.next()) {
            (None, _) => Ok(None),
            (Some(origin), None) => match std::str::from_utf8(origin).map_err(|_| BadOrigin)? {
                "null" if self.any => Ok(Some("null".to_owned())),
                origin => normal(origin).map(Some).ok_or(BadOrigin),
            },
            _ => Err(BadOrigin),
        }
    }
}

fn allow(response: Response, origin: String) -> Response {
    response.header("Access-Control-Allow-Origin", origin).header("Vary", "Origin")
}

/// Whether an origin is this machine's, at any port.
fn is_localhost(origin: &str) -> bool {
    let host = origin.split_once("://").map_or("", |(_, host)| host);
    let port = |rest: &str| rest.is_empty() || rest.starts_with(':');
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|name| host.strip_prefix(name).is_some_and(port))
}

/// Whether a host, with or without a port, is an IP address or `localhost`: what no foreign DNS decides.
fn is_address(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let local = |name: &str| name == "localhost" || name.ends_with(".localhost");
    local(name)
        || host.parse::<IpAddr>().is_ok()
        || name.parse::<IpAddr>().is_ok()
        || is_v6(host)
        || is_v6(name)
}

fn is_v6(host: &str) -> bool {
    let inside = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    inside.is_some_and(|inside| inside.parse::<Ipv6Addr>().is_ok())
}

/// An origin in lower case, if it is one: no path, no user, nothing beyond host and port. Default ports are dropped.
fn normal(origin: &str) -> Option<String> {
    let origin = origin.to_ascii_lowercase();
    let (scheme, rest) = origin.split_once("://")?;
    let well_scheme =
        !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    let well_rest =
        !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
    if !well_scheme || !well_rest {
        return None;
    }
    let rest = match scheme {
        "http" => rest.strip_suffix(":80").unwrap_or(rest),
        "https" => rest.strip_suffix(":443").unwrap_or(rest),
        _ => rest,
    };
    Some(format!("{scheme}://{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head;

    fn request(method: &str, headers: &str) -> Request {
        let text = format!("{method} /v1/ws HTTP/1.1\r\nHost: gw.example:8080\r\n{headers}\r\n");
        head::parse(text.as_bytes()).unwrap().0
    }

    fn from(origin: &str) -> Request {
        request("GET", &format!("Origin: {origin}\r\n"))
    }

    #[test]
    fn only_listed_origins_and_our_own_pages_open_websockets() {
        let origins = Origins::new(["https://App.example", "http://localhost:3000"]).unwrap();
        for good in [
            "https://app.example",
            "https://app.example:443",
            "http://localhost:3000",
            "http://GW.example:8080",
        ] {
            assert!(origins.admits_websocket(&from(good)), "{good}");
        }
        for bad in [
            "http://app.example",
            "https://app.example:8443",
            "https://evil.app.example",
            "https://app.example.evil",
            "null",
            "https://app.example/",
            "https://user@app.example",
            "http://localhost",
            "",
            "gw.example:8080",
        ] {
            assert!(!origins.admits_websocket(&from(bad)), "{bad}");
        }
        assert!(origins.admits_websocket(&request("GET", "")));
        let two = request("GET", "Origin: https://app.example\r\nOrigin: https://evil.example\r\n");
        assert!(!origins.admits_websocket(&two));
        assert!(Origins::new(["*"]).unwrap().admits_websocket(&from("null")));
        assert_eq!(Origins::new(["app.example"]), Err(BadOrigin));
        assert_eq!(Origins::new(["https://app.example/x"]), Err(BadOrigin));
    }

    #[test]
    fn a_name_that_was_pointed_at_us_makes_no_page_our_own_where_names_are_not_believed() {
        let admits = |host: &str, origins: Origins| {
            let text = format!("GET /v1/ws HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n\r\n");
            origins.admits_websocket(&head::parse(text.as_bytes()).unwrap().0)
        };
        for own in ["127.0.0.1:8080", "192.168.1.2", "localhost:8080", "gw.localhost", "[::1]:8080", "[::1]"]
        {
            assert!(admits(own, Origins::default().without_names()), "{own}");
        }
        for evil in ["evil.example:8080", "localhost.evil.example", "1.evil.example", "xlocalhost"] {
            assert!(!admits(evil, Origins::default().without_names()), "{evil}");
            assert!(admits(evil, Origins::default()), "behind a name of its own, passwords protect it");
        }
        let listed = Origins::new(["http://gw.example:8080"]).unwrap().without_names();
        assert!(admits("gw.example:8080", listed));
    }

    #[test]
    fn pages_of_this_machine_are_allowed_at_every_port_where_the_gateway_is_tried() {
        let origins = Origins::default().with_localhost();
        for good in ["http://localhost:8000", "http://127.0.0.1:3000", "https://[::1]", "http://LOCALHOST"] {
            assert!(origins.admits_websocket(&from(good)), "{good}");
            assert!(!Origins::default().admits_websocket(&from(good)), "{good}");
        }
        for bad in
            ["http://localhost.evil.example", "http://127.0.0.1.evil.example", "http://evil.example", "null"]
        {
            assert!(!origins.admits_websocket(&from(bad)), "{bad}");
        }
    }

    #[test]
    fn preflights_are_answered_and_strangers_denied() {
        let origins = Origins::new(["https://app.example"]).unwrap();
        let ask = |origin: &str| {
            origins.cors(&request(
                "OPTIONS",
                &format!("Origin: {origin}\r\nAccess-Control-Request-Method: POST\r\n"),
            ))
        };
        let Cors::Preflight(response) = ask("https://app.example") else { panic!() };
        assert_eq!(response.status(), 204);
        assert!(response.headers.contains(&("Access-Control-Allow-Origin", "https://app.example".into())));
        assert!(response.headers.contains(&("Vary", "Origin".into())));
        assert!(matches!(ask("https://evil.example"), Cors::Denied(_)));
        assert_eq!(origins.cors(&request("GET", "")), Cors::Same);
        assert_eq!(origins.cors(&from("https://app.example")), Cors::Allowed);
        let granted = origins.grant(&from("https://app.example"), Response::new(200));
        assert!(granted.headers.contains(&("Access-Control-Allow-Origin", "https://app.example".into())));
        assert_eq!(origins.grant(&from("https://evil.example"), Response::new(200)), Response::new(200));
    }
}
