//! Why a leg ended or was refused: one table of causes, SIP codes, Q.850 causes, and the names that clients see.

/// What happened, in the client's stable vocabulary.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cause {
    /// One side hung up an answered call.
    Hangup,
    /// The other party was connected with somebody else.
    Transferred,
    /// The caller gave up before the answer.
    Cancelled,
    /// Another of the user's devices answered.
    AnsweredElsewhere,
    /// 486, 600.
    Busy,
    /// 603, 607, 608.
    Declined,
    /// 480, 408, 487 after ringing: it rang, or would have, and nobody came.
    NoAnswer,
    /// 404, 410, 484, 604.
    NotFound,
    /// No SIP server could be reached, or none replied, before the call's deadline; 502, 503, 504.
    Unreachable,
    /// 401, 403, 407 that we could not satisfy.
    Forbidden,
    /// 415, 488, 606: no codec or transport in common.
    NotAcceptable,
    /// 491: both sides changed the call at once.
    Pending,
    /// Our own limits: too many calls, draining.
    Overloaded,
    /// 483, 482: the call goes in circles.
    Loop,
    /// The browser was gone longer than its grace, or media never came up.
    MediaLost,
    /// The session timer ran out, the call was as long as its route allows, or a peer forgot the dialog (481).
    Expired,
    /// 400, 420, 421, 405, 501, 505, 513 and everything else with a code below 500.
    Rejected,
    /// 500 and everything else.
    Failed,
}

/// All causes, with the names that clients and records see, and the SIP code that says each to a caller whose call is
/// refused (0: none, for an answered call).
const TABLE: &[(Cause, &str, u16)] = &[
    (Cause::Hangup, "hangup", 0),
    (Cause::Transferred, "transferred", 0),
    (Cause::Cancelled, "cancelled", 487),
    (Cause::AnsweredElsewhere, "answered_elsewhere", 0),
    (Cause::Busy, "busy", 486),
    (Cause::Declined, "declined", 603),
    (Cause::NoAnswer, "no_answer", 480),
    (Cause::NotFound, "not_found", 404),
    (Cause::Unreachable, "unreachable", 503),
    (Cause::Forbidden, "forbidden", 403),
    (Cause::NotAcceptable, "not_acceptable", 488),
    (Cause::Pending, "pending", 491),
    (Cause::Overloaded, "overloaded", 503),
    (Cause::Loop, "loop", 483),
    (Cause::MediaLost, "media_lost", 0),
    (Cause::Expired, "expired", 0),
    (Cause::Rejected, "rejected", 400),
    (Cause::Failed, "failed", 500),
];

/// Why, with the codes beside it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reason {
    /// The cause.
    pub cause: Cause,
    /// The SIP response code that said so, or that says it best; 0 for an ordinary hang-up.
    pub code: u16,
    /// The Q.850 cause that a telephone network behind the party gave (RFC 3326); 0 where it gave none.
    pub q850: u8,
}

impl From<Cause> for Reason {
    fn from(cause: Cause) -> Self {
        Reason::new(cause, cause.code())
    }
}

impl Reason {
    /// A cause with the SIP code that said so.
    pub const fn new(cause: Cause, code: u16) -> Reason {
        Reason { cause, code, q850: 0 }
    }

    /// The same, with what a telephone network said.
    pub fn with_q850(self, q850: u8) -> Reason {
        Reason { q850: if q850 < 128 { q850 } else { 0 }, ..self }
    }

    /// The Q.850 cause that says it to a telephone network: what one said itself, else by the table of RFC 3398
    /// section 8.2.6.1.
    pub fn q850_cause(self) -> u8 {
        match (self.cause, self.code) {
            _ if self.q850 != 0 => self.q850,
            (Cause::Hangup | Cause::Transferred | Cause::Cancelled, _) => 16,
            (Cause::AnsweredElsewhere, _) => 26,
            (Cause::Busy, _) => 17,
            (_, 410) => 22,
            (_, 484) => 28,
            (Cause::Declined | Cause::Forbidden, _) => 21,
            (_, 408) | (Cause::Expired, _) => 102,
            (Cause::NoAnswer, _) => 19,
            (Cause::NotFound, _) => 1,
            (_, 502) => 38,
            (Cause::Unreachable, 504) => 102,
            (Cause::Unreachable | Cause::Pending | Cause::Failed, _) => 41,
            (Cause::Overloaded, _) => 34,
            (Cause::NotAcceptable, _) => 65,
            (Cause::Loop, _) => 25,
            (_, 405 | 415 | 501) => 79,
            _ => 31,
        }
    }

