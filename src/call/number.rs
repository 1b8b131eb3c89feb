//! Numbers: how they are matched and rewritten (E.164).

use regex::Regex;

/// The longest number or name that is made by rewriting, in bytes.
const LONGEST: usize = 128;

/// What a number or name must look like.
#[derive(Clone, Debug, Default)]
pub struct Pattern {
    /// How it begins; anything where empty.
    pub prefix: String,
    /// What is found in it (in linear time); anything where absent.
    pub regex: Option<Regex>,
}

impl Pattern {
    /// A beginning alone.
    pub fn prefix(prefix: &str) -> Pattern {
        Pattern { prefix: prefix.into(), regex: None }
    }

    /// Whether a number looks so.
    pub fn is_match(&self, number: &str) -> bool {
        number.starts_with(&self.prefix) && self.regex.as_ref().is_none_or(|regex| regex.is_match(number))
    }
}

/// How numbers are dialled somewhere, to make E.164 numbers of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The country's code, without plus.
    pub country: String,
    /// What a national number begins with (`0`); none in countries without.
    pub national: String,
    /// What an international number begins with (`00`, `011`).
    pub international: String,
}

impl Plan {
    /// The E.164 form of a number, with plus. What is none (a name, a short code of up to six digits) stays.
    pub fn normalise(&self, number: &str) -> String {
        let visual = |c: &char| !matches!(c, ' ' | '-' | '.' | '(' | ')');
        let plain: String = number.chars().filter(visual).collect();
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if let Some(rest) = plain.strip_prefix('+') {
            return if digits(rest) { plain } else { number.into() };
        }
        if !digits(&plain) || plain.len() <= 6 {
            return number.into();
        }
        let after = |prefix: &str| plain.strip_prefix(prefix).filter(|_| !prefix.is_empty());
        if let Some(rest) = after(&self.international) {
            return format!("+{rest}");
        }
        let national = after(&self.national).or(self.national.is_empty().then_some(plain.as_str()));
        match national {
            Some(rest) => format!("+{}{rest}", self.country),
            // Neither prefix: with the country's code, or local, which needs an area that nobody told.
            None if plain.starts_with(&self.country) => format!("+{plain}"),
            None => number.into(),
        }
    }
}

/// What is done to a number, in this order.
#[derive(Clone, Debug, Default)]
pub struct Rewrite {
    /// Makes an E.164 number of it.
    pub e164: Option<Plan>,
    /// Characters that are taken off its beginning.
    pub strip: usize,
    /// What is found is replaced by this (`$1` is the first group).
    pub replace: Option<(Regex, String)>,
    /// Put before it.
    pub prepend: String,
}

impl Rewrite {
    /// The number as it goes on. What would be too long stays as it was.
    pub fn apply(&self, number: &str) -> String {
        let mut out = self.e164.as_ref().map_or_else(|| number.to_owned(), |plan| plan.normalise(number));
        if self.strip > 0 {
            out = out.chars().skip(self.strip).collect();
        }
        if let Some((regex, with)) = &self.replace {
            out = regex.replacen(&out, 1, with.as_str()).into_owned();
        }
        out.insert_str(0, &self.prepend);
        if out.len() > LONGEST || out.chars().any(char::is_control) { number.to_owned() } else { out }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(country: &str, national: &str, international: &str) -> Plan {
        Plan { country: country.into(), national: national.into(), international: international.into() }
    }

    #[test]
    fn numbers_become_e164_by_the_country_they_are_dialled_in() {
        let (germany, america, italy) = (plan("49", "0", "00"), plan("1", "1", "011"), plan("39", "", "00"));
        for (plan, number, made) in [
            (&germany, "030 123456", "+4930123456"),
            (&germany, "0044207946000", "+44207946000"),
            (&germany, "+49 (30) 12-34", "+49301234"),
            (&germany, "4930123456", "+4930123456"),
            (&germany, "110", "110"),
            (&germany, "bob", "bob"),
            (&germany, "+bob", "+bob"),
            (&germany, "1234567", "1234567"),
            (&germany, "", ""),
            (&america, "12125551234", "+12125551234"),
            (&america, "011442079460000", "+442079460000"),
            (&italy, "0612345678", "+390612345678"),
            (&italy, "0044207946000", "+44207946000"),
        ] {
            assert_eq!(plan.normalise(number), made, "{number} in {}", plan.country);
        }
    }

    #[test]
    fn numbers_are_stripped_replaced_and_prepended_in_that_order() {
        let regex = |text: &str| Regex::new(text).unwrap();
        let all = Rewrite {
            e164: Some(plan("49", "0", "00")),
            strip: 1,
            replace: Some((regex("^49(\\d\\d)"), "0$1/".into())),
            prepend: "9".into(),
        };
        assert_eq!(all.apply("030123456"), "9030/123456");
        assert_eq!(Rewrite::default().apply("é\u{301}x"), "é\u{301}x");
        assert_eq!(Rewrite { strip: 9, ..Rewrite::default() }.apply("123"), "");
        let long = Rewrite { prepend: "1".repeat(200), ..Rewrite::default() };
        assert_eq!(long.apply("5"), "5");
    }

    #[test]
    fn a_pattern_is_a_beginning_and_what_is_found() {
        let pattern = Pattern { prefix: "+49".into(), regex: Some(Regex::new("^\\+49[1-9]\\d+$").unwrap()) };
        assert!(pattern.is_match("+4930") && !pattern.is_match("+4900") && !pattern.is_match("+1"));
        assert!(Pattern::default().is_match(""));
        // What makes other matchers take for ever.
        let evil = Pattern { prefix: String::new(), regex: Some(Regex::new("^(1+)+$").unwrap()) };
        assert!(!evil.is_match(&format!("{}x", "1".repeat(50_000))));
    }
}
