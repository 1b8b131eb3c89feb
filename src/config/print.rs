//! The effective configuration as TOML, secrets hidden.

use super::file::Strangers;
use super::file::{Dtls, LogFormat};
use super::{
    File, HeaderAct, HeaderRule, HeaderWay, IdentityAs, Meaning, Member, Probe, Rewrite, Route, Server,
    Transport, Trunk, Trusted,
};
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

    fn number(&mut self, key: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.raw(key, value);
        }
    }

    fn rewrite(&mut self, key: &str, value: Option<&Rewrite>) {
        let Some(rewrite) = value else { return };
        let mut parts = Vec::new();
        let mut add = |key: &str, value: &str| {
            if !value.is_empty() {
                parts.push(format!("{key} = {}", quoted(value)));
            }
        };
        add("country", rewrite.country.as_ref().map_or("", |country| country.get_ref()));
        add("national", &rewrite.national);
        add("international", &rewrite.international);
        add("find", rewrite.find.as_ref().map_or("", |find| find.get_ref()));
        add("replace", &rewrite.replace);
        add("prepend", &rewrite.prepend);
        if rewrite.strip > 0 {
            parts.push(format!("strip = {}", rewrite.strip));
        }
        self.raw(key, format_args!("{{ {} }}", parts.join(", ")));
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
    lines.maybe("tls_listen", file.sip.tls_listen);
    lines.maybe("tls_certificate", file.sip.tls_certificate.as_ref().map(|path| path.get_ref().display()));
    lines.maybe("tls_key", file.sip.tls_key.as_ref().map(|path| path.display()));
    lines.maybe("tls_client_ca", file.sip.tls_client_ca.as_ref().map(|path| path.get_ref().display()));
    lines.text("tls_ca", file.sip.tls_ca.display());
    lines.text("user_agent", &file.sip.user_agent);
    lines.raw("ban_after", file.sip.ban_after);
    lines.raw("ban_s", file.sip.ban_s);
    lines.text("strangers", if file.sip.strangers == Strangers::Ignore { "ignore" } else { "refuse" });
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
    lines.text("hold_music", file.calls.hold_music.get_ref());
    lines.raw("attach", list(file.calls.attach.iter().map(toml::Spanned::get_ref)));
    lines.table("[limits]");
    lines.raw("calls", file.limits.calls);
    lines.raw("sessions", file.limits.sessions);
    lines.raw("sessions_per_user", file.limits.sessions_per_user);
    lines.raw("calls_per_user", file.limits.calls_per_user);
    lines.raw("emergency_calls", file.limits.emergency_calls);
    lines.raw("connections", file.limits.connections);
    lines.raw("sip_connections", file.limits.sip_connections);
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
    lines.table("[phones]");
    lines.maybe("trunk", file.phones.trunk.as_ref().map(toml::Spanned::get_ref));
    lines.raw("domains", list(file.phones.domains.iter().map(toml::Spanned::get_ref)));
    lines.raw("transports", list(file.phones.transports.iter().map(toml::Spanned::get_ref)));
    lines.raw("udp_expires_s", file.phones.udp_expires_s.get_ref());
    lines.raw("keepalive_s", file.phones.keepalive_s.get_ref());
    lines.raw("limit", file.phones.limit);
    lines.table("[dns]");
    lines.raw("servers", list(&file.dns.servers));
    lines.text("resolv_conf", file.dns.resolv_conf.display());
    lines.text("hosts", file.dns.hosts.display());
    lines.raw("cache", file.dns.cache);
    lines.raw("stale_s", file.dns.stale_s);
}

fn server(server: &Server) -> String {
    let Server { address, weight, standby } = server;
    format!("{{ address = {}, weight = {weight}, standby = {standby} }}", quoted(address))
}

fn probe_table(probe: &Probe) -> String {
    let Probe { interval_s, timeout_s, down_after, up_after, alive } = probe;
    let alive = list(alive);
    format!(
        "{{ interval_s = {interval_s}, timeout_s = {timeout_s}, down_after = {down_after}, \
         up_after = {up_after}, alive = {alive} }}"
    )
}