    /// The reason that a final SIP response (300 to 699) gives.
    pub fn from_code(code: u16) -> Reason {
        let cause = match code {
            486 | 600 => Cause::Busy,
            603 | 607 | 608 => Cause::Declined,
            408 | 480 => Cause::NoAnswer,
            404 | 410 | 484 | 604 => Cause::NotFound,
            502..=504 => Cause::Unreachable,
            401 | 403 | 407 => Cause::Forbidden,
            415 | 488 | 580 | 606 => Cause::NotAcceptable,
            491 => Cause::Pending,
            482 | 483 => Cause::Loop,
            487 => Cause::Cancelled,
            481 => Cause::Expired,
            300..=499 => Cause::Rejected,
            _ => Cause::Failed,
        };
        Reason::new(cause, code)
    }
}

impl Cause {
    fn row(self) -> &'static (Cause, &'static str, u16) {
        TABLE.iter().find(|row| row.0 == self).unwrap_or(&TABLE[TABLE.len() - 1])
    }

    /// The name that clients and records see. Stable.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// The cause of a name.
    pub fn named(name: &str) -> Option<Cause> {
        TABLE.iter().find(|row| row.1 == name).map(|row| row.0)
    }

    /// The names of all causes.
    pub fn names() -> impl Iterator<Item = &'static str> {
        TABLE.iter().map(|row| row.1)
    }

    /// The SIP response code that says it to a caller whose call is refused; 0 where none fits (an answered call).
    pub fn code(self) -> u16 {
        self.row().2
    }

    /// What a telephone network's cause means where it ended an answered call, or came without a SIP code that says
    /// more (RFC 3398 section 7.2.4.1).
    pub fn from_q850(q850: u8) -> Option<Cause> {
        Some(match q850 {
            1 | 22 | 28 => Cause::NotFound,
            16 | 31 => Cause::Hangup,
            17 => Cause::Busy,
            18..=20 => Cause::NoAnswer,
            21 | 55 | 57 => Cause::Declined,
            26 => Cause::AnsweredElsewhere,
            2 | 3 | 27 | 38 => Cause::Unreachable,
            25 => Cause::Loop,
            34 | 41 | 42 | 44 | 47 => Cause::Overloaded,
            58 | 65 | 70 | 79 | 88 => Cause::NotAcceptable,
            87 => Cause::Forbidden,
            102 => Cause::Expired,
            111 | 127 => Cause::Failed,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_code_has_a_cause_and_every_cause_its_code() {
        for code in 300..700 {
            let reason = Reason::from_code(code);
            assert_eq!(reason.code, code);
            assert!(!reason.cause.name().is_empty());
        }
        for cause in [Cause::Busy, Cause::NotFound, Cause::NotAcceptable, Cause::Pending, Cause::Declined] {
            assert_eq!(Reason::from_code(cause.code()).cause, cause);
        }
    }

    #[test]
    fn codes_map_as_rfc_3398_says() {
        for (code, wanted) in
            [(486, 17), (404, 1), (603, 21), (480, 19), (503, 41), (488, 65), (483, 25), (484, 28)]
        {
            assert_eq!(Reason::from_code(code).q850_cause(), wanted, "{code}");
            assert_eq!(Reason::from_code(code).with_q850(99).q850_cause(), 99);
        }
    }

    #[test]
    fn the_schema_shows_the_table() {
        let schema = include_str!("../signal/SCHEMA.md");
        let (_, schema) = schema.split_once("\n## Reasons\n").expect("the table");
        for (cause, name, code) in TABLE {
            let q850 = Reason::from(*cause).q850_cause();
            let line = schema.lines().find(|line| line.starts_with(&format!("| `{name}` | "))).expect(name);
            let code = if *code == 0 { "–".to_owned() } else { code.to_string() };
            assert!(line.ends_with(&format!("| {code} | {q850} |")), "{line}");
        }
    }

    #[test]
    fn the_table_has_each_cause_once_and_reads_back() {
        for (n, (cause, name, code)) in TABLE.iter().enumerate() {
            assert_eq!(Cause::named(name), Some(*cause));
            assert!(TABLE[..n].iter().all(|row| row.0 != *cause && row.1 != *name));
            assert_eq!((cause.name(), cause.code()), (*name, *code));
            assert!((1..128).contains(&Reason::from(*cause).q850_cause()));
        }
        for (q850, cause) in [(17, Cause::Busy), (1, Cause::NotFound), (16, Cause::Hangup)] {
            assert_eq!((Cause::from_q850(q850), Reason::from(cause).q850_cause()), (Some(cause), q850));
        }
        assert_eq!(Cause::from_q850(0), None);
        assert_eq!(Reason::new(Cause::Busy, 486).with_q850(200).q850, 0);
    }
}
