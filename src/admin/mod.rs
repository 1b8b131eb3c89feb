//! The admin address: what it is asked, and the words of its answers. Pure: `node` brings requests and figures.

use crate::base::redact::User;
use crate::call::Live;
use crate::http::{Method, Request, Response};
use crate::leg::{Source, Target};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::time::Duration;

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// `GET /metrics`.
    Metrics,
    /// `GET /healthz`: the process lives.
    Health,
    /// `GET /readyz`: it takes new calls.
    Ready,
    /// `GET /calls`.
    Calls,
    /// `GET /calls/<id>/trace`.
    Trace(String),
    /// Nothing that there is; the answer.
    Wrong(Box<Response>),
}

/// A name in an address, with its `%xx` undone (RFC 3986 section 2.1). `None` where that gives no text.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        bytes.push((digit()? * 16 + digit()?) as u8);
    }
    String::from_utf8(bytes).ok().filter(|name| !name.is_empty())
}

/// A name so that it may stand in an address as one segment.
pub fn encode(name: &str) -> String {
    let mut text = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // A string takes everything.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

fn json(status: u16, value: &serde_json::Value) -> Response {
    Response::json(status, value.to_string()).header("Cache-Control", "no-store")
}

/// An error.
pub fn error(status: u16, message: &str) -> Response {
    json(status, &serde_json::json!({ "error": message }))
}

impl Question {
    /// Reads a request.
    pub fn of(request: &Request) -> Question {
        let wrong = |response| Question::Wrong(Box::new(response));
        // A page of another site must not read an operator's figures by a name that it lets point here.
        if request.header("origin").is_some() {
            return wrong(error(403, "the admin address answers no web pages"));
        }
        if !matches!(request.method, Method::Get | Method::Head) {
            return wrong(error(405, "only GET is answered here").header("Allow", "GET, HEAD"));
        }
        let path = request.path();
        let trace = path.strip_prefix("/calls/").and_then(|rest| rest.strip_suffix("/trace"));
        match (path, trace.and_then(decode)) {
            ("/metrics", _) => Question::Metrics,
            ("/healthz", _) => Question::Health,
            ("/readyz", _) => Question::Ready,
            ("/calls", _) => Question::Calls,
            (_, Some(name)) => Question::Trace(name),
            _ => {
                let message = "there is /metrics, /healthz, /readyz, /calls and /calls/ID/trace";
                wrong(error(404, message))
            }
        }
    }
}

/// The answer to `/metrics`.
pub fn metrics(page: String) -> Response {
    Response::new(200)
        .header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        .header("Cache-Control", "no-store")
        .body(page.into_bytes())
}

/// The answer to `/healthz`.
pub fn health() -> Response {
    json(200, &serde_json::json!({ "status": "ok" }))
}

/// The answer to `/readyz`.
pub fn ready(draining: bool, all_answer: bool) -> Response {
    match (draining, all_answer) {
        (true, _) => json(503, &serde_json::json!({ "status": "draining" })),
        (false, false) => json(503, &serde_json::json!({ "status": "a shard does not answer" })),
        (false, true) => json(200, &serde_json::json!({ "status": "ready" })),
    }
}

/// A call that runs, in words; personal data is redacted already.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The call's id.
    pub call: String,
    /// Where it stands: `preparing`, `ringing`, `talking`.
    pub state: String,
    /// Who called.
    pub from: String,
    /// Who was called.
    pub to: String,
    /// `browser`, or the trunk's name: whence it comes.
    pub source: String,
    /// The same: where it goes.
    pub target: String,
    /// Seconds since it came in.
    pub age_s: f64,
    /// Seconds since it was answered.
    pub talking_s: Option<f64>,
}

/// The answer to `/calls`, and what a client reads of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct List {
    /// The calls, longest first.
    pub calls: Vec<Row>,
    /// How many there are.
    pub total: usize,
}

impl List {
    /// Tells of calls. `unix` is now; `trunks` are the trunks' names, by `TrunkId`; `total` counts those not told, too.
    pub fn of(unix: Duration, mut live: Vec<Live>, total: usize, trunks: &[String]) -> List {
        live.sort_by_key(|call| (call.started, call.call));
        let trunk = |n: u16| trunks.get(usize::from(n)).cloned().unwrap_or_else(|| format!("trunk{n}"));
        let since = |at: Duration| (unix.saturating_sub(at).as_millis() as f64) / 1000.0;
        let row = |call: &Live| Row {
            call: format!("{:?}", call.call),
            state: call.stage.name().to_owned(),
            from: User(&call.caller.user).to_string(),
            to: User(&call.callee.user).to_string(),
            source: match &call.source {
                Source::Trunk(n) => trunk(n.0),
                Source::Account(_) => "browser".to_owned(),
                Source::Phone(_) => "phone".to_owned(),
            },
            target: match &call.target {
                Target::Trunk(n) => trunk(n.0),
                Target::Account(_) => "browser".to_owned(),
                Target::Phone(_) => "phone".to_owned(),
            },
            age_s: since(call.started),
            talking_s: call.answered.map(since),
        };
        List { total: total.max(live.len()), calls: live.iter().map(row).collect() }
    }

