//! Why a leg ended or was refused: one table of causes, SIP codes and the names that clients see.

/// What happened, in the client's stable vocabulary.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cause {
    /// One side hung up an answered call.
    Hangup,
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
    /// The session timer ran out, or a peer forgot the dialog (481).
    Expired,
    /// 400, 420, 421, 405, 501, 505, 513 and everything else with a code below 500.
    Rejected,
    /// 500 and everything else.
    Failed,
}

/// Why, with the SIP code beside it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reason {
    /// The cause.
    pub cause: Cause,
    /// The SIP response code that said so, or that says it best; 0 for an ordinary hang-up.
    pub code: u16,
}

impl From<Cause> for Reason {
    fn from(cause: Cause) -> Self {
        Reason { cause, code: cause.code() }
    }
}

impl Reason {
    /// The reason that a final SIP response (300 to 699) gives.
    pub fn from_code(code: u16) -> Reason {
        let cause = match code {
            486 | 600 => Cause::Busy,
            603 | 607 | 608 => Cause::Declined,
            408 | 480 => Cause::NoAnswer,
            404 | 410 | 484 | 604 => Cause::NotFound,
            502..=504 => Cause::Unreachable,
            401 | 403 | 407 => Cause::Forbidden,
            415 | 488 | 606 => Cause::NotAcceptable,
            491 => Cause::Pending,
            482 | 483 => Cause::Loop,
            487 => Cause::Cancelled,
            481 => Cause::Expired,
            300..=499 => Cause::Rejected,
            _ => Cause::Failed,
        };
        Reason { cause, code }
    }
}

impl Cause {
    /// The name that clients and records see. Stable.
    pub fn name(self) -> &'static str {
        match self {
            Cause::Hangup => "hangup",
            Cause::Cancelled => "cancelled",
            Cause::AnsweredElsewhere => "answered_elsewhere",
            Cause::Busy => "busy",
            Cause::Declined => "declined",
            Cause::NoAnswer => "no_answer",
            Cause::NotFound => "not_found",
            Cause::Unreachable => "unreachable",
            Cause::Forbidden => "forbidden",
            Cause::NotAcceptable => "not_acceptable",
            Cause::Pending => "pending",
            Cause::Overloaded => "overloaded",
            Cause::Loop => "loop",
            Cause::MediaLost => "media_lost",
            Cause::Expired => "expired",
            Cause::Rejected => "rejected",
            Cause::Failed => "failed",
        }
    }

    /// The SIP response code that says it to a caller whose call is refused; 0 where none fits (an answered call).
    pub fn code(self) -> u16 {
        match self {
            Cause::Hangup | Cause::AnsweredElsewhere | Cause::MediaLost | Cause::Expired => 0,
            Cause::Cancelled => 487,
            Cause::Busy => 486,
            Cause::Declined => 603,
            Cause::NoAnswer => 480,
            Cause::NotFound => 404,
            Cause::Unreachable | Cause::Overloaded => 503,
            Cause::Forbidden => 403,
            Cause::NotAcceptable => 488,
            Cause::Pending => 491,
            Cause::Loop => 483,
            Cause::Rejected => 400,
            Cause::Failed => 500,
        }
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
}