fn trunks_and_users(lines: &mut Lines, file: &File) {
    for trunk in &file.trunk {
        lines.table("[[trunk]]");
        lines.text("name", trunk.name.get_ref());
        lines.maybe("address", trunk.address.as_ref());
        if !trunk.servers.is_empty() {
            lines.raw(
                "servers",
                format_args!("[{}]", trunk.servers.iter().map(server).collect::<Vec<_>>().join(", ")),
            );
        }
        lines.maybe("transport", trunk.transport.map(Transport::name));
        lines.raw("tcp_when_large", trunk.tcp_when_large);
        lines.maybe("ca", trunk.ca.as_ref().map(|path| path.get_ref().display()));
        lines.raw("failover_ms", trunk.failover_ms);
        lines.raw("avoid_s", trunk.avoid_s);
        if let Some(probe) = &trunk.probe {
            lines.raw("probe", probe_table(probe));
        }
        lines.some("domain", &trunk.domain);
        lines.some("username", &trunk.username);
        lines.secret("password", &trunk.password);
        lines.some("realm", &trunk.realm);
        lines.raw("accept", list(&trunk.accept));
        lines.raw("codecs", list(trunk.codecs.iter().map(toml::Spanned::get_ref)));
        lines.raw("shared_rtp_ports", trunk.shared_rtp_ports);
        lines.rewrite("dialled_as", trunk.dialled_as.as_ref());
        lines.number("max_calls", trunk.max_calls);
        lines.number("calls_per_second", trunk.calls_per_second.as_ref().map(toml::Spanned::get_ref));
        lines.text("reliable", trunk.reliable.name());
        lines.raw("session_expires_s", trunk.session_expires_s.get_ref());
        lines.raw("min_se_s", trunk.min_se_s.get_ref());
        lines.text("refresher", trunk.refresher.name());
        lines.text("refresh", trunk.refresh.name());
        lines.raw("delayed_offer", trunk.delayed_offer);
        lines.raw("early_media", trunk.early_media);
        lines.raw("bodies", list(trunk.bodies.iter().map(toml::Spanned::get_ref)));
        print_policy(lines, trunk);
        lines.text("redirects", trunk.redirects.name());
        if let Some(transfer) = trunk.transfer {
            lines.text("transfer", transfer.name());
        }
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
        print_route(lines, route);
    }
}

fn text(value: Option<&toml::Spanned<String>>) -> Option<&String> {
    value.map(toml::Spanned::get_ref)
}

fn print_policy(lines: &mut Lines, trunk: &Trunk) {
    let trust = match trunk.trust {
        Trusted::None => "none",
        Trusted::From => "from",
        Trusted::To => "to",
        Trusted::Both => "both",
    };
    lines.text("trust", trust);
    let identity = match trunk.identity_as {
        IdentityAs::Asserted => "asserted",
        IdentityAs::Preferred => "preferred",
        IdentityAs::RemoteParty => "remote-party",
    };
    lines.text("identity_as", identity);
    if !trunk.methods.is_empty() {
        lines.raw("methods", list(trunk.methods.iter().map(toml::Spanned::get_ref)));
    }
    lines.number("max_body", trunk.max_body.as_ref().map(toml::Spanned::get_ref));
    let rule = |rule: &HeaderRule| {
        let way = if rule.way == HeaderWay::In { "in" } else { "out" };
        let act = match rule.act {
            HeaderAct::Pass => "pass",
            HeaderAct::Remove => "remove",
            HeaderAct::Add => "add",
            HeaderAct::Rewrite => "rewrite",
        };
        let mut keys = vec![("way", way), ("name", rule.name.get_ref()), ("do", act), ("value", &rule.value)];
        keys.extend(rule.find.as_ref().map(|find| ("find", find.get_ref().as_str())));
        keys.push(("replace", &rule.replace));
        let keys = keys.into_iter().filter(|(_, value)| !value.is_empty());
        let keys: Vec<String> = keys.map(|(key, value)| format!("{key} = {}", quoted(value))).collect();
        format!("{{ {} }}", keys.join(", "))
    };
    if !trunk.headers.is_empty() {
        let rules: Vec<String> = trunk.headers.iter().map(rule).collect();
        lines.raw("headers", format_args!("[{}]", rules.join(", ")));
    }
    let reason = |(key, meaning): (&String, &toml::Spanned<Meaning>)| match meaning.get_ref() {
        Meaning::Cause(name) => format!("{} = {}", quoted(key), quoted(name)),
        Meaning::Code(code) => format!("{} = {code}", quoted(key)),
    };
    if !trunk.reasons.is_empty() {
        let reasons: Vec<String> = trunk.reasons.iter().map(reason).collect();
        lines.raw("reasons", format_args!("{{ {} }}", reasons.join(", ")));
    }
}

