//! The command line.

use super::file::parse_address_or_off;
use super::server::Place;
use super::{Error, File, Level, Trunk, parse_cores, parse_ports, read};
use clap::{Parser, Subcommand};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// WebRTC-to-SIP gateway: browsers make and take calls through your SIP server.
///
/// Without a command it runs the gateway. Flags win over the file. Everything listens on 127.0.0.1 until told otherwise.
#[derive(Parser, Debug, Default)]
#[command(name = "bridgehead", version, max_term_width = 100, disable_help_subcommand = true)]
pub struct Args {
    /// What to do; runs the gateway where absent
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Configuration file (TOML)
    #[arg(long, short, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Cores to run on, one shard pinned to each: 0-3 or 2,4,6 [default: one shard, not pinned]
    #[arg(long, global = true, value_name = "LIST", value_parser = cores)]
    pub cores: Option<Cores>,
    /// Address for browsers: page, SDK and WebSocket [default: 127.0.0.1:8080]
    #[arg(long, global = true, value_name = "ADDR:PORT")]
    pub http: Option<SocketAddr>,
    /// Address for SIP over UDP and TCP [default: 127.0.0.1:5060]
    #[arg(long, global = true, value_name = "ADDR:PORT")]
    pub sip: Option<SocketAddr>,
    /// Address of media sockets [default: 127.0.0.1]
    #[arg(long, global = true, value_name = "ADDR")]
    pub media: Option<IpAddr>,
    /// Address that others use to reach this machine, where it differs (NAT)
    #[arg(long, global = true, value_name = "ADDR")]
    pub advertise: Option<IpAddr>,
    /// First UDP port of browsers' media; the shard's number is added [default: 10000]
    #[arg(long, global = true, value_name = "PORT")]
    pub media_port: Option<u16>,
    /// Ports of RTP towards SIP [default: 16384-32767]
    #[arg(long, global = true, value_name = "FIRST-LAST", value_parser = parse_ports)]
    pub rtp_ports: Option<RangeInclusive<u16>>,
    /// A SIP server by name and address or domain name, beside those of the file or in place of the one with that name. May be said
    /// again. Where there is only one, users' calls go there unless a route says otherwise
    #[arg(long, global = true, value_name = "NAME=ADDRESS", value_parser = trunk)]
    pub trunk: Vec<(String, Place)>,
    /// Address for metrics, health, and the commands calls and trace; off for none [default: 127.0.0.1:9080]
    #[arg(long, global = true, value_name = "ADDR:PORT", value_parser = admin)]
    pub admin: Option<AdminAddress>,
    /// What is logged: error, warn or info [default: info]
    #[arg(long, global = true, value_name = "LEVEL", value_parser = Level::parse)]
    pub log: Option<Level>,
    /// Show numbers, names and addresses in the log, in traces and in lists of calls
    #[arg(long, global = true)]
    pub log_personal: bool,
    /// Print the configuration that file and flags make together, secrets hidden, and exit
    #[arg(long, global = true)]
    pub print_config: bool,
}

/// A list of cores, in one word for the parser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cores(pub Vec<u16>);

/// Where the admin address is; `None`: nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdminAddress(pub Option<SocketAddr>);

fn admin(text: &str) -> Result<AdminAddress, String> {
    parse_address_or_off(text).map(AdminAddress)
}

fn trunk(text: &str) -> Result<(String, Place), String> {
    let wrong = || format!("{text:?} is no trunk; write it as pbx=192.0.2.1:5060 or pbx=sip.example.com");
    let (name, address) = text.split_once('=').ok_or_else(wrong)?;
    let address = Place::parse(address).map_err(|_| wrong())?;
    if name.is_empty() || name == "users" { Err(wrong()) } else { Ok((name.to_owned(), address)) }
}

fn header(text: &str) -> Result<(String, String), String> {
    let wrong = || format!("{text:?} is no header; write it as X-Tier=gold");
    text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())).ok_or_else(wrong)
}

fn cores(text: &str) -> Result<Cores, super::cores::Unreadable> {
    parse_cores(text).map(Cores)
}