    /// The answer.
    pub fn response(&self) -> Response {
        let text = serde_json::to_string(self).unwrap_or_default();
        Response::json(200, text).header("Cache-Control", "no-store")
    }

    /// The same as a table.
    pub fn table(&self) -> String {
        let head = ["CALL", "STATE", "FROM", "VIA", "TO", "VIA", "AGE", "TALKING"].map(str::to_owned);
        let mut rows = vec![head];
        for row in &self.calls {
            rows.push([
                row.call.clone(),
                row.state.clone(),
                row.from.clone(),
                row.source.clone(),
                row.to.clone(),
                row.target.clone(),
                clock(row.age_s),
                row.talking_s.map_or_else(|| "-".to_owned(), clock),
            ]);
        }
        let mut text = String::new();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..8).map(width).collect();
        for row in &rows {
            let cells: Vec<String> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            text.push_str(cells.join("  ").trim_end());
            text.push('\n');
        }
        let more = self.total - self.calls.len().min(self.total);
        // A string takes everything.
        let _ = match (self.total, more) {
            (0, _) => writeln!(text, "no calls"),
            (_, 0) => Ok(()),
            _ => writeln!(text, "… and {more} more"),
        };
        text
    }
}

/// `4.2 s`, `3:07`, `1:02:03`.
fn clock(seconds: f64) -> String {
    let whole = seconds as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{}:{:02}", whole / 60, whole % 60),
        _ => format!("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(method: Method, target: &str, headers: &[(&str, &str)]) -> Question {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
        Question::of(&Request {
            method,
            target: target.to_owned(),
            version_11: true,
            headers: headers.collect(),
            body: Vec::new(),
        })
    }

    fn status(question: Question) -> u16 {
        match question {
            Question::Wrong(response) => response.status(),
            _ => 200,
        }
    }

    #[test]
    fn every_address_has_its_question_and_others_are_errors() {
        assert_eq!(ask(Method::Get, "/metrics?x=1", &[]), Question::Metrics);
        assert_eq!(ask(Method::Head, "/readyz", &[]), Question::Ready);
        assert_eq!(ask(Method::Get, "/calls", &[]), Question::Calls);
        let name = "a b/ü@host";
        let path = format!("/calls/{}/trace", encode(name));
        assert_eq!(ask(Method::Get, &path, &[]), Question::Trace(name.into()));
        for bad in
            ["/", "/calls/", "/calls//trace", "/calls/%4/trace", "/calls/%ff/trace", "/calls/%zz/trace"]
        {
            assert_eq!(status(ask(Method::Get, bad, &[])), 404, "{bad}");
        }
        assert_eq!(status(ask(Method::Post, "/metrics", &[])), 405);
        assert_eq!(status(ask(Method::Get, "/calls", &[("origin", "https://evil.example")])), 403);
    }

    #[test]
    fn a_node_that_drains_or_hangs_is_not_ready() {
        assert_eq!(ready(false, true).status(), 200);
        assert_eq!(ready(true, true).status(), 503);
        assert_eq!(ready(false, false).status(), 503);
    }

    #[test]
    fn a_table_is_aligned_and_says_what_it_leaves_out() {
        let row = |call: &str, state: &str, age_s, talking_s| Row {
            call: call.into(),
            state: state.into(),
            from: "a…ce".into(),
            to: "+…56".into(),
            source: "browser".into(),
            target: "pbx".into(),
            age_s,
            talking_s,
        };
        let list = List {
            calls: vec![
                row("call0.12.1", "talking", 3_725.0, Some(187.9)),
                row("call1.3.0", "ringing", 4.24, None),
            ],
            total: 5,
        };
        assert_eq!(
            list.table(),
            "CALL        STATE    FROM  VIA      TO    VIA  AGE      TALKING\n\
             call0.12.1  talking  a…ce  browser  +…56  pbx  1:02:05  3:07\n\
             call1.3.0   ringing  a…ce  browser  +…56  pbx  4.2 s    -\n\
             … and 3 more\n"
        );
        assert!(List::default().table().ends_with("no calls\n"));
    }
}
