//! Redundant audio (RFC 2198): the payload types inside of a payload.

/// Why a payload can't be passed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Broken {
    /// Its block headers don't fit it, or there are more than [`MOST_BLOCKS`].
    Malformed,
    /// A block is of a payload type that has no number at the other side.
    Unknown,
}

/// Blocks of one payload: far more than any sender writes.
pub const MOST_BLOCKS: usize = 32;

/// Gives each block of a payload the payload type that `number` says, in place. A payload that can't be passed on is left
/// as it was.
pub fn renumber(payload: &mut [u8], number: impl Fn(u8) -> Option<u8>) -> Result<(), Broken> {
    // All is looked at before anything is written.
    let mut given = [0_u8; MOST_BLOCKS];
    let (mut place, mut blocks, mut octets) = (0, 0, 0_usize);
    loop {
        let &first = payload.get(place).ok_or(Broken::Malformed)?;
        let slot = given.get_mut(blocks).ok_or(Broken::Malformed)?;
        *slot = number(first & 0x7f).ok_or(Broken::Unknown)? & 0x7f;
        blocks += 1;
        if first & 0x80 == 0 {
            place += 1;
            break;
        }
        let Some(&[_, _, high, low]) = payload.get(place..place + 4) else { return Err(Broken::Malformed) };
        octets += usize::from(u16::from_be_bytes([high & 0x03, low]));
        place += 4;
    }
    // The primary block has whatever the redundant ones leave, which may be nothing.
    if place + octets > payload.len() {
        return Err(Broken::Malformed);
    }
    let mut place = 0;
    for number in &given[..blocks] {
        if let Some(first) = payload.get_mut(place) {
            *first = (*first & 0x80) | number;
        }
        place += 4;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opus(number: u8) -> Option<u8> {
        (number == 111).then_some(96)
    }

    /// Two blocks: three octets from 960 units ago, and the primary one.
    const TWO: [u8; 9] = [0x80 + 111, 0x0f, 0x00, 3, 111, 1, 2, 3, 4];

    #[test]
    fn blocks_get_the_other_sides_number_and_keep_all_else() {
        let mut payload = TWO;
        assert_eq!(renumber(&mut payload, opus), Ok(()));
        assert_eq!(payload, [0x80 + 96, 0x0f, 0x00, 3, 96, 1, 2, 3, 4]);
        let mut alone = [111, 9, 9];
        assert_eq!(renumber(&mut alone, opus), Ok(()));
        assert_eq!(alone, [96, 9, 9]);
        // A primary block of nothing: the sender pauses.
        let mut pause = [0x80 + 111, 0, 0, 1, 111, 7];
        assert_eq!(renumber(&mut pause, opus), Ok(()));
    }

    #[test]
    fn a_block_of_another_payload_type_refuses_the_whole_payload() {
        for place in [0, 4] {
            let mut payload = TWO;
            payload[place] = (payload[place] & 0x80) + 101;
            let before = payload;
            assert_eq!(renumber(&mut payload, opus), Err(Broken::Unknown));
            assert_eq!(payload, before, "and leaves it");
        }
    }

    #[test]
    fn headers_that_lie_about_their_length_are_refused() {
        assert_eq!(renumber(&mut [], opus), Err(Broken::Malformed));
        // No last header, in every length.
        for length in 1..4 * MOST_BLOCKS + 9 {
            let mut endless = vec![0x80 + 111; length];
            assert_eq!(renumber(&mut endless, opus), Err(Broken::Malformed), "{length}");
        }
        // Cut anywhere before the redundant block's end.
        for length in 0..8 {
            let mut cut = TWO[..length].to_vec();
            assert_eq!(renumber(&mut cut, opus), Err(Broken::Malformed), "{length}");
            assert_eq!(cut, TWO[..length]);
        }
        // The longest length that ten bits say.
        let mut long = [0x80 + 111, 0, 0x03, 0xff, 111, 0];
        assert_eq!(renumber(&mut long, opus), Err(Broken::Malformed));
        // As many blocks as may be, and one more.
        let header = [0x80 + 111, 0, 0, 0];
        let mut most = [header.repeat(MOST_BLOCKS - 1), vec![111]].concat();
        assert_eq!(renumber(&mut most, opus), Ok(()));
        let mut more = [header.repeat(MOST_BLOCKS), vec![111]].concat();
        assert_eq!(renumber(&mut more, opus), Err(Broken::Malformed));
    }

    #[test]
    fn no_payload_whatever_makes_it_panic_or_half_written() {
        let mut random = crate::base::Random::from_number(7);
        for _ in 0..20_000 {
            let mut payload = vec![0; random.below(64) as usize];
            random.fill(&mut payload);
            let before = payload.clone();
            if renumber(&mut payload, |number| (number & 3 != 0).then_some(number ^ 1)).is_err() {
                assert_eq!(payload, before);
            }
        }
    }
}