fn print_route(lines: &mut Lines, route: &Route) {
    lines.some("name", &route.name);
    lines.maybe("from", text(route.from.as_ref()));
    lines.some("number", &route.number);
    lines.maybe("number_regex", text(route.number_regex.as_ref()));
    lines.some("caller", &route.caller);
    lines.maybe("caller_regex", text(route.caller_regex.as_ref()));
    lines.maybe("header", text(route.header.as_ref()));
    lines.maybe("header_regex", text(route.header_regex.as_ref()));
    lines.maybe("days", text(route.days.as_ref()));
    lines.maybe("hours", text(route.hours.as_ref()));
    lines.maybe("zone", text(route.zone.as_ref()));
    lines.maybe("trunk", text(route.trunk.as_ref()));
    if !route.trunks.is_empty() {
        let member = |member: &Member| {
            let (name, priority, weight) = (quoted(member.trunk.get_ref()), member.priority, member.weight);
            format!("{{ trunk = {name}, priority = {priority}, weight = {weight} }}")
        };
        let members: Vec<String> = route.trunks.iter().map(member).collect();
        lines.raw("trunks", format_args!("[{}]", members.join(", ")));
    }
    lines.number("reject", route.reject.as_ref().map(toml::Spanned::get_ref));
    lines.number("reject_q850", route.reject_q850.as_ref().map(toml::Spanned::get_ref));
    lines.rewrite("rewrite_number", route.rewrite_number.as_ref());
    lines.rewrite("rewrite_caller", route.rewrite_caller.as_ref());
    for (key, codecs) in [("codecs", &route.codecs), ("deny_codecs", &route.deny_codecs)] {
        if !codecs.is_empty() {
            lines.raw(key, list(codecs.iter().map(toml::Spanned::get_ref)));
        }
    }
    lines.number("max_calls", route.max_calls);
    lines.number("calls_per_second", route.calls_per_second.as_ref().map(toml::Spanned::get_ref));
    lines.number("max_duration_s", route.max_duration_s);
    if route.emergency {
        lines.raw("emergency", true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::read;

    const ALL: &str = r#"
            [http]
            listen = "127.0.0.1:8443"
            certificate = "a \"b\".pem"
            key = "k.pem"
            [sip]
            tls_listen = "127.0.0.1:5061"
            tls_certificate = "sip.pem"
            tls_key = "sip.key"
            tls_client_ca = "clients.pem"
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
            tcp_when_large = false
            ca = "own.pem"
            username = "gw"
            password = "hush1"
            codecs = ["opus", "pcmu"]
            shared_rtp_ports = true
            accept = ["192.0.2.0/24"]
            dialled_as = { country = "49", national = "0" }
            max_calls = 7
            trust = "both"
            identity_as = "preferred"
            methods = ["INVITE"]
            max_body = 4000
            headers = [{ way = "in", name = "X-A", do = "rewrite", find = '\\d', replace = "$0" }]
            reasons = { 503 = "busy", busy = 600 }
            transfer = "pass"
            redirects = "follow"
            [[trunk]]
            name = "pair"
            servers = ["a.example", { address = "192.0.2.2:5061", weight = 3, standby = true }]
            failover_ms = 700
            avoid_s = 9
            probe = { interval_s = 5, alive = ["2xx", "404"] }
            [dns]
            servers = ["127.0.0.1:5353"]
            hosts = "/etc/other"
            stale_s = 60
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
            name = "night"
            caller = "a"
            caller_regex = "^a\\\\d"
            header = "X-T"
            hours = "22:00-06:00"
            zone = "+02:00"
            trunks = [{ trunk = "pbx", priority = 2 }]
            rewrite_number = { country = "49", national = "0", strip = 1, find = "1", prepend = "00" }
            codecs = ["pcma"]
            max_calls = 3
            calls_per_second = 2
            max_duration_s = 9
            emergency = true
            [[route]]
            reject = 404
            reject_q850 = 1
        "#;

    #[test]
    fn what_is_printed_reads_back_as_the_same_and_hides_secrets() {
        let printed = print(&read("a.toml", ALL).unwrap());
        assert!(!printed.contains("hush"), "{printed}");
        for part in [
            "listen = \"off\"",
            "a \\\"b\\\".pem",
            "rtp_ports = \"20000-20999\"",
            "reject = 404",
            "trunks = [\"pbx\"]",
            "{ address = \"192.0.2.2:5061\", weight = 3, standby = true }",
            "timeout_s = 4, down_after = 2, up_after = 1, alive = [\"2xx\", \"404\"]",
        ] {
            assert!(printed.contains(part), "{part} in {printed}");
        }
        assert_eq!(print(&read("b.toml", &printed).unwrap()), printed);
    }
}
