//! Descriptions into text, in the order that RFC 8866 section 5 asks for.

use super::media::{Attribute, Fingerprint, Ice, Media};
use super::session::{Bandwidth, Connection, Session};
use std::fmt::{self, Write};

/// What may end a line early never gets in: one space stands for it.
struct Clean<'a>(&'a mut Vec<u8>);

impl Write for Clean<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend(text.bytes().map(|byte| if matches!(byte, b'\r' | b'\n' | 0) { b' ' } else { byte }));
        Ok(())
    }
}

/// Where lines go.
struct Out<'a>(&'a mut Vec<u8>);

impl Out<'_> {
    fn line(&mut self, args: fmt::Arguments<'_>) {
        // Writing to a Vec can't fail.
        let _ = Clean(self.0).write_fmt(args);
        self.0.extend_from_slice(b"\r\n");
    }

    fn flag(&mut self, name: &str, set: bool) {
        if set {
            self.line(format_args!("a={name}"));
        }
    }

    fn option(&mut self, start: &str, value: Option<impl fmt::Display>) {
        if let Some(value) = value {
            self.line(format_args!("{start}{value}"));
        }
    }

    fn connection(&mut self, connection: Option<&Connection>) {
        let Some(Connection { address, ttl, count }) = connection else { return };
        let _ = write!(Clean(self.0), "c=IN {address}");
        if let Some(ttl) = ttl {
            let _ = write!(Clean(self.0), "/{ttl}");
        }
        if let Some(count) = count {
            let _ = write!(Clean(self.0), "/{count}");
        }
        self.0.extend_from_slice(b"\r\n");
    }

    fn bandwidths(&mut self, bandwidths: &[Bandwidth]) {
        for Bandwidth { kind, value } in bandwidths {
            self.line(format_args!("b={kind}:{value}"));
        }
    }

    fn ice(&mut self, ice: &Ice) {
        self.option("a=ice-ufrag:", ice.ufrag.as_ref());
        self.option("a=ice-pwd:", ice.pwd.as_ref());
        if !ice.options.is_empty() {
            self.line(format_args!("a=ice-options:{}", Spaced(&ice.options)));
        }
    }

    fn fingerprints(&mut self, fingerprints: &[Fingerprint]) {
        for Fingerprint { hash, digest } in fingerprints {
            self.line(format_args!("a=fingerprint:{hash} {}", Colons(digest)));
        }
    }

    fn other(&mut self, attributes: &[Attribute]) {
        for Attribute { name, value } in attributes {
            match value {
                Some(value) => self.line(format_args!("a={name}:{value}")),
                None => self.line(format_args!("a={name}")),
            }
        }
    }
}

struct Spaced<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for Spaced<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, item) in self.0.iter().enumerate() {
            write!(f, "{}{item}", if n > 0 { " " } else { "" })?;
        }
        Ok(())
    }
}

struct Colons<'a>(&'a [u8]);

impl fmt::Display for Colons<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02X}", if n > 0 { ":" } else { "" })?;
        }
        Ok(())
    }
}

impl Session {
    /// Appends the description, lines ended by CRLF.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut out = Out(out);
        out.line(format_args!("v=0"));
        let o = &self.origin;
        out.line(format_args!("o={} {} {} IN {}", o.user, o.id, o.version, o.address));
        out.line(format_args!("s={}", if self.name.is_empty() { "-" } else { &self.name }));
        out.option("i=", self.information.as_ref());
        out.option("u=", self.uri.as_ref());
        self.emails.iter().for_each(|email| out.line(format_args!("e={email}")));
        self.phones.iter().for_each(|phone| out.line(format_args!("p={phone}")));
        out.connection(self.connection.as_ref());
        out.bandwidths(&self.bandwidths);
        if self.timings.is_empty() {
            out.line(format_args!("t=0 0"));
        }
        for timing in &self.timings {
            out.line(format_args!("t={} {}", timing.start, timing.stop));
            timing.repeats.iter().for_each(|repeat| out.line(format_args!("r={repeat}")));
        }
        out.option("z=", self.zone.as_ref());
        for group in &self.groups {
            let space = if group.mids.is_empty() { "" } else { " " };
            out.line(format_args!("a=group:{}{space}{}", group.semantics, Spaced(&group.mids)));
        }
        out.flag("ice-lite", self.ice_lite);
        out.ice(&self.ice);
        out.fingerprints(&self.fingerprints);
        out.option("a=setup:", self.setup.map(super::Setup::as_str));
        out.flag("extmap-allow-mixed", self.extmap_allow_mixed);
        out.option("a=", self.direction.map(super::Direction::as_str));
        out.other(&self.other);
        self.media.iter().for_each(|media| media.write(&mut out));
    }
}

