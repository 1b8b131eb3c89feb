//! Why, in SIP's words: response codes, the `Reason` header (RFC 3326, 6432), and what the operator says they mean.

use crate::leg::{Cause, Reason};
use sip_codec::{Message, Name};

/// What a trunk's codes mean where that is not what the table of [`Cause`] says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reasons {
    /// Of response codes that it sends.
    pub codes: Vec<(u16, Cause)>,
    /// Of Q.850 causes that it sends.
    pub q850: Vec<(u8, Cause)>,
    /// Response codes that it is sent.
    pub said: Vec<(Cause, u16)>,
}

/// What a message's `Reason` headers say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Said {
    /// The Q.850 cause; 0 where there is none.
    pub q850: u8,
    /// The SIP code; 0 where there is none.
    pub code: u16,
}

impl Said {
    pub fn read(message: &Message<'_>) -> Said {
        let mut said = Said::default();
        for reason in message.values(Name::Reason).filter_map(|value| sip_codec::Reason::parse(value).ok()) {
            let cause = reason.cause.unwrap_or(0);
            if reason.protocol.eq_ignore_ascii_case("Q.850") && said.q850 == 0 {
                said.q850 = u8::try_from(cause).ok().filter(|cause| *cause < 128).unwrap_or(0);
            } else if reason.protocol.eq_ignore_ascii_case("SIP") && said.code == 0 {
                said.code = u16::try_from(cause).ok().filter(|code| (200..700).contains(code)).unwrap_or(0);
            }
        }
        said
    }
}

impl Reasons {
    /// What a final response of the trunk says.
    pub(super) fn of_response(&self, message: &Message<'_>, code: u16) -> Reason {
        let said = Said::read(message);
        let reason = Reason::from_code(code).with_q850(said.q850);
        let told = self.codes.iter().find(|(known, _)| *known == code).map(|(_, cause)| *cause);
        // A code that says little is made out by what the telephone network said.
        let vague = matches!(code, 480 | 500 | 503);
        let network = Cause::from_q850(said.q850).filter(|cause| vague && *cause != Cause::Hangup);
        let cause = self.of_q850(said.q850).or(told).or(network).unwrap_or(reason.cause);
        Reason { cause, ..reason }
    }

    /// What a BYE says: an ordinary hang-up, unless its cause is more.
    pub(super) fn of_bye(&self, message: &Message<'_>) -> Reason {
        let said = Said::read(message);
        let cause = self.of_q850(said.q850).unwrap_or(Cause::Hangup);
        Reason::from(Cause::Hangup).with_q850(said.q850).because(cause)
    }

    /// What a CANCEL says: the caller gave up, or another device of the called user answered.
    pub(super) fn of_cancel(message: &Message<'_>) -> Reason {
        let said = Said::read(message);
        let cause = if said.code == 200 { Cause::AnsweredElsewhere } else { Cause::Cancelled };
        Reason::from(cause).with_q850(said.q850)
    }

    fn of_q850(&self, q850: u8) -> Option<Cause> {
        self.q850.iter().find(|(known, _)| q850 != 0 && *known == q850).map(|(_, cause)| *cause)
    }

    /// The final response that says it to the trunk.
    pub(super) fn code(&self, reason: Reason) -> u16 {
        if let Some((_, code)) = self.said.iter().find(|(cause, _)| *cause == reason.cause) {
            return *code;
        }
        let own = if (300..700).contains(&reason.code) { reason.code } else { reason.cause.code() };
        if own < 300 { Cause::NoAnswer.code() } else { own }
    }
}

impl Reason {
    /// The same by another cause.
    fn because(self, cause: Cause) -> Reason {
        Reason { cause, ..self }
    }
}

