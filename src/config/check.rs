//! Reading a file, and what its keys say about each other.

use super::route::{CLASSES, Route, Wrong};
use super::{Error, File, Trunk};
use crate::leg::Attach;
use std::path::Path;
use toml::Spanned;

/// Codecs that the gateway forwards, as `codecs` names them.
pub(super) const CODECS: &[&str] = &["opus", "g722", "pcmu", "pcma"];

/// Reads a configuration. `file` is its name in errors.
pub fn read(file: &str, text: &str) -> Result<File, Error> {
    let mut parsed: File = toml::from_str(text).map_err(|error| Error::from_toml(file, text, &error))?;
    parsed.beside(Path::new(file));
    Check { file, text, parsed: &parsed }.all()?;
    Ok(parsed)
}

struct Check<'a> {
    file: &'a str,
    text: &'a str,
    parsed: &'a File,
}

impl Check<'_> {
    fn wrong<T>(&self, value: &Spanned<T>, what: String) -> Error {
        Error::at(self.file, self.text, value.span().start, what)
    }

    fn all(&self) -> Result<(), Error> {
        self.certificate()?;
        self.sip_tls()?;
        self.limits()?;
        self.attach()?;
        self.hold_music()?;
        self.auth()?;
        self.trunks()?;
        self.users()?;
        self.secrets()?;
        self.phones()?;
        self.routes()
    }

    fn certificate(&self) -> Result<(), Error> {
        match (&self.parsed.http.certificate, &self.parsed.http.key) {
            (Some(certificate), None) => {
                Err(self.wrong(certificate, "certificate: it needs its key; add key = \"FILE\"".into()))
            }
            (None, Some(_)) => {
                let what = "key: in [http] there is a key and no certificate; add certificate = \"FILE\"";
                Err(Error::whole(self.file, what))
            }
            _ => Ok(()),
        }
    }

    fn sip_tls(&self) -> Result<(), Error> {
        let sip = &self.parsed.sip;
        match (&sip.tls_certificate, &sip.tls_key) {
            (Some(certificate), None) => {
                let what = "tls_certificate: it needs its key; add tls_key = \"FILE\"";
                return Err(self.wrong(certificate, what.into()));
            }
            (None, Some(_)) => {
                let what =
                    "tls_key: in [sip] there is a key and no certificate; add tls_certificate = \"FILE\"";
                return Err(Error::whole(self.file, what));
            }
            _ => {}
        }
        if sip.tls_listen.is_some() && sip.tls_certificate.is_none() {
            let what =
                "tls_listen: SIP over TLS needs a certificate; add tls_certificate and tls_key to [sip]";
            return Err(Error::whole(self.file, what));
        }
        match &sip.tls_client_ca {
            Some(path) if sip.tls_listen.is_none() => {
                let what = "tls_client_ca: nothing listens for TLS; add tls_listen = \"ADDR:5061\"".into();
                Err(self.wrong(path, what))
            }
            _ => Ok(()),
        }
    }

    fn limits(&self) -> Result<(), Error> {
        let load = &self.parsed.limits.load;
        if *load.get_ref() > 100 {
            let what = format!("load: {} is no percentage; use 1 to 100, or 0 for no limit", load.get_ref());
            return Err(self.wrong(load, what));
        }
        Ok(())
    }

    fn hold_music(&self) -> Result<(), Error> {
        let music = &self.parsed.calls.hold_music;
        let wrong = |what| self.wrong(music, format!("hold_music: {what}"));
        super::plan::hold_music(music.get_ref()).map(drop).map_err(wrong)
    }

    fn attach(&self) -> Result<(), Error> {
        for entry in &self.parsed.calls.attach {
            if Attach::new([entry.get_ref().as_str()]).is_err() {
                let what = format!(
                    "attach: {:?} can't be attached; name User-to-User, an X- header, or a beginning like \"X-Genesys-*\"",
                    entry.get_ref()
                );
                return Err(self.wrong(entry, what));
            }
        }
        Ok(())
    }

    fn auth(&self) -> Result<(), Error> {
        let auth = &self.parsed.auth;
        if let Some(secret) = auth.jwt_secret.as_ref().filter(|secret| secret.get_ref().len() < 32) {
            // RFC 7518 section 3.2: as long as the hash at least.
            let what = "jwt_secret: a short secret can be guessed; use 32 bytes or more".into();
            return Err(self.wrong(secret, what));
        }
        if auth.jwt_secret.is_none() && auth.jwt_public_key.is_none() {
            let first = [("audience", auth.audience.as_ref()), ("issuer", auth.issuer.as_ref())]
                .into_iter()
                .chain(auth.trunks.first().map(|trunk| ("trunks", Some(trunk))))
                .find_map(|(key, value)| Some((key, value?)));
            let fix = "no token can be checked; add jwt_secret = \"SECRET\" or jwt_public_key = \"FILE\"";
            return match first {
                Some((key, value)) => Err(self.wrong(value, format!("{key}: {fix}"))),
                None => Ok(()),
            };
        }
        if let Some(path) = &auth.jwt_public_key
            && let Err(what) = super::plan::public_key(path.get_ref())
        {
            return Err(self.wrong(path, format!("jwt_public_key: {what}")));
        }
        auth.trunks.iter().try_for_each(|trunk| self.trunk_exists(trunk, "trunks"))
    }

    fn secrets(&self) -> Result<(), Error> {
        for (n, secret) in self.parsed.secret.iter().enumerate() {
            let name = secret.name.get_ref();
            if self.parsed.secret[..n].iter().any(|other| other.name.get_ref() == name) {
                let what = format!("name: there are two secrets {name:?}; rename one");
                return Err(self.wrong(&secret.name, what));
            }
            self.trunk_exists(&secret.trunk, "trunk")?;
            let trunks = &self.parsed.auth.trunks;
            if !trunks.iter().any(|trunk| trunk.get_ref() == secret.trunk.get_ref()) {
                let trunk = secret.trunk.get_ref();
                let what = format!("trunk: tokens may not name {trunk:?}; add it to trunks in [auth]");
                return Err(self.wrong(&secret.trunk, what));
            }
        }
        Ok(())
    }

    fn trunks(&self) -> Result<(), Error> {
        for (n, trunk) in self.parsed.trunk.iter().enumerate() {
            let name = trunk.name.get_ref();
            if name.is_empty() || name.contains(':') || CLASSES.contains(&name.as_str()) {
                let what = format!("name: {name:?} can't be a trunk's name; choose another");
                return Err(self.wrong(&trunk.name, what));
            }
            if self.parsed.trunk[..n].iter().any(|other| other.name.get_ref() == name) {
                return Err(
                    self.wrong(&trunk.name, format!("name: there are two trunks {name:?}; rename one"))
                );
            }
            if let Some(ca) = trunk.ca.as_ref().filter(|_| !trunk.may_be_tls()) {
                let what = "ca: only a trunk over TLS shows a certificate; add transport = \"tls\"".into();
                return Err(self.wrong(ca, what));
            }
            if let Some(what) = trunk.server_fault() {
                return Err(self.wrong(&trunk.name, what));
            }
            trunk_limits(trunk).map_err(|wrong| self.at(&wrong))?;
            super::dialogs::check(trunk).map_err(|wrong| self.at(&wrong))?;
        }
        Ok(())
    }

    fn users(&self) -> Result<(), Error> {
        for (n, user) in self.parsed.user.iter().enumerate() {
            let name = user.name.get_ref();
            if name.is_empty() || name.chars().any(|c| c.is_control() || c.is_whitespace()) {
                let what = format!("name: {name:?} can't be a user's name; use letters and digits");
                return Err(self.wrong(&user.name, what));
            }
            if self.parsed.user[..n].iter().any(|other| other.name.get_ref() == name) {
                return Err(self.wrong(&user.name, format!("name: there are two users {name:?}; rename one")));
            }
            if let Some(trunk) = &user.trunk {
                self.trunk_exists(trunk, "trunk")?;
            }
        }
        Ok(())
    }

    fn routes(&self) -> Result<(), Error> {
        let plans = self.parsed.route.iter().map(|route| Route::plan(route, self.parsed));
        plans.map(|plan| plan.map(drop)).try_for_each(|plan| plan.map_err(|wrong| self.at(&wrong)))
    }

    fn at(&self, wrong: &Wrong) -> Error {
        Error::at(self.file, self.text, wrong.at, wrong.what.as_str())
    }

    fn phones(&self) -> Result<(), Error> {
        if let Some(trunk) = &self.parsed.phones.trunk {
            self.trunk_exists(trunk, "trunk")?;
        }
        match super::phones::wrong(self.parsed) {
            Some((span, what)) => Err(Error::at(self.file, self.text, span.start, what)),
            None => Ok(()),
        }
    }

    fn trunk_exists(&self, name: &Spanned<String>, key: &str) -> Result<(), Error> {
        super::route::trunk(self.parsed, name, key).map(drop).map_err(|wrong| self.at(&wrong))
    }
}

