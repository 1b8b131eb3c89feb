//! `ivr`: a prompt of chimes, then an answer to each key: its own tones, and as many beeps as it counts.
//!
//! `0` is ten beeps, a letter none. `*` plays the prompt again, `#` says goodbye and hangs up. Keys that come while
//! others are answered wait their turn; one that comes during the prompt cuts it short.

use super::sound::{RATE, sine, soften};
use std::collections::VecDeque;

/// What a beep sounds like; no DTMF frequency, nor near one.
pub const BEEP_HZ: f64 = 1_047.0;
const fn ms(ms: u32) -> u32 {
    RATE / 1000 * ms
}
/// Length of a beep, and of the pause behind it.
pub const BEEP: (u32, u32) = (ms(120), ms(130));
/// Length of a key's own tones, and of the pause behind them.
pub const KEY: (u32, u32) = (ms(200), ms(200));
/// So long after the last sound the prompt comes again.
pub const IDLE: u32 = ms(12_000);
/// Notes that may wait; a key that would make it more is not heard.
const MOST: usize = 256;
const EDGE: u32 = ms(6);
const PROMPT: [(f64, u32); 6] = [
    (523.25, ms(220)),
    (659.26, ms(220)),
    (783.99, ms(440)),
    (0.0, ms(120)),
    (880.0, ms(160)),
    (659.26, ms(420)),
];
const GOODBYE: [(f64, u32); 3] = [(783.99, ms(220)), (659.26, ms(220)), (523.25, ms(500))];

#[derive(Clone, Copy, Debug)]
struct Note {
    /// Two frequencies; zero is silence.
    hz: [f64; 2],
    length: u32,
    /// Of a chime: it fades.
    fades: bool,
}

impl Note {
    fn rest(length: u32) -> Note {
        Note { hz: [0.0; 2], length, fades: false }
    }

    fn sample(&self, at: u32) -> f64 {
        let fade = if self.fades { (-3.0 * f64::from(at) / f64::from(RATE)).exp() } else { 1.0 };
        let sum: f64 = self.hz.iter().filter(|hz| **hz > 0.0).map(|hz| 0.45 * sine(*hz, at)).sum();
        sum * fade * soften(at, self.length, EDGE)
    }
}

/// What is being played, and what waits.
#[derive(Debug)]
pub struct Ivr {
    notes: VecDeque<Note>,
    /// Where in the first of them.
    at: u32,
    idle: u32,
    prompting: bool,
    leaving: bool,
}

impl Default for Ivr {
    fn default() -> Ivr {
        let mut ivr = Ivr { notes: VecDeque::new(), at: 0, idle: 0, prompting: false, leaving: false };
        // A moment for the far side to pick up the telephone.
        ivr.notes.push_back(Note::rest(ms(300)));
        ivr.prompt();
        ivr
    }
}

impl Ivr {
    fn prompt(&mut self) {
        self.prompting = true;
        self.chimes(&PROMPT);
    }

    fn chimes(&mut self, notes: &[(f64, u32)]) {
        self.notes.extend(notes.iter().map(|&(hz, length)| Note { hz: [hz, 0.0], length, fades: true }));
    }

    fn hush(&mut self) {
        self.notes.clear();
        self.at = 0;
        self.prompting = false;
    }

    /// A key was pressed.
    pub fn on_digit(&mut self, digit: char) {
        if self.leaving {
            return;
        }
        self.idle = 0;
        match digit {
            '*' => {
                self.hush();
                self.prompt();
            }
            '#' => {
                self.hush();
                self.leaving = true;
                self.chimes(&GOODBYE);
            }
            _ => self.count(digit),
        }
    }

    fn count(&mut self, digit: char) {
        if self.prompting {
            self.hush();
        }
        let Some(hz) = frequencies(digit).filter(|_| self.notes.len() < MOST) else { return };
        let beeps = match digit.to_digit(10) {
            Some(0) => 10,
            Some(count) => count,
            None => 0,
        };
        self.notes.push_back(Note { hz, length: KEY.0, fades: false });
        self.notes.push_back(Note::rest(KEY.1));
        for _ in 0..beeps {
            self.notes.push_back(Note { hz: [BEEP_HZ, 0.0], length: BEEP.0, fades: false });
            self.notes.push_back(Note::rest(BEEP.1));
        }
        self.notes.push_back(Note::rest(ms(300)));
    }

    /// Whether it has said goodbye.
    pub fn is_over(&self) -> bool {
        self.leaving && self.notes.is_empty()
    }

    /// The next sample.
    pub fn sample(&mut self) -> f64 {
        let Some(note) = self.notes.front() else {
            self.idle += 1;
            if self.idle >= IDLE && !self.leaving {
                self.idle = 0;
                self.prompt();
            }
            return 0.0;
        };
        let sample = note.sample(self.at);
        self.at += 1;
        if self.at >= note.length {
            self.notes.pop_front();
            self.at = 0;
            self.prompting &= !self.notes.is_empty();
        }
        sample
    }
}

