//! A stateless proxy (RFC 3261 section 16.11) in front of the registrar's users: what the gateway sends to one of them
//! comes back to it.

use super::Phone;
use crate::net::{Datagram, Net, gateway_sip};

/// What our branches begin with; the rest is the branch that came in, so that what comes again goes on the same.
const BRANCH: &str = "z9hG4bKpx";

fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.strip_prefix(name)?.strip_prefix(':').map(str::trim)
}

impl Phone {
    /// Passes a message on. False where it is for us.
    pub(super) fn forward(&mut self, net: &mut Net, datagram: &Datagram) -> bool {
        let Ok(text) = String::from_utf8(datagram.data.clone()) else { return false };
        let written = if text.starts_with("SIP/2.0 ") { Self::back(&text) } else { self.onward(net, &text) };
        let Some(written) = written else { return false };
        net.send(self.sip(), gateway_sip(), written.into_bytes());
        true
    }

    /// A response: our Via comes off.
    fn back(text: &str) -> Option<String> {
        let via = text.lines().find(|line| line.starts_with("Via:"))?;
        let ours = via.contains(&format!("branch={BRANCH}"));
        ours.then(|| text.replacen(&format!("{via}\r\n"), "", 1))
    }

    /// A request: to whom the route says, else to where the user is registered.
    fn onward(&self, net: &Net, text: &str) -> Option<String> {
        let (first, rest) = text.split_once("\r\n")?;
        let (head, body) = rest.split_once("\r\n\r\n")?;
        let (method, uri) = first.strip_suffix(" SIP/2.0")?.split_once(' ')?;
        let route = format!("<sip:{};lr>", self.sip());
        let routed = head.lines().any(|line| field(line, "Route") == Some(&route));
        let user = uri.strip_prefix("sip:")?.split('@').next()?;
        let contact = match self.forwards.get(user) {
            Some(user) => Some(self.registrar.as_ref()?.contact(net.now.instant, user)?),
            None => None,
        };
        let target = if routed { uri.to_owned() } else { contact? };
        let branch = head.lines().find_map(|line| field(line, "Via")?.split("branch=").nth(1))?;
        let branch = branch.split(';').next()?;
        let mut lines = vec![
            format!("{method} {target} SIP/2.0"),
            format!("Via: SIP/2.0/UDP {};branch={BRANCH}{branch}", self.sip()),
        ];
        if method == "INVITE" && !routed {
            lines.push(format!("Record-Route: {route}"));
        }
        for line in head.lines().filter(|line| field(line, "Route").is_none()) {
            lines.push(match field(line, "Max-Forwards").and_then(|hops| hops.parse::<u8>().ok()) {
                Some(hops) => format!("Max-Forwards: {}", hops.checked_sub(1)?),
                None => line.to_owned(),
            });
        }
        Some(format!("{}\r\n\r\n{body}", lines.join("\r\n")))
    }
}
