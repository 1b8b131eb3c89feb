//! Reading a file, and what its keys say about each other.

use super::{Error, File};
use crate::leg::Attach;
use toml::Spanned;

/// Codecs that the gateway forwards, as `codecs` names them.
const CODECS: &[&str] = &["opus", "g722", "pcmu", "pcma"];

/// Reads a configuration. `file` is its name in errors.
pub fn read(file: &str, text: &str) -> Result<File, Error> {
    let parsed: File = toml::from_str(text).map_err(|error| Error::from_toml(file, text, &error))?;
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
        self.limits()?;
        self.attach()?;
        self.auth()?;
        self.trunks()?;
        self.users()?;
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

    fn limits(&self) -> Result<(), Error> {
        let load = &self.parsed.limits.load;
        if *load.get_ref() > 100 {
            let what = format!("load: {} is no percentage; use 1 to 100, or 0 for no limit", load.get_ref());
            return Err(self.wrong(load, what));
        }
        Ok(())
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
            let alone = auth.audience.is_some() || auth.issuer.is_some();
            let what = "auth: no token can be checked; add jwt_secret or jwt_public_key = \"FILE\"";
            return if alone { Err(Error::whole(self.file, what)) } else { Ok(()) };
        }
        if let Some(path) = &auth.jwt_public_key
            && let Err(what) = super::plan::public_key(path.get_ref())
        {
            return Err(self.wrong(path, format!("jwt_public_key: {what}")));
        }
        Ok(())
    }

    fn trunks(&self) -> Result<(), Error> {
        for (n, trunk) in self.parsed.trunk.iter().enumerate() {
            let name = trunk.name.get_ref();
            if name.is_empty() || name == "users" {
                let what = format!("name: {name:?} can't be a trunk's name; choose another");
                return Err(self.wrong(&trunk.name, what));
            }
            if self.parsed.trunk[..n].iter().any(|other| other.name.get_ref() == name) {
                return Err(
                    self.wrong(&trunk.name, format!("name: there are two trunks {name:?}; rename one"))
                );
            }
            for codec in &trunk.codecs {
                if !CODECS.contains(&codec.get_ref().as_str()) {
                    let known = CODECS.join(", ");
                    let what = format!("codecs: {:?} is not known; choose among {known}", codec.get_ref());
                    return Err(self.wrong(codec, what));
                }
            }
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
        for spanned in &self.parsed.route {
            let route = spanned.get_ref();
            if let Some(from) = route.from.as_ref().filter(|from| from.get_ref() != "users") {
                self.trunk_exists(from, "from")?;
            }
            match (&route.trunk, &route.reject) {
                (Some(trunk), None) => self.trunk_exists(trunk, "trunk")?,
                (None, Some(code)) if (400..700).contains(code.get_ref()) => {}
                (None, Some(code)) => {
                    let what = format!("reject: {} is not a SIP error code; use 400 to 699", code.get_ref());
                    return Err(self.wrong(code, what));
                }
                (Some(trunk), Some(_)) => {
                    return Err(
                        self.wrong(trunk, "trunk: a route has either trunk or reject; remove one".into())
                    );
                }
                (None, None) => {
                    let what = "route: without trunk or reject it goes nowhere; add trunk = \"NAME\"";
                    return Err(self.wrong(spanned, what.into()));
                }
            }
        }
        Ok(())
    }

    fn trunk_exists(&self, name: &Spanned<String>, key: &str) -> Result<(), Error> {
        if self.parsed.trunk.iter().any(|trunk| trunk.name.get_ref() == name.get_ref()) {
            return Ok(());
        }
        let known: Vec<_> = self.parsed.trunk.iter().map(|trunk| trunk.name.get_ref().as_str()).collect();
        let known = if known.is_empty() { "there is none".to_owned() } else { known.join(", ") };
        Err(self.wrong(name, format!("{key}: no trunk is named {:?}; known: {known}", name.get_ref())))
    }
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
            ("[limits]\nload = 101", &["b.toml:2:", "load", "1 to 100"]),
            ("[http]\ncertificate = \"c.pem\"", &["b.toml:2:", "certificate", "key = "]),
            ("[http]\nkey = \"k.pem\"", &["b.toml:", "key", "certificate = "]),
            ("[[route]]\nreject = 404\n[[route]]\nnumber = \"0\"", &["b.toml:3:", "route", "trunk = "]),
            ("[http", &["b.toml:1:"]),
        ];
        for (text, parts) in cases {
            let said = error(text);
            assert!(!said.contains('\n'), "{said}");
            for part in parts {
                assert!(said.contains(part), "{said:?} lacks {part:?}");
            }
        }
    }
}