/// What to do.
#[derive(Subcommand, Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Run the gateway (the default)
    Run,
    /// Run the gateway with an embedded SIP server and three users, to try it
    Demo {
        /// Serve HTTPS with a certificate made now, on this machine's own address: browsers give a page from
        /// another machine the microphone only over HTTPS, so a phone on the same network can try it
        #[arg(long)]
        https: bool,
    },
    /// Read the configuration; say what would listen where, which kernel limits are too small, and how to steer
    /// each shard's packets to its core; and exit
    Check,
    /// Say which route a call would take, and why not another
    Route {
        /// Whence it comes: a trunk's name, user:NAME, or phone:NAME for a user's SIP phone
        #[arg(long, value_name = "WHO")]
        from: String,
        /// The called number or name
        #[arg(long, value_name = "NUMBER")]
        to: String,
        /// The calling number or name
        #[arg(long, value_name = "NUMBER", default_value = "")]
        caller: String,
        /// A header of the call; may be said again
        #[arg(long, value_name = "NAME=VALUE", value_parser = header)]
        header: Vec<(String, String)>,
    },
    /// List the calls of the gateway that runs here
    Calls {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what happened to one call: its messages and events as a ladder
    Trace {
        /// The call's id as the log and the list write it, or its Call-ID
        #[arg(value_name = "CALL")]
        call: String,
        /// As JSON, with a few headers of each SIP message
        #[arg(long)]
        json: bool,
    },
}

impl Args {
    /// The file, with the flags put over it.
    pub fn file(&self) -> Result<File, Error> {
        let mut file = match &self.config {
            Some(path) => {
                let name = path.display().to_string();
                let text = std::fs::read_to_string(path)
                    .map_err(|error| Error::whole(&name, format!("can't be read: {error}")))?;
                read(&name, &text)?
            }
            None => File::default(),
        };
        if let Some(http) = self.http {
            file.http.listen = http;
        }
        if let Some(sip) = self.sip {
            file.sip.listen = sip;
        }
        if let Some(AdminAddress(admin)) = self.admin {
            file.admin.listen = admin;
        }
        if let Some(level) = self.log {
            file.log.level = level;
        }
        for (name, address) in &self.trunk {
            file.trunk.retain(|trunk| trunk.name.get_ref() != name);
            file.trunk.push(Trunk::plain(name, address.clone()));
        }
        if let Some(media) = self.media {
            file.media.listen = media;
        }
        if let Some(advertise) = self.advertise {
            file.media.advertise = Some(advertise);
            file.sip.advertise = Some((advertise, file.sip.listen.port()).into());
        }
        if let Some(port) = self.media_port {
            file.media.web_port = port;
        }
        if let Some(ports) = &self.rtp_ports {
            file.media.rtp_ports = ports.clone();
        }
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_the_file() {
        let args = Args::try_parse_from([
            "bridgehead",
            "demo",
            "--cores",
            "0-1",
            "--http",
            "127.0.0.1:9000",
            "--rtp-ports",
            "20000-20099",
            "--advertise",
            "192.0.2.1",
            "--trunk",
            "pbx=192.0.2.7:5060",
            "--admin",
            "off",
            "--log",
            "warn",
        ])
        .unwrap();
        assert_eq!(
            (args.command.clone(), args.cores.clone()),
            (Some(Command::Demo { https: false }), Some(Cores(vec![0, 1])))
        );
        let file = args.file().unwrap();
        assert_eq!(file.http.listen.port(), 9000);
        assert_eq!(file.media.rtp_ports, 20000..=20099);
        assert_eq!(file.trunk[0].name.get_ref(), "pbx");
        assert_eq!(file.trunk[0].whereabouts(), "192.0.2.7:5060");
        assert_eq!((file.admin.listen, file.log.level), (None, Level::Warn));
        assert_eq!(file.sip.advertise, Some("192.0.2.1:5060".parse().unwrap()));
    }

    #[test]
    fn bad_flags_say_how_to_write_them() {
        let said = Args::try_parse_from(["bridgehead", "--cores", "x"]).unwrap_err().to_string();
        assert!(said.contains("0-3 or 2,4,6"), "{said}");
        for (flag, value, part) in [
            ("--trunk", "pbx", "pbx=192.0.2.1:5060"),
            ("--admin", "9080", "127.0.0.1:"),
            ("--log", "loud", "error, warn or info"),
        ] {
            let said = Args::try_parse_from(["bridgehead", flag, value]).unwrap_err().to_string();
            assert!(said.contains(part), "{said}");
        }
    }
}