/// A key's two tones (ITU-T Q.23).
fn frequencies(digit: char) -> Option<[f64; 2]> {
    const ROWS: [&str; 4] = ["123A", "456B", "789C", "*0#D"];
    const LOW: [f64; 4] = [697.0, 770.0, 852.0, 941.0];
    const HIGH: [f64; 4] = [1209.0, 1336.0, 1477.0, 1633.0];
    ROWS.iter().zip(LOW).find_map(|(row, low)| Some([low, *HIGH.get(row.find(digit)?)?]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::tests::power;

    fn play(ivr: &mut Ivr, count: u32) -> Vec<f64> {
        (0..count).map(|_| ivr.sample()).collect()
    }

    fn is_silent(samples: &[f64]) -> bool {
        samples.iter().all(|sample| sample.abs() < 1e-9)
    }

    fn prompted() -> Ivr {
        let mut ivr = Ivr::default();
        play(&mut ivr, ms(300) + PROMPT.iter().map(|note| note.1).sum::<u32>());
        ivr
    }

    /// How many beeps, by the stretches of 10 ms in which they are heard.
    fn beeps(samples: &[f64]) -> usize {
        let heard: Vec<bool> =
            samples.chunks(ms(10) as usize).map(|part| power(part, BEEP_HZ) > 0.02).collect();
        heard.windows(2).filter(|two| !two[0] && two[1]).count()
    }

    #[test]
    fn the_prompt_is_its_notes_and_comes_again_when_nothing_is_pressed() {
        let mut ivr = Ivr::default();
        assert!(is_silent(&play(&mut ivr, ms(300))));
        for round in 0..2 {
            for (hz, length) in PROMPT {
                let heard = play(&mut ivr, length);
                assert!(hz == 0.0 || power(&heard, hz) > 0.01, "{hz} Hz in round {round}");
            }
            assert!(is_silent(&play(&mut ivr, IDLE)));
        }
    }

    #[test]
    fn each_digit_is_its_tones_and_as_many_beeps() {
        for (digit, count) in [('1', 1), ('2', 2), ('5', 5), ('9', 9), ('0', 10), ('A', 0), ('D', 0)] {
            let mut ivr = prompted();
            ivr.on_digit(digit);
            let tones = play(&mut ivr, KEY.0);
            for hz in frequencies(digit).unwrap() {
                assert!(power(&tones, hz) > 0.05, "{digit}");
            }
            let rest = play(&mut ivr, ms(4_000));
            assert_eq!(beeps(&rest), count, "{digit}");
            assert!(is_silent(&rest[(KEY.1 + count as u32 * (BEEP.0 + BEEP.1)) as usize..]), "{digit}");
        }
    }

    #[test]
    fn digits_that_come_at_once_are_answered_in_their_order() {
        let mut ivr = prompted();
        for digit in ['3', '1', '2'] {
            ivr.on_digit(digit);
        }
        for (digit, count) in [('3', 3), ('1', 1), ('2', 2)] {
            let tones = play(&mut ivr, KEY.0);
            assert!(frequencies(digit).unwrap().iter().all(|hz| power(&tones, *hz) > 0.05), "{digit}");
            let length = KEY.1 + count as u32 * (BEEP.0 + BEEP.1) + ms(300);
            assert_eq!(beeps(&play(&mut ivr, length)), count);
        }
    }

    #[test]
    fn a_key_cuts_the_prompt_and_the_star_begins_it_again() {
        let mut ivr = Ivr::default();
        play(&mut ivr, ms(400));
        ivr.on_digit('4');
        assert!(power(&play(&mut ivr, KEY.0), 770.0) > 0.05);
        ivr.on_digit('*');
        assert!(power(&play(&mut ivr, PROMPT[0].1), PROMPT[0].0) > 0.01);
    }

    #[test]
    fn the_hash_says_goodbye_and_is_the_last_word() {
        let mut ivr = prompted();
        ivr.on_digit('#');
        ivr.on_digit('5');
        ivr.on_digit('*');
        for (hz, length) in GOODBYE {
            assert!(!ivr.is_over() && power(&play(&mut ivr, length), hz) > 0.01);
        }
        assert!(ivr.is_over() && is_silent(&play(&mut ivr, 2 * IDLE)));
    }

    #[test]
    fn a_flood_of_keys_is_bounded() {
        let mut ivr = Ivr::default();
        for _ in 0..10_000 {
            ivr.on_digit('0');
        }
        assert!(ivr.notes.len() < MOST + 30);
        for digit in ['x', 'é', ' '] {
            ivr.on_digit(digit);
        }
    }
}
