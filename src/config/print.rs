//! The effective configuration as TOML, secrets hidden.

use super::File;
use super::file::{Dtls, LogFormat};
use std::fmt::{Display, Write as _};

/// What stands for a secret.
const HIDDEN: &str = "(hidden)";

/// A string as TOML writes it: JSON's escapes are among TOML's.
fn quoted(text: impl Display) -> String {
    serde_json::Value::String(text.to_string()).to_string()
}

fn list<T: Display>(values: impl IntoIterator<Item = T>) -> String {
    let values: Vec<String> = values.into_iter().map(quoted).collect();
    format!("[{}]", values.join(", "))
}

/// Lines of `key = value` in tables.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn table(&mut self, head: &str) {
        let gap = if self.0.is_empty() { "" } else { "\n" };
        // A string takes everything, here and below.
        let _ = writeln!(self.0, "{gap}{head}");
    }

    fn raw(&mut self, key: &str, value: impl Display) {
        let _ = writeln!(self.0, "{key} = {value}");
    }

    fn text(&mut self, key: &str, value: impl Display) {
        self.raw(key, quoted(value));
    }

    fn maybe(&mut self, key: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    /// Only where it is set.
    fn some(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.text(key, value);
        }
    }

    fn secret(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.text(key, HIDDEN);
        }
    }
}

/// Writes it.
pub fn print(file: &File) -> String {
    let mut lines = Lines::default();
    servers(&mut lines, file);
    auth(&mut lines, file);
    bounds(&mut lines, file);
    trunks_and_users(&mut lines, file);
    lines.0
}

fn servers(lines: &mut Lines, file: &File) {
    lines.table("[http]");
    lines.text("listen", file.http.listen);
    lines.raw("origins", list(&file.http.origins));
    lines.maybe("certificate", file.http.certificate.as_ref().map(|path| path.get_ref().display()));
    lines.maybe("key", file.http.key.as_ref().map(|path| path.display()));
    lines.table("[sip]");
    lines.text("listen", file.sip.listen);
    lines.maybe("advertise", file.sip.advertise);
    lines.text("user_agent", &file.sip.user_agent);
    lines.table("[media]");
    lines.text("listen", file.media.listen);
    lines.maybe("advertise", file.media.advertise);
    lines.raw("web_listen", list(&file.media.web_listen));
    lines.raw("web_port", file.media.web_port);
    let ports = &file.media.rtp_ports;
    lines.text("rtp_ports", format_args!("{}-{}", ports.start(), ports.end()));
    lines.text(
        "dtls",
        match file.media.dtls {
            Dtls::Auto => "auto",
            Dtls::V12 => "1.2",
            Dtls::V13 => "1.3",
        },
    );
    lines.raw("io_uring", file.media.io_uring);
}

fn auth(lines: &mut Lines, file: &File) {
    let auth = &file.auth;
    if auth.jwt_secret.is_none() && auth.jwt_public_key.is_none() {
        return;
    }
    lines.table("[auth]");
    // Long enough to read back as one.
    lines.maybe("jwt_secret", auth.jwt_secret.as_ref().map(|_| format!("{HIDDEN:32}")));
    lines.maybe("jwt_public_key", auth.jwt_public_key.as_ref().map(|path| path.get_ref().display()));
    lines.maybe("audience", auth.audience.as_ref().map(toml::Spanned::get_ref));
    lines.maybe("issuer", auth.issuer.as_ref().map(toml::Spanned::get_ref));
    lines.raw("trunks", list(auth.trunks.iter().map(toml::Spanned::get_ref)));
}

