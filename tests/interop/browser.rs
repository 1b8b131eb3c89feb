//! Chromium, by a node driver (`browser.mjs`) that speaks JSON lines and calls through the SDK.

use super::process::{Process, signal_group};
use super::scene::{Scene, until};
use super::tone::{self, Heard};
use super::wav;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// One browser with one page, whose microphone hears one tone for ever.
pub struct Browser {
    name: String,
    driver: Process,
    /// Chromium's own process group: a driver that is killed leaves it behind.
    group: u32,
    last_id: u64,
    /// Of what was looked at: what is wrong, and where.
    faults: Vec<String>,
}

/// An error of the SDK as it reached the page.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its stable name.
    pub name: String,
    /// The SIP code.
    pub code: u64,
    /// Of a token: what is wrong with it.
    pub reason: String,
    message: String,
}

impl Browser {
    /// Starts it; `hz` is what its microphone hears.
    pub fn start(scene: &Scene, name: &str, hz: f32) -> Browser {
        Browser::start_by(scene, name, hz, Command::new("node"))
    }

    /// The same by a command that runs node elsewhere.
    pub fn start_by(scene: &Scene, name: &str, hz: f32, mut command: Command) -> Browser {
        let tone = microphone(scene, name, hz);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop");
        assert!(
            folder.join("node_modules").is_dir(),
            "no node_modules in tests/interop; tests/run installs them"
        );
        command.arg(folder.join("browser.mjs")).arg(tone).arg(scene.path(name));
        let mut driver = Process::start(scene, name, &mut command);
        let ready: Value = serde_json::from_str(&driver.first_line()).unwrap();
        let group = ready["ready"].as_u64().expect("the browser's id") as u32;
        Browser { name: name.into(), driver, group, last_id: 0, faults: Vec::new() }
    }

    /// Whatever microphone is opened from now on hears `hz`; those that are open hear what they heard.
    pub fn retune(&self, scene: &Scene, hz: f32) {
        microphone(scene, &self.name, hz);
    }

    /// One command to the driver.
    fn ask(&mut self, mut request: Value) -> Result<Value, Failure> {
        self.last_id += 1;
        request["id"] = self.last_id.into();
        self.driver.tell(&request.to_string());
        let line = self.driver.line(|line| line.starts_with('{'));
        let mut reply: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(reply["id"], self.last_id, "{line}");
        match reply.get("error") {
            None => Ok(reply["ok"].take()),
            Some(error) => Err(Failure {
                name: error["name"].as_str().unwrap_or("").into(),
                code: error["code"].as_u64().unwrap_or(0),
                reason: error["reason"].as_str().unwrap_or("").into(),
                message: error["message"].as_str().unwrap_or("").into(),
            }),
        }
    }

    #[track_caller]
    fn must(&mut self, request: Value) -> Value {
        let what = request.to_string();
        let reply = self.ask(request);
        reply.unwrap_or_else(|failure| panic!("{}: {what}: {failure:?}", self.name))
    }

    /// Opens a page of the gateway.
    #[track_caller]
    pub fn open(&mut self, url: &str) {
        self.must(json!({"do": "open", "url": url}));
    }

    /// Signs in through the SDK, without waiting for the SIP server.
    pub fn try_sign_in(&mut self, user: &str, password: &str) -> Result<(), Failure> {
        self.ask(json!({"do": "sign_in", "user": user, "password": password})).map(drop)
    }

    /// Signs in by a JSON Web Token.
    pub fn try_token(&mut self, token: &str) -> Result<(), Failure> {
        self.ask(json!({"do": "sign_in", "token": token})).map(drop)
    }

    /// The same, and registers: with this SIP password, where the token refers to none.
    pub fn register_by_token(&mut self, token: &str, password: Option<&str>) -> Result<(), Failure> {
        let sign_in = json!({"do": "sign_in", "token": token, "register": true, "sip_password": password});
        self.ask(sign_in).map(drop)
    }

    /// How the gateway is reached now (`websocket`, `poll`), and how that stands (`connected`, `reconnecting`).
    #[track_caller]
    pub fn line(&mut self) -> (String, String) {
        let line = self.must(json!({"do": "line"}));
        let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        (text("transport"), text("connection"))
    }

    /// Signs in; the password is the name.
    #[track_caller]
    pub fn sign_in(&mut self, user: &str) {
        self.must(json!({"do": "sign_in", "user": user, "password": user}));
    }

