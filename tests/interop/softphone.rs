//! JsSIP and SIP.js in Chromium, unmodified, by a node driver (`softphone.mjs`) that speaks JSON lines.

use super::gateway::Gateway;
use super::process::{Process, signal_group};
use super::scene::Scene;
use super::tone::Heard;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// One browser with a SIP phone in its page, whose microphone hears one tone for ever.
pub struct Softphone {
    driver: Process,
    /// Chromium's own process group: a driver that is killed leaves it behind.
    group: u32,
    last_id: u64,
    /// Who it is.
    pub user: String,
    /// What its microphone hears.
    pub hz: f32,
}

impl Softphone {
    /// Starts the browser.
    pub fn start(scene: &Scene, name: &str, hz: f32) -> Softphone {
        let tone = super::browser::microphone(scene, name, hz);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop");
        assert!(
            folder.join("node_modules/esbuild").is_dir(),
            "no esbuild in tests/interop/node_modules; tests/run installs it"
        );
        let mut command = Command::new("node");
        command.arg(folder.join("softphone.mjs")).arg(tone).arg(scene.path(name));
        let mut driver = Process::start(scene, name, &mut command);
        let ready: Value = serde_json::from_str(&driver.first_line()).unwrap();
        let group = ready["ready"].as_u64().expect("the browser's id") as u32;
        Softphone { driver, group, last_id: 0, user: name.into(), hz }
    }

    fn ask(&mut self, request: Value) -> Result<Value, String> {
        self.send(request);
        self.reply()
    }

    fn send(&mut self, mut request: Value) {
        self.last_id += 1;
        request["id"] = self.last_id.into();
        self.driver.tell(&request.to_string());
    }

    fn reply(&mut self) -> Result<Value, String> {
        let line = self.driver.line(|line| line.starts_with('{'));
        let mut reply: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(reply["id"], self.last_id, "{line}");
        match reply.get("error") {
            None => Ok(reply["ok"].take()),
            Some(error) => Err(error.to_string()),
        }
    }

    #[track_caller]
    fn must(&mut self, request: Value) -> Value {
        let what = request.to_string();
        self.ask(request).unwrap_or_else(|error| panic!("{}: {what}: {error}", self.user))
    }

    /// Registers by `jssip` or `sipjs`; says what came of it.
    #[track_caller]
    pub fn try_register(&mut self, kind: &str, gateway: &Gateway, user: &str, password: &str) -> String {
        let ws = format!("ws://{}/sip", gateway.http);
        self.user = user.into();
        let outcome = self.must(json!({
            "do": "register", "kind": kind, "ws": ws, "user": user, "password": password, "domain": "test.local",
        }));
        outcome.as_str().unwrap_or_default().to_owned()
    }

    /// The same; the password is the name with `pw` behind it.
    #[track_caller]
    pub fn register(&mut self, kind: &str, gateway: &Gateway, user: &str) {
        assert_eq!(self.try_register(kind, gateway, user, &format!("{user}pw")), "registered");
    }

    /// Calls, and waits for the answer.
    #[track_caller]
    pub fn dial(&mut self, to: &str) {
        self.begin(to);
        self.await_answer();
    }

    /// Calls. To be followed by [`Self::await_answer`].
    pub fn begin(&mut self, to: &str) {
        self.send(json!({"do": "dial", "to": to}));
    }

    /// Waits for the answer to [`Self::begin`].
    #[track_caller]
    pub fn await_answer(&mut self) {
        let outcome = self.reply();
        assert_eq!(outcome, Ok("answered".into()), "{}", self.user);
    }

    /// Waits for a call; gives who calls.
    #[track_caller]
    pub fn incoming(&mut self) -> String {
        self.must(json!({"do": "incoming"})).as_str().unwrap_or_default().to_owned()
    }

    /// Answers it.
    #[track_caller]
    pub fn answer(&mut self) {
        self.must(json!({"do": "answer"}));
    }

    /// Holds or resumes, and waits until that was accepted.
    #[track_caller]
    pub fn hold(&mut self, on: bool) {
        self.must(json!({"do": "hold", "on": on}));
    }

    /// Presses a key, as media or by INFO.
    #[track_caller]
    pub fn key(&mut self, digit: &str, info: bool) {
        self.must(json!({"do": "key", "digit": digit, "info": info}));
    }

    /// Hangs up.
    #[track_caller]
    pub fn hangup(&mut self) {
        self.must(json!({"do": "hangup"}));
    }

    /// Waits for the end of the call.
    #[track_caller]
    pub fn await_end(&mut self) {
        self.must(json!({"do": "ended"}));
    }

    /// Waits for this tone; panics with what it hears instead.
    #[track_caller]
    pub fn assert_hears(&mut self, hz: f32) {
        let heard = self.must(json!({"do": "hear", "hz": hz}));
        let field = |name: &str| heard[name].as_f64().unwrap_or_default() as f32;
        let heard = Heard { hz: field("hz"), db: field("db"), purity: field("purity") };
        heard.assert_tone(&self.user, hz);
    }

    /// Waits until it hears nothing.
    #[track_caller]
    pub fn assert_silent(&mut self) {
        self.must(json!({"do": "silent"}));
    }
}

impl Drop for Softphone {
    fn drop(&mut self) {
        self.driver.close_stdin();
        if !self.driver.ends_soon() {
            signal_group(self.group, "KILL");
        }
    }
}