fn bounds(lines: &mut Lines, file: &File) {
    lines.table("[calls]");
    lines.raw("ring_s", file.calls.ring_s);
    lines.raw("first_reply_s", file.calls.first_reply_s);
    lines.raw("drain_s", file.calls.drain_s);
    lines.raw("browser_grace_s", file.calls.browser_grace_s);
    lines.raw("signalling_grace_s", file.calls.signalling_grace_s);
    lines.raw("media_timeout_s", file.calls.media_timeout_s);
    lines.raw("attach", list(file.calls.attach.iter().map(toml::Spanned::get_ref)));
    lines.table("[limits]");
    lines.raw("calls", file.limits.calls);
    lines.raw("sessions", file.limits.sessions);
    lines.raw("sessions_per_user", file.limits.sessions_per_user);
    lines.raw("connections", file.limits.connections);
    lines.raw("load", file.limits.load.get_ref());
    lines.table("[admin]");
    lines.text("listen", file.admin.listen.map_or_else(|| "off".to_owned(), |address| address.to_string()));
    lines.table("[log]");
    lines.text("level", file.log.level.name());
    lines.text("format", if file.log.format == LogFormat::Json { "json" } else { "text" });
    lines.table("[trace]");
    lines.raw("enabled", file.trace.enabled);
    lines.raw("entries", file.trace.entries);
    lines.raw("calls", file.trace.calls);
}

fn trunks_and_users(lines: &mut Lines, file: &File) {
    for trunk in &file.trunk {
        lines.table("[[trunk]]");
        lines.text("name", trunk.name.get_ref());
        lines.text("address", trunk.address);
        lines.text("transport", trunk.transport.name());
        lines.some("domain", &trunk.domain);
        lines.some("username", &trunk.username);
        lines.secret("password", &trunk.password);
        lines.some("realm", &trunk.realm);
        lines.raw("accept", list(&trunk.accept));
        lines.raw("codecs", list(trunk.codecs.iter().map(toml::Spanned::get_ref)));
        lines.raw("shared_rtp_ports", trunk.shared_rtp_ports);
    }
    for user in &file.user {
        lines.table("[[user]]");
        lines.text("name", user.name.get_ref());
        lines.secret("password", &user.password);
        lines.maybe("trunk", user.trunk.as_ref().map(toml::Spanned::get_ref));
        lines.some("sip_user", &user.sip_user);
        lines.some("sip_username", &user.sip_username);
        lines.secret("sip_password", &user.sip_password);
    }
    for secret in &file.secret {
        lines.table("[[secret]]");
        lines.text("name", secret.name.get_ref());
        lines.text("trunk", secret.trunk.get_ref());
        lines.secret("password", &secret.password);
    }
    for route in file.route.iter().map(toml::Spanned::get_ref) {
        lines.table("[[route]]");
        lines.maybe("from", route.from.as_ref().map(toml::Spanned::get_ref));
        lines.some("number", &route.number);
        lines.maybe("trunk", route.trunk.as_ref().map(toml::Spanned::get_ref));
        if let Some(code) = &route.reject {
            lines.raw("reject", code.get_ref());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::read;

    #[test]
    fn what_is_printed_reads_back_as_the_same_and_hides_secrets() {
        let text = r#"
            [http]
            listen = "127.0.0.1:8443"
            certificate = "a \"b\".pem"
            key = "k.pem"
            [media]
            rtp_ports = "20000-20999"
            dtls = "1.3"
            [admin]
            listen = "off"
            [log]
            level = "warn"
            format = "json"
            [[trunk]]
            name = "pbx"
            address = "127.0.0.1:5070"
            transport = "tls"
            username = "gw"
            password = "hush1"
            codecs = ["opus", "pcmu"]
            shared_rtp_ports = true
            [[user]]
            name = "alice"
            password = "hush2"
            sip_password = "hush3"
            trunk = "pbx"
            [auth]
            jwt_secret = "hush4 of thirty-two bytes at least"
            audience = "phone"
            trunks = ["pbx"]
            [[secret]]
            name = "pool"
            trunk = "pbx"
            password = "hush5"
            [[route]]
            from = "users"
            number = "+49"
            trunk = "pbx"
            [[route]]
            reject = 404
        "#;
        let printed = print(&read("a.toml", text).unwrap());
        assert!(!printed.contains("hush"), "{printed}");
        for part in [
            "listen = \"off\"",
            "a \\\"b\\\".pem",
            "rtp_ports = \"20000-20999\"",
            "reject = 404",
            "trunks = [\"pbx\"]",
        ] {
            assert!(printed.contains(part), "{part} in {printed}");
        }
        assert_eq!(print(&read("b.toml", &printed).unwrap()), printed);
    }
}
