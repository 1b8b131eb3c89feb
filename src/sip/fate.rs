//! Which refusals of a request within a dialog end more than their own transaction (RFC 5057 section 5).

/// Whether this answer to a re-INVITE or an UPDATE means that there is no call any more: the far side does not know the
/// dialog, or nothing that is sent along it arrives (RFC 3261 section 12.2.1.2).
pub(super) fn ends_dialog(code: u16) -> bool {
    matches!(code, 404 | 408 | 410 | 416 | 481..=485 | 502 | 604)
}

/// The same of a request that is not of the session (INFO, PRACK): silence says nothing of the call.
pub(super) fn ends_beside(code: u16) -> bool {
    code != 408 && ends_dialog(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_codes_of_the_table_end_a_dialog() {
        let ending: Vec<u16> = (300..700).filter(|code| ends_dialog(*code)).collect();
        assert_eq!(ending, [404, 408, 410, 416, 481, 482, 483, 484, 485, 502, 604]);
        assert!(!ends_beside(408) && ends_beside(481));
    }
}
