//! The server's own numbers.

/// All of them, with what a caller may expect.
pub const NUMBERS: [(&str, &str); 7] = [
    ("echo", "you hear yourself"),
    ("music", "a melody, endless"),
    ("ivr", "counts the keys you press"),
    ("delay", "rings 5 seconds, then echoes"),
    ("busy", "is always busy"),
    ("decline", "declines every call"),
    ("tone", "440 Hz"),
];

/// What a number of ours does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What comes goes back.
    Echo,
    /// The same, after some ringing.
    Delay,
    /// 440 Hz.
    Tone,
    /// A melody, again and again.
    Music,
    /// A prompt, and an answer to each key.
    Ivr,
}

/// How a number of ours meets a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// It takes it.
    Takes(Kind),
    /// It refuses it with this status.
    Refuses((u16, &'static str)),
}

impl Number {
    /// By the user part that was called, in any case; `None` where it is none of ours.
    pub fn of(user: &str) -> Option<Number> {
        Some(match user.to_ascii_lowercase().as_str() {
            "echo" => Number::Takes(Kind::Echo),
            "delay" => Number::Takes(Kind::Delay),
            "tone" => Number::Takes(Kind::Tone),
            "music" => Number::Takes(Kind::Music),
            "ivr" => Number::Takes(Kind::Ivr),
            "busy" => Number::Refuses((486, "Busy Here")),
            "decline" => Number::Refuses((603, "Decline")),
            _ => return None,
        })
    }
}

impl Kind {
    /// Whether it sends back what it hears, rather than a sound of its own.
    pub fn echoes(self) -> bool {
        matches!(self, Kind::Echo | Kind::Delay)
    }
}

#[test]
fn every_number_that_is_listed_is_there() {
    for (name, label) in NUMBERS {
        assert!(Number::of(name).is_some() && !label.is_empty(), "{name}");
        assert_eq!(Number::of(&name.to_uppercase()), Number::of(name));
    }
    assert_eq!(Number::of("alice"), None);
}
