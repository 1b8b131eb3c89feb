//! baresip: a real softphone that answers by itself, plays a tone and records what it hears.

use super::process::Process;
use super::scene::{PATIENCE, Scene, free_port, until};
use super::tone::{self, Heard};
use super::wav;
use serde_json::json;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A running baresip.
pub struct Baresip {
    _process: Process,
    folder: PathBuf,
    /// Where it takes commands.
    control: u16,
}

impl Baresip {
    /// Registers `user` of `test.local` at a registrar's port; plays `hz` in calls.
    pub fn start(scene: &Scene, user: &str, registrar: u16, hz: u32) -> Baresip {
        Baresip::start_by(scene, (user, "udp"), registrar, hz)
    }

    /// The same by another transport.
    pub fn start_by(scene: &Scene, (user, transport): (&str, &str), registrar: u16, hz: u32) -> Baresip {
        let account = format!(
            "<sip:{user}@test.local;transport={transport}>;auth_user={user};auth_pass={user}pw;\
             outbound=\"sip:127.0.0.1:{registrar};transport={transport}\";answermode=auto;regint=300;\
             audio_codecs=PCMU/8000/1,PCMA/8000/1,G722/16000/1,opus/48000/2;dtmfmode=rtpevent\n"
        );
        Baresip::run(scene, account, free_port(), "", hz)
    }

    /// One that registers nowhere and is called at the port that is given back, over TCP or TLS.
    pub fn direct(
        scene: &Scene,
        user: &str,
        transport: &str,
        (chain, key): (&Path, &Path),
        hz: u32,
    ) -> (Baresip, u16) {
        let sip = free_port();
        let account = format!(
            "<sip:{user}@127.0.0.1;transport={transport}>;regint=0;answermode=auto;\
             audio_codecs=PCMU/8000/1;dtmfmode=rtpevent\n"
        );
        let both = [chain, key].map(|path| fs::read_to_string(path).unwrap()).concat();
        let both = scene.write("baresip.pem", both);
        let more = format!("sip_certificate\t\t{}\n", both.display());
        let baresip = Baresip::run(scene, account, sip, &more, hz);
        // It takes TLS on the port behind the one that it is told.
        let port = if transport == "tls" { sip + 1 } else { sip };
        until("baresip listens", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
        (baresip, port)
    }

    fn run(scene: &Scene, account: String, sip: u16, more: &str, hz: u32) -> Baresip {
        let control = free_port();
        let (first, last) = (free_port(), free_port() + 1);
        scene.write("baresip/accounts", account);
        scene.write("baresip/contacts", "");
        let config = include_str!("baresip.cfg")
            .replace("@CONTROL@", &control.to_string())
            .replace("@SIP@", &sip.to_string())
            .replace("@RTP@", &format!("{first}-{last}"))
            .replace("@HZ@", &hz.to_string())
            .replace("@FOLDER@", &scene.path("baresip").display().to_string())
            + more;
        let config = scene.write("baresip/config", config);
        let folder = config.parent().unwrap().to_owned();
        let process =
            Process::start(scene, "baresip", Command::new("baresip").arg("-v").arg("-f").arg(&folder));
        Baresip { _process: process, folder, control }
    }

    /// A command of its menu (`hold`, `resume`, `hangup`), as a netstring of JSON; panics unless it says that it did it.
    #[track_caller]
    pub fn command(&self, command: &str) {
        self.command_with(command, "");
    }

    /// The same with a parameter.
    #[track_caller]
    pub fn command_with(&self, command: &str, parameter: &str) {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.control)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let json = json!({"command": command, "params": parameter, "token": command}).to_string();
        write!(stream, "{}:{json},", json.len()).unwrap();
        // Events of the call come in between.
        let (mut heard, mut bytes) = (String::new(), [0; 4_096]);
        while !heard.contains("\"response\":true") {
            let size = stream.read(&mut bytes).unwrap();
            assert!(size > 0, "baresip hangs up on {command}: {heard}");
            heard += &String::from_utf8_lossy(&bytes[..size]);
        }
        assert!(heard.contains("\"ok\":true"), "baresip on {command}: {heard}");
    }

    /// Samples that it has decoded so far.
    pub fn decoded(&self) -> u64 {
        self.recording().and_then(|path| fs::metadata(path).ok()).map_or(0, |file| file.len())
    }

    /// Waits until its recording ends with this tone; panics with what it hears instead.
    #[track_caller]
    pub fn assert_hears(&self, hz: f32) {
        tone::await_tone("baresip", hz, || self.hear());
    }

    /// The end of what it has decoded and recorded.
    fn hear(&self) -> Option<Heard> {
        wav::hear_tail(&self.recording()?)
    }

    fn recording(&self) -> Option<PathBuf> {
        fs::read_dir(&self.folder)
            .ok()?
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().ends_with("-dec.wav")))
            // Of several calls the last.
            .max_by_key(|path| fs::metadata(path).and_then(|file| file.modified()).ok())
    }
}