    /// Signs in, keeping a token by which the page comes back after a reload; or comes back by it.
    #[track_caller]
    pub fn sign_in_to_stay(&mut self, user: &str) {
        self.must(json!({"do": "sign_in", "user": user, "password": user, "resume": true}));
    }

    /// Loads the page anew: its scripts, connections and microphone are gone.
    #[track_caller]
    pub fn reload(&mut self) {
        self.must(json!({"do": "reload"}));
    }

    /// The same, and registers.
    #[track_caller]
    pub fn register_to_stay(&mut self, user: &str) {
        self.must(json!({"do": "sign_in", "user": user, "password": user, "resume": true, "register": true}));
    }

    /// After a reload: speaks from now on of the call of the page before, as it is.
    #[track_caller]
    pub fn takes_up(&mut self) {
        self.must(json!({"do": "take_up"}));
    }

    /// After a reload: goes on with the call of the page before.
    #[track_caller]
    pub fn takeover(&mut self) {
        self.must(json!({"do": "takeover"}));
    }

    /// Signs in and waits until the SIP server has accepted the registration.
    #[track_caller]
    pub fn register(&mut self, user: &str) {
        self.must(json!({"do": "sign_in", "user": user, "password": user, "register": true}));
    }

    /// The same, where it may be refused.
    pub fn try_register(&mut self, user: &str) -> Result<(), Failure> {
        self.ask(json!({"do": "sign_in", "user": user, "password": user, "register": true})).map(drop)
    }

    /// Signs out.
    #[track_caller]
    pub fn sign_out(&mut self) {
        self.must(json!({"do": "sign_out"}));
    }

    /// Shuts the tab for good.
    #[track_caller]
    pub fn close_tab(&mut self) {
        self.must(json!({"do": "close_tab"}));
    }

    /// Chooses from a list of the page.
    #[track_caller]
    pub fn choose(&mut self, selector: &str, label: &str) {
        self.must(json!({"do": "choose", "selector": selector, "label": label}));
    }

    /// What is chosen in a list of the page.
    #[track_caller]
    pub fn chosen(&mut self, selector: &str) -> String {
        self.must(json!({"do": "chosen", "selector": selector})).as_str().unwrap_or_default().to_owned()
    }

    /// The device that an audio element plays to.
    #[track_caller]
    pub fn speaker(&mut self, selector: &str) -> String {
        self.must(json!({"do": "speaker", "selector": selector})).as_str().unwrap_or_default().to_owned()
    }

    /// From now on the microphone is not to be had: the name of the `DOMException`.
    #[track_caller]
    pub fn refuse_microphone(&mut self, name: &str) {
        self.must(json!({"do": "refuse_microphone", "name": name}));
    }

    /// What the page stores: `session` in the tab, `local` in the browser.
    #[track_caller]
    pub fn stored(&mut self) -> Value {
        self.must(json!({"do": "stored"}))
    }

    /// Calls.
    #[track_caller]
    pub fn dial(&mut self, to: &str) {
        self.must(json!({"do": "dial", "to": to}));
    }

    /// Calls; milliseconds until the answer, and until the first sound.
    #[track_caller]
    pub fn dial_to_sound(&mut self, to: &str) -> (f64, f64) {
        let times = self.must(json!({"do": "dial_to_sound", "to": to}));
        (times["answeredMs"].as_f64().unwrap(), times["soundMs"].as_f64().unwrap())
    }

    /// Waits for a call; returns the caller's user part.
    #[track_caller]
    pub fn incoming(&mut self) -> String {
        let call = self.must(json!({"do": "incoming"}));
        call["from"]["user"].as_str().unwrap_or_default().to_owned()
    }

    /// Takes the call that came.
    #[track_caller]
    pub fn answer(&mut self) {
        self.must(json!({"do": "answer"}));
    }

    /// Refuses it: `busy` or `declined`.
    #[track_caller]
    pub fn reject(&mut self, reason: &str) {
        self.must(json!({"do": "reject", "reason": reason}));
    }

    /// Hangs up, or cancels.
    #[track_caller]
    pub fn hangup(&mut self) {
        self.must(json!({"do": "hangup"}));
    }

    /// Stops or resumes the microphone.
    #[track_caller]
    pub fn mute(&mut self, on: bool) {
        self.must(json!({"do": "mute", "on": on}));
    }

    /// An ICE restart.
    #[track_caller]
    pub fn restart(&mut self) {
        self.must(json!({"do": "restart"}));
    }