/// The `Reason` of a message that ends a leg; `None` where the message says it all. What a telephone network said is
/// passed on; of what we ended ourselves the network behind the other side is told.
pub(super) fn header(reason: Reason) -> Option<String> {
    let ordinary = matches!(reason.cause, Cause::Hangup | Cause::Cancelled);
    match (reason.cause, reason.q850) {
        // RFC 3326 section 3.1.
        (Cause::AnsweredElsewhere, _) => Some("SIP;cause=200;text=\"Call completed elsewhere\"".to_owned()),
        (_, 1..) => Some(format!("Q.850;cause={}", reason.q850)),
        _ if ordinary => None,
        (cause, _) => Some(format!("Q.850;cause={};text=\"{}\"", reason.q850_cause(), cause.name())),
    }
}

/// The `Reason` of a final response: only what a telephone network said; the code says the rest (RFC 6432).
pub(super) fn header_of_response(reason: Reason) -> Option<String> {
    (reason.q850 != 0).then(|| format!("Q.850;cause={}", reason.q850))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(headers: &str) -> Vec<u8> {
        format!(
            "SIP/2.0 503 Gone\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:b@c>\r\n\
             Call-ID: x\r\nCSeq: 7 INVITE\r\n{headers}\r\n"
        )
        .into_bytes()
    }

    fn said(headers: &str) -> Said {
        Said::read(&Message::parse(&message(headers)).unwrap())
    }

    #[test]
    fn the_first_cause_of_each_protocol_is_read_and_nonsense_is_none() {
        let both =
            "Reason: Q.850;cause=17;text=\"a,b;cause=3\", SIP;cause=486\r\nReason: q.850 ; cause=1\r\n";
        assert_eq!(said(both), Said { q850: 17, code: 486 });
        for nonsense in ["Reason: Q.850;cause=900\r\n", "Reason: Q.850\r\n", "Reason: ;;\r\n", ""] {
            assert_eq!(said(nonsense), Said::default(), "{nonsense}");
        }
        assert_eq!(said("Reason: SIP;cause=99999999999\r\n"), Said::default());
    }

    #[test]
    fn an_operators_table_goes_before_ours() {
        let reasons = Reasons {
            codes: vec![(503, Cause::Busy)],
            q850: vec![(34, Cause::Overloaded)],
            said: vec![(Cause::Busy, 600)],
        };
        let of = |reasons: &Reasons, headers: &str| {
            reasons.of_response(&Message::parse(&message(headers)).unwrap(), 503)
        };
        assert_eq!(of(&Reasons::default(), ""), Reason::new(Cause::Unreachable, 503));
        assert_eq!(of(&reasons, ""), Reason::new(Cause::Busy, 503));
        let network = of(&Reasons::default(), "Reason: Q.850;cause=1\r\n");
        assert_eq!(network, Reason::new(Cause::NotFound, 503).with_q850(1));
        let full = of(&reasons, "Reason: Q.850;cause=34\r\n");
        assert_eq!(full, Reason::new(Cause::Overloaded, 503).with_q850(34));
        assert_eq!((reasons.code(Cause::Busy.into()), reasons.code(Cause::NotFound.into())), (600, 404));
        // An answered call's reasons have no code of their own.
        assert_eq!(reasons.code(Cause::Hangup.into()), 480);
    }

    #[test]
    fn what_a_network_said_is_passed_on_and_what_we_did_is_said() {
        let (hangup, cancelled) = (Reason::from(Cause::Hangup), Reason::from(Cause::Cancelled));
        assert_eq!((header(hangup), header(cancelled)), (None, None));
        assert_eq!(header(hangup.with_q850(31)).as_deref(), Some("Q.850;cause=31"));
        assert_eq!(header(Cause::MediaLost.into()).as_deref(), Some("Q.850;cause=31;text=\"media_lost\""));
        assert!(header(Cause::AnsweredElsewhere.into()).unwrap().starts_with("SIP;cause=200"));
        assert_eq!(header_of_response(Cause::Busy.into()), None);
        let busy = Reason::from(Cause::Busy).with_q850(17);
        assert_eq!(header_of_response(busy).as_deref(), Some("Q.850;cause=17"));
    }
}
