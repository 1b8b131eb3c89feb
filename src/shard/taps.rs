//! Where the switchboard tells the trace what goes by.

use super::core::Core;
use super::trace::Way;
use crate::base::{LegId, Now, Side};
use crate::leg::Cause;
use crate::{leg, media, webrtc};

/// A browser's message, by the type that the schema gives it (`src/signal/SCHEMA.md`).
fn told_by_browser(event: &leg::Event) -> Option<&'static str> {
    Some(match event {
        leg::Event::Incoming(_) => "dial",
        leg::Event::Progress { .. } => "ringing",
        leg::Event::Answered { .. } => "answer",
        leg::Event::Offered { .. } => "update",
        leg::Event::Accepted { .. } => "accept",
        leg::Event::Refused { .. } => "refuse",
        leg::Event::Ended { reason, .. } if matches!(reason.cause, Cause::Busy | Cause::Declined) => "reject",
        leg::Event::Ended { .. } => "hangup",
        leg::Event::Lost { .. } => "(connection lost)",
        leg::Event::Found { .. } => "(connection back)",
        leg::Event::Hold { on: true, .. } => "hold",
        leg::Event::Hold { on: false, .. } => "resume",
        // What it tells may be digits or data, and is nobody's business here.
        leg::Event::Inform { .. } => "dtmf or info",
        leg::Event::Transfer { .. } => "transfer",
        leg::Event::Withdrawn { .. } | leg::Event::Asked { .. } | leg::Event::Told { .. } => return None,
        // A SIP party's alone.
        leg::Event::Gate { .. }
        | leg::Event::OfferedEarly { .. }
        | leg::Event::Named { .. }
        | leg::Event::Refreshed { .. }
        | leg::Event::Redirected { .. }
        | leg::Event::Referred { .. } => return None,
    })
}

fn told_to_browser(command: &leg::Command) -> Option<String> {
    Some(match command {
        leg::Command::Dial(_) => "incoming".into(),
        leg::Command::Progress { code: 0, .. } => "media".into(),
        leg::Command::Progress { code, .. } => format!("ringing {code}"),
        leg::Command::Answer { .. } => "answered".into(),
        leg::Command::Offer { .. } => "update".into(),
        leg::Command::Accept { .. } => "ok (update)".into(),
        leg::Command::Refuse { reason, .. } => format!("error {}", reason.cause.name()),
        leg::Command::End { reason, .. } => format!("ended {} {}", reason.cause.name(), reason.code),
        leg::Command::Hold { on, outcome, .. } => {
            let what = if *on { "hold" } else { "resume" };
            let how = if outcome.is_ok() { "ok" } else { "error" };
            format!("{how} ({what})")
        }
        leg::Command::Told { outcome: Ok(()), .. } => "ok (info)".into(),
        leg::Command::Told { .. } => "error (info)".into(),
        leg::Command::Inform { .. } => "dtmf, info or control".into(),
        leg::Command::Transfer { stage: leg::Stage::Trying(code), .. } => format!("transferring {code}"),
        leg::Command::Transfer { stage: leg::Stage::Done, .. } => "ok (transfer)".into(),
        leg::Command::Transfer { .. } => "error (transfer)".into(),
        leg::Command::Quality { .. }
        | leg::Command::Gate { .. }
        | leg::Command::Named { .. }
        | leg::Command::AcceptEarly { .. }
        | leg::Command::Refer { .. }
        | leg::Command::Redirect { .. } => return None,
    })
}

impl Core {
    /// Before the call machine hears of it.
    pub(super) fn tap_event(&mut self, now: Now, event: &leg::Event) {
        if let leg::Event::Incoming(incoming) = event
            && !self.traces.begin(incoming)
        {
            return;
        }
        if event.leg().side() == Side::Web
            && let Some(what) = told_by_browser(event)
        {
            self.traces.step(now, event.leg(), Way::In, || what.to_owned());
        }
    }

    /// After the call machine has heard of a new leg.
    pub(super) fn tap_call(&mut self, leg: LegId) {
        if let Some(call) = self.calls.call_of(leg) {
            self.traces.name(leg, call);
        }
    }

    /// Before the leg's room hears of it.
    pub(super) fn tap_command(&mut self, now: Now, command: &leg::Command) {
        if let leg::Command::Dial(dial) = command
            && let Some(incoming) = self.calls.caller_of(dial.leg)
        {
            self.traces.dial(incoming, dial);
        }
        if command.leg().side() == Side::Web
            && let Some(what) = told_to_browser(command)
        {
            self.traces.step(now, command.leg(), Way::Out, || what);
        }
    }

    /// After the SIP stack has begun a leg.
    pub(super) fn tap_dialled(&mut self, leg: LegId) {
        if let Some(call_id) = self.stack.call_id(leg) {
            self.traces.call_id(leg, call_id);
        }
    }

    pub(super) fn tap_media(&mut self, now: Now, event: &media::Event) {
        match event {
            media::Event::Opened { leg, address: Some(address), .. } => {
                self.traces.step(now, *leg, Way::Here, || format!("rtp port {}", address.port()));
            }
            media::Event::Full { leg } => self
                .traces
                .step(now, *leg, Way::Here, || "no port is free, or another call has its address".into()),
            _ => {}
        }
    }

    pub(super) fn tap_web(&mut self, now: Now, event: &webrtc::Event) {
        let (leg, what) = match event {
            webrtc::Event::Opened { leg, .. } => (*leg, "transport opened".to_owned()),
            webrtc::Event::Full { leg } => (*leg, "no transport is free".to_owned()),
            webrtc::Event::Verified { leg, .. } => (*leg, "ice path verified".to_owned()),
            webrtc::Event::Connected { leg, .. } => (*leg, "dtls connected".to_owned()),
            webrtc::Event::Failed { leg, why, .. } => (*leg, format!("transport failed: {why}")),
            // Signs of life are no news.
            webrtc::Event::Heard { .. } => return,
        };
        self.traces.step(now, leg, Way::Here, || what);
    }

    /// A command to the media plane; before it is carried out.
    pub(super) fn tap_plane(&mut self, now: Now, command: &media::Command) {
        match command {
            media::Command::Agree { leg, agreed } => self.traces.step(now, *leg, Way::Here, || {
                let names: Vec<&str> =
                    agreed.formats.iter().map(|format| format.codec.name.as_str()).collect();
                let way = match (agreed.send, agreed.receive) {
                    (true, true) => "",
                    (true, false) => ", it only listens",
                    (false, true) => ", it only talks",
                    (false, false) => ", held",
                };
                format!("media {}{way}", names.join(" "))
            }),
            media::Command::Join { a, .. } => self.traces.step(now, *a, Way::Here, || "media joined".into()),
            _ => {}
        }
    }
}