    /// Calls with headers attached.
    #[track_caller]
    pub fn dial_with(&mut self, to: &str, attach: &Value) {
        self.must(json!({"do": "dial", "to": to, "attach": attach}));
    }

    /// Waits for a call; returns the data that came with it.
    #[track_caller]
    pub fn incoming_data(&mut self) -> Value {
        self.must(json!({"do": "incoming"}))["data"].take()
    }

    /// Holds the other party, and waits until it knows.
    #[track_caller]
    pub fn hold(&mut self) {
        self.must(json!({"do": "hold"}));
    }

    /// Ends that.
    #[track_caller]
    pub fn resume(&mut self) {
        self.must(json!({"do": "resume"}));
    }

    /// Holds the active call and resumes the other one, which becomes the one that is spoken of.
    #[track_caller]
    pub fn swap(&mut self) {
        self.must(json!({"do": "swap"}));
    }

    /// Presses keys, as the options say, and waits until they are out.
    #[track_caller]
    pub fn dtmf(&mut self, digits: &str, options: &Value) {
        self.must(json!({"do": "dtmf", "digits": digits, "options": options}));
    }

    /// Tells the other party something.
    #[track_caller]
    pub fn info(&mut self, kind: &str, body: &str) {
        self.must(json!({"do": "info", "kind": kind, "body": body}));
    }

    /// The same, where it may be refused.
    pub fn try_info(&mut self, kind: &str, body: &str) -> Result<(), Failure> {
        self.ask(json!({"do": "info", "kind": kind, "body": body})).map(drop)
    }

    /// Connects the other party with somebody.
    pub fn try_transfer(&mut self, to: &str) -> Result<(), Failure> {
        self.ask(json!({"do": "transfer", "to": to})).map(drop)
    }

    /// Connects the other party with that of the call before.
    #[track_caller]
    pub fn transfer_to_the_call_before(&mut self) {
        self.must(json!({"do": "transfer", "joins": true}));
    }

    /// Who the other party is now.
    #[track_caller]
    pub fn party(&mut self) -> String {
        self.must(json!({"do": "party"})).as_str().unwrap_or_default().to_owned()
    }

    /// Sends a text to somebody.
    #[track_caller]
    pub fn message(&mut self, to: &str, body: &str) {
        self.must(json!({"do": "message", "to": to, "body": body}));
    }

    /// Asks to be told of something.
    #[track_caller]
    pub fn subscribe(&mut self, event: &str) {
        self.must(json!({"do": "subscribe", "event": event}));
    }

    /// Ends that.
    #[track_caller]
    pub fn unsubscribe(&mut self) {
        self.must(json!({"do": "unsubscribe"}));
    }

    /// What came with each event of this name so far.
    #[track_caller]
    pub fn details(&mut self, name: &str) -> Vec<Value> {
        let events = self.must(json!({"do": "events"}));
        let all = events.as_array().into_iter().flatten();
        all.filter(|event| event["name"] == name).map(|event| event["detail"].clone()).collect()
    }

    /// Waits until the SDK has told of as many keys; they must be these, in order.
    #[track_caller]
    pub fn assert_keys(&mut self, keys: &str) {
        until("as many keys in the SDK", || (self.details("dtmf").len() >= keys.len()).then_some(()));
        let told = self.details("dtmf");
        let told: String = told.iter().filter_map(|detail| detail["digit"].as_str()).collect();
        assert_eq!(told, keys, "{}", self.name);
    }

    /// Waits for the answer.
    #[track_caller]
    pub fn await_answer(&mut self) {
        self.must(json!({"do": "answered"}));
    }

    /// Waits until this event of the call has come: `ringing`, `early`, `media`, …
    #[track_caller]
    pub fn reaches(&mut self, event: &str) {
        self.must(json!({"do": "reaches", "name": event}));
    }

    /// Waits for the end of the call: its reason and SIP code.
    #[track_caller]
    pub fn await_end(&mut self) -> (String, u64) {
        let end = self.must(json!({"do": "ended"}));
        (end["reason"].as_str().unwrap_or_default().to_owned(), end["code"].as_u64().unwrap_or(0))
    }

    /// Waits until it hears this tone in the call; panics with what it hears instead.
    #[track_caller]
    pub fn assert_hears(&mut self, hz: f32) {
        let heard = self.must(json!({"do": "hear", "hz": hz}));
        self.judge(&heard, hz);
    }

    /// Waits until it hears nothing.
    #[track_caller]
    pub fn assert_silent(&mut self) {
        self.must(json!({"do": "silent"}));
    }

