//! PCMU and PCMA (ITU-T G.711).

/// Samples in 20 ms.
pub const FRAME: usize = 160;

/// A codec that our sounds are sent in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// PCMU.
    Mu,
    /// PCMA.
    A,
}

impl Law {
    /// By encoding name in lower case.
    pub fn of(name: &str) -> Option<Law> {
        match name {
            "pcmu" => Some(Law::Mu),
            "pcma" => Some(Law::A),
            _ => None,
        }
    }

    /// One sample.
    pub fn encode(self, sample: i16) -> u8 {
        match self {
            Law::Mu => mu(sample),
            Law::A => a(sample),
        }
    }
}

fn mu(sample: i16) -> u8 {
    const BIAS: u32 = 0x84;
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = u32::from(sample.unsigned_abs()).min(32_635) + BIAS;
    let exponent = magnitude.ilog2() - 7;
    let mantissa = magnitude >> (exponent + 3) & 0x0f;
    !(sign | (exponent << 4) as u8 | mantissa as u8)
}

fn a(sample: i16) -> u8 {
    let sign = if sample < 0 { 0 } else { 0x80 };
    // Negative values are mirrored about -1, so that there are as many as positive ones.
    let magnitude = u32::from(if sample < 0 { !sample } else { sample } as u16) >> 3;
    let code = if magnitude < 32 {
        magnitude >> 1
    } else {
        let exponent = magnitude.ilog2() - 4;
        exponent << 4 | (magnitude >> exponent & 0x0f)
    };
    (sign | code as u8) ^ 0x55
}

#[cfg(test)]
pub fn decode(law: Law, code: u8) -> i16 {
    match law {
        Law::Mu => {
            let code = !code;
            let magnitude = (((i32::from(code & 0x0f) << 3) + 0x84) << (code >> 4 & 7)) - 0x84;
            (if code & 0x80 != 0 { -magnitude } else { magnitude }) as i16
        }
        Law::A => {
            let code = code ^ 0x55;
            let (exponent, mantissa) = (code >> 4 & 7, i32::from(code & 0x0f) << 4);
            let magnitude = if exponent == 0 { mantissa + 8 } else { (mantissa + 0x108) << (exponent - 1) };
            (if code & 0x80 == 0 { -magnitude } else { magnitude }) as i16
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_decodes_to_nearly_the_same() {
        for law in [Law::Mu, Law::A] {
            for sample in (-32_768_i32..=32_767).step_by(7) {
                let back = i32::from(decode(law, law.encode(sample as i16)));
                let step = (sample.abs() / 16).max(16);
                let capped = sample.clamp(-32_635, 32_635);
                assert!((back - capped).abs() <= step, "{law:?} {sample} {back}");
            }
        }
        assert_eq!((mu(0), mu(-1), a(0), a(-1)), (0xff, 0x7f, 0xd5, 0x55));
        // Every code but minus zero comes back as itself.
        for code in 0..=255 {
            assert_eq!(a(decode(Law::A, code)), code);
            assert!(mu(decode(Law::Mu, code)) == code || code == 0x7f);
        }
    }
}