impl Media {
    fn write(&self, out: &mut Out<'_>) {
        let (kind, port, protocol) = (self.kind.as_str(), self.port, self.protocol.as_str());
        let _ = write!(Clean(out.0), "m={kind} {port}");
        if self.ports > 1 {
            let _ = write!(Clean(out.0), "/{}", self.ports);
        }
        let _ = write!(Clean(out.0), " {protocol}");
        if !self.payloads.is_empty() {
            let _ = write!(Clean(out.0), " {}", Spaced(&self.payloads));
        }
        if !self.formats.is_empty() {
            let _ = write!(Clean(out.0), " {}", Spaced(&self.formats));
        }
        out.0.extend_from_slice(b"\r\n");
        out.option("i=", self.information.as_ref());
        out.connection(self.connection.as_ref());
        out.bandwidths(&self.bandwidths);
        self.write_transport(out);
        self.write_formats(out);
        for ssrc in &self.ssrcs {
            let space = if ssrc.attribute.is_empty() { "" } else { " " };
            out.line(format_args!("a=ssrc:{}{space}{}", ssrc.id, ssrc.attribute));
        }
        out.other(&self.other);
    }

    fn write_transport(&self, out: &mut Out<'_>) {
        if let Some(rtcp) = &self.rtcp {
            match &rtcp.address {
                Some(address) => out.line(format_args!("a=rtcp:{} IN {address}", rtcp.port)),
                None => out.line(format_args!("a=rtcp:{}", rtcp.port)),
            }
        }
        out.ice(&self.ice);
        self.candidates.iter().for_each(|candidate| out.line(format_args!("a=candidate:{candidate}")));
        out.flag("end-of-candidates", self.end_of_candidates);
        out.fingerprints(&self.fingerprints);
        out.option("a=setup:", self.setup.map(super::Setup::as_str));
        for crypto in &self.cryptos {
            out.line(format_args!("a=crypto:{} {} {}", crypto.tag, crypto.suite, crypto.keys));
        }
        out.option("a=mid:", self.mid.as_ref());
        out.flag("bundle-only", self.bundle_only);
        for extmap in &self.extmaps {
            let slash = if extmap.direction.is_some() { "/" } else { "" };
            let direction = extmap.direction.map_or("", super::Direction::as_str);
            out.line(format_args!("a=extmap:{}{slash}{direction} {}", extmap.id, extmap.uri));
        }
        out.flag("extmap-allow-mixed", self.extmap_allow_mixed);
        out.option("a=", self.direction.map(super::Direction::as_str));
        self.msids.iter().for_each(|msid| out.line(format_args!("a=msid:{msid}")));
        out.flag("rtcp-mux", self.rtcp_mux);
        out.flag("rtcp-mux-only", self.rtcp_mux_only);
        out.flag("rtcp-rsize", self.rtcp_rsize);
    }

    fn write_formats(&self, out: &mut Out<'_>) {
        for map in &self.rtpmaps {
            let _ = write!(Clean(out.0), "a=rtpmap:{} {}/{}", map.payload, map.name, map.clock);
            if map.channels != 1 {
                let _ = write!(Clean(out.0), "/{}", map.channels);
            }
            out.0.extend_from_slice(b"\r\n");
        }
        for feedback in &self.feedback {
            match feedback.payload {
                Some(payload) => out.line(format_args!("a=rtcp-fb:{payload} {}", feedback.value)),
                None => out.line(format_args!("a=rtcp-fb:* {}", feedback.value)),
            }
        }
        for fmtp in &self.fmtps {
            out.line(format_args!("a=fmtp:{} {}", fmtp.payload, fmtp.value));
        }
        out.option("a=ptime:", self.ptime_ms);
        out.option("a=maxptime:", self.maxptime_ms);
    }
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Vec::with_capacity(1024);
        self.write(&mut out);
        f.write_str(&String::from_utf8_lossy(&out))
    }
}