    /// Its own microphone, by two peer connections in the page.
    #[track_caller]
    pub fn assert_hears_itself(&mut self, hz: f32) {
        let heard = self.must(json!({"do": "loopback", "hz": hz}));
        self.judge(&heard, hz);
    }

    #[track_caller]
    fn judge(&self, heard: &Value, hz: f32) {
        let field = |name: &str| heard[name].as_f64().unwrap_or(f64::NAN) as f32;
        assert!(heard.is_object(), "{} hears nothing, not even silence", self.name);
        Heard { hz: field("hz"), db: field("db"), purity: field("purity") }.assert_tone(&self.name, hz);
    }

    /// The SDK's statistics of the call.
    #[track_caller]
    pub fn stats(&mut self) -> Value {
        self.must(json!({"do": "stats"}))
    }

    /// Clicks on something in the page.
    #[track_caller]
    pub fn click(&mut self, selector: &str) {
        self.must(json!({"do": "click", "selector": selector}));
    }

    /// Writes into a field of the page.
    #[track_caller]
    pub fn fill(&mut self, selector: &str, text: &str) {
        self.must(json!({"do": "fill", "selector": selector, "text": text}));
    }

    /// Light or dark, and how large: a narrow one is a telephone with a touch screen. Before `open`.
    #[track_caller]
    pub fn look(&mut self, scheme: &str, width: u32, height: u32) {
        self.must(json!({"do": "look", "scheme": scheme, "width": width, "height": height}));
    }

    /// Takes a screenshot, and notes what is wrong there that needs no eyes.
    #[track_caller]
    pub fn judge_look(&mut self, name: &str) {
        let faults = self.must(json!({"do": "judge_look", "name": format!("{name}.png")}));
        self.faults.extend(faults.as_array().into_iter().flatten().map(|fault| format!("{name}: {fault}")));
    }

    /// Panics where text didn't stand out, was cut off, or a control had no name or was out of reach.
    #[track_caller]
    pub fn assert_looked_right(&self) {
        assert!(self.faults.is_empty(), "{}: {:#?}", self.name, self.faults);
    }

    /// Panics unless Tab visits, among others, all of these, in the order of the page.
    #[track_caller]
    pub fn assert_order(&mut self, selector: &str) {
        let missed = self.must(json!({"do": "order", "selector": selector}));
        assert_eq!(missed, json!([]), "{}: Tab misses these, or visits them out of order", self.name);
    }

    /// Puts the keyboard somewhere.
    #[track_caller]
    pub fn focus(&mut self, selector: &str) {
        self.must(json!({"do": "focus", "selector": selector}));
    }

    /// Presses one key.
    #[track_caller]
    pub fn press(&mut self, key: &str) {
        self.must(json!({"do": "press", "key": key}));
    }

    /// Types.
    #[track_caller]
    pub fn keyboard(&mut self, text: &str) {
        self.must(json!({"do": "keyboard", "text": text}));
    }

    /// Waits until the page shows this text there.
    #[track_caller]
    pub fn shows(&mut self, selector: &str, text: &str) {
        self.must(json!({"do": "shows", "selector": selector, "text": text}));
    }

    /// Waits until both level meters of the softphone page have moved.
    #[track_caller]
    pub fn meters_rise(&mut self) {
        self.must(json!({"do": "meters"}));
    }

    /// Waits until an audio element of the page plays this tone.
    #[track_caller]
    pub fn assert_plays(&mut self, selector: &str, hz: f32) {
        let heard = self.must(json!({"do": "plays", "selector": selector, "hz": hz}));
        self.judge(&heard, hz);
    }

    /// Errors and warnings of the page so far, refused scripts among them.
    #[track_caller]
    pub fn complaints(&mut self) -> String {
        self.must(json!({"do": "complaints"})).as_str().unwrap_or_default().to_owned()
    }

    /// Ends Chromium without a word to anybody, as a crash does.
    pub fn kill(&mut self) {
        self.must(json!({"do": "kill"}));
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.driver.close_stdin();
        if !self.driver.ends_soon() {
            signal_group(self.group, "KILL");
        }
    }
}

/// What the microphones of a browser hear: whole periods, so that the repeated file has no click; a sine at half of
/// full scale.
pub fn microphone(scene: &Scene, name: &str, hz: f32) -> PathBuf {
    scene.write(&format!("{name}.wav"), wav::write(&tone::sine(hz, 10.0, 48_000), 48_000))
}