fn trunk_limits(trunk: &Trunk) -> Result<(), Wrong> {
    super::route::codecs(&trunk.codecs, "codecs")?;
    super::trunk::policy(trunk)?;
    super::route::rate(trunk.calls_per_second.as_ref())?;
    trunk.dialled_as.as_ref().map(|plan| plan.plan("dialled_as")).transpose()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        read("b.toml", text).unwrap_err().to_string()
    }

    #[test]
    fn reads_a_whole_file() {
        let text = r#"
            [http]
            listen = "127.0.0.1:0"
            [media]
            rtp_ports = "20000-20999"
            dtls = "1.3"
            [[trunk]]
            name = "pbx"
            address = "127.0.0.1:5070"
            codecs = ["opus", "pcmu"]
            [[user]]
            name = "alice"
            password = "secret"
            trunk = "pbx"
            [[route]]
            from = "users"
            number = "+49"
            trunk = "pbx"
            [[route]]
            reject = 404
        "#;
        let file = read("b.toml", text).unwrap();
        assert_eq!(file.media.rtp_ports, 20000..=20999);
        assert_eq!(file.user[0].name.get_ref(), "alice");
    }

    #[test]
    fn an_empty_file_listens_on_loopback_only() {
        let file = read("b.toml", "").unwrap();
        assert!(file.http.listen.ip().is_loopback() && file.sip.listen.ip().is_loopback());
        assert!(file.media.listen.is_loopback() && file.trunk.is_empty());
    }

    #[test]
    fn errors_name_file_line_key_and_fix() {
        let cases = [
            ("[http]\nlisen = \"x\"", &["b.toml:2:", "lisen", "listen"][..]),
            ("\n[sip]\nlisten = \"5060\"", &["b.toml:3:", "listen", "127.0.0.1:5060"]),
            ("[sip]\nlisten = \"10.0.0.1\"", &["b.toml:2:", "10.0.0.1:5060"]),
            ("[media]\nrtp_ports = \"9-1\"", &["b.toml:2:", "rtp_ports", "16384-32767"]),
            ("[media]\ndtls = \"1.1\"", &["b.toml:2:", "dtls", "1.2"]),
            ("[calls]\nring_s = \"x\"", &["b.toml:2:", "ring_s"]),
            ("[[user]]\nname=\"a\"\npassword=\"\"\ntrunk=\"x\"", &["b.toml:4:", "trunk", "\"x\"", "none"]),
            ("[[route]]\nreject = 200", &["b.toml:2:", "reject", "400 to 699"]),
            ("[[trunk]]\nname=\"users\"\naddress=\"127.0.0.1:1\"", &["b.toml:2:", "name"]),
            ("[[trunk]]\naddress=\"127.0.0.1:1\"", &["b.toml:1:", "name"]),
            (
                "[[trunk]]\nname=\"a\"\naddress=\"127.0.0.1:1\"\ntransport=\"sctp\"",
                &["b.toml:4:", "transport", "udp"],
            ),
            (
                "[[trunk]]\nname=\"a\"\naddress=\"127.0.0.1:1\"\nmin_se_s = 60",
                &["b.toml:4:", "min_se_s", "90 or more"],
            ),
            (
                "[[trunk]]\nname=\"a\"\naddress=\"127.0.0.1:1\"\nsession_expires_s = 60",
                &["b.toml:4:", "session_expires_s", "write 0"],
            ),
            (
                "[[trunk]]\nname=\"a\"\naddress=\"127.0.0.1:1\"\nbodies = [\"isup\"]",
                &["b.toml:4:", "bodies", "\"isup\"", "application/pidf+xml"],
            ),
            (
                "[[trunk]]\nname=\"a\"\naddress=\"127.0.0.1:1\"\nreliable = \"on\"",
                &["b.toml:4:", "reliable", "supported"],
            ),
            (
                "[[trunk]]\nname=\"a\"\naddress=\"127.0.0.1:1\"\nca=\"c\"",
                &["b.toml:4:", "ca", "transport = "],
            ),
            ("[sip]\ntls_listen=\"127.0.0.1:1\"", &["b.toml:", "tls_listen", "tls_certificate"]),
            ("[sip]\ntls_certificate=\"c\"", &["b.toml:2:", "tls_certificate", "tls_key = "]),
            ("[sip]\ntls_key=\"c\"", &["b.toml:", "tls_key", "tls_certificate = "]),
            ("[sip]\ntls_client_ca=\"c\"", &["b.toml:2:", "tls_client_ca", "tls_listen = "]),
            ("[limits]\nload = 101", &["b.toml:2:", "load", "1 to 100"]),
            ("[http]\ncertificate = \"c.pem\"", &["b.toml:2:", "certificate", "key = "]),
            ("[http]\nkey = \"k.pem\"", &["b.toml:", "key", "certificate = "]),
            ("[[route]]\nreject = 404\n[[route]]\nnumber = \"0\"", &["b.toml:3:", "route", "trunk = "]),
            (
                "[[trunk]]\nname=\"a\"\naddress=\"127.0.0.1:1\"\ntransfer=\"yes\"",
                &["b.toml:4:", "transfer", "local", "pass", "refuse"],
            ),
            ("[calls]\nhold_music = \"/no/m.wav\"", &["b.toml:2:", "hold_music", "/no/m.wav", "melody"]),
            ("[http", &["b.toml:1:"]),
            ("[auth]\njwt_secret = \"short\"", &["b.toml:2:", "jwt_secret", "32 bytes"]),
            ("[auth]\naudience = \"a\"", &["b.toml:2:", "audience", "jwt_secret = "]),
            ("[auth]\n\nissuer = \"a\"", &["b.toml:3:", "issuer", "jwt_public_key = "]),
            ("[auth]\ntrunks = [\"a\"]", &["b.toml:2:", "trunks", "jwt_secret = "]),
            ("[auth]\nsecret = \"a\"", &["b.toml:2:", "secret", "jwt_secret"]),
            ("[auth]\njwt_public_key = \"/no/k.pem\"", &["b.toml:2:", "jwt_public_key", "/no/k.pem", "PEM"]),
            ("[[secret]]\nname=\"a\"\npassword=\"b\"\ntrunk=\"x\"", &["b.toml:4:", "trunk", "none"]),
        ];
        for (text, parts) in cases {
            let said = error(text);
            assert!(!said.contains('\n'), "{said}");
            for part in parts {
                assert!(said.contains(part), "{said:?} lacks {part:?}");
            }
        }
    }

    #[test]
    fn a_secret_that_is_no_text_is_not_repeated() {
        for (text, key) in [
            ("[[user]]\nname = \"a\"\npassword = 271828", "password"),
            ("[[user]]\nname = \"a\"\nsip_password = 271828", "sip_password"),
            ("[auth]\n\njwt_secret = 271828", "jwt_secret"),
            ("[[user]]\nname = \"a\"\npassword = 271828 # quotes are missing, [271828]", "password"),
            ("[[user]]\n\npassword = \"271828", "password"),
        ] {
            let said = error(text);
            assert!(said.contains("b.toml:3:") && said.contains(key) && !said.contains("271828"), "{said}");
        }
    }

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn what_tokens_may_name_is_known() {
        let auth = format!("[auth]\njwt_secret = \"{SECRET}\"\n");
        let pbx = "[[trunk]]\nname = \"pbx\"\naddress = \"127.0.0.1:5070\"\n";
        let secret = "[[secret]]\nname = \"pool\"\ntrunk = \"pbx\"\npassword = \"p\"\n";
        let said = error(&format!("{auth}trunks = [\"pbx\", \"x\"]\n{pbx}"));
        assert!(
            said.contains("b.toml:3:") && said.contains("trunks") && said.contains("known: pbx"),
            "{said}"
        );
        let said = error(&format!("{auth}{pbx}{secret}"));
        assert!(said.contains("b.toml:8:") && said.contains("add it to trunks in [auth]"), "{said}");
        let said = error(&format!("{auth}trunks = [\"pbx\"]\n{pbx}{secret}{secret}"));
        assert!(said.contains("b.toml:12:") && said.contains("two secrets \"pool\""), "{said}");
        let file = read("b.toml", &format!("{auth}trunks = [\"pbx\"]\n{pbx}{secret}")).unwrap();
        assert_eq!(file.secret[0].password, "p");
    }

    /// A folder of this test's own, gone with it.
    struct Folder(std::path::PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn files_are_found_beside_the_configuration_wherever_it_is_read_from() {
        let folder = Folder(std::env::temp_dir().join(format!("bridgehead-config-{}", std::process::id())));
        std::fs::create_dir_all(&folder.0).unwrap();
        let config = folder.0.join("b.toml");
        let config = config.to_str().unwrap();
        let text =
            "[auth]\njwt_public_key = \"key.pem\"\n[http]\ncertificate = \"c.pem\"\nkey = \"/etc/k.pem\"";
        let said = read(config, text).unwrap_err().to_string();
        let key = folder.0.join("key.pem").display().to_string();
        assert!(said.contains("b.toml:2: jwt_public_key: ") && said.contains(&key), "{said}");
        std::fs::write(&key, "-----BEGIN CERTIFICATE-----").unwrap();
        let said = read(config, text).unwrap_err().to_string();
        assert!(said.contains("b.toml:2:") && said.contains("openssl pkey -pubout"), "{said}");
        // A P-256 key (RFC 5480), its point of no matter here.
        let der = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEAAAA";
        std::fs::write(&key, format!("-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----\n"))
            .unwrap();
        let file = read(config, text).unwrap();
        assert_eq!(file.http.certificate.unwrap().get_ref(), &folder.0.join("c.pem"));
        assert_eq!(file.http.key.unwrap().to_str(), Some("/etc/k.pem"), "one from the root stays");
    }
}
