//! The command line.

use super::{Error, File, parse_cores, parse_ports, read};
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
    /// Address for SIP over UDP [default: 127.0.0.1:5060]
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
    /// Show numbers, names and addresses in the log
    #[arg(long, global = true)]
    pub log_personal: bool,
}

/// A list of cores, in one word for the parser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cores(pub Vec<u16>);

fn cores(text: &str) -> Result<Cores, super::cores::Unreadable> {
    parse_cores(text).map(Cores)
}

/// What to do.
#[derive(Subcommand, Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Read the configuration, say what it would listen on, and exit
    Check,
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
        ])
        .unwrap();
        assert_eq!(
            (args.command, args.cores.clone()),
            (Some(Command::Demo { https: false }), Some(Cores(vec![0, 1])))
        );
        let file = args.file().unwrap();
        assert_eq!(file.http.listen.port(), 9000);
        assert_eq!(file.media.rtp_ports, 20000..=20099);
        assert_eq!(file.sip.advertise, Some("192.0.2.1:5060".parse().unwrap()));
    }

    #[test]
    fn bad_flags_say_how_to_write_them() {
        let said = Args::try_parse_from(["bridgehead", "--cores", "x"]).unwrap_err().to_string();
        assert!(said.contains("0-3 or 2,4,6"), "{said}");
    }
}
