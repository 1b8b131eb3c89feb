// What a telephone sounds like before anybody speaks: a soft ring for a call that comes, ringback for one that goes out.

/** Notes of one period: frequency in Hz, start and length in seconds. */
const RING = { period: 3, gain: 0.12, notes: [[659, 0, 0.5], [784, 0.16, 0.5], [659, 0.8, 0.5], [784, 0.96, 0.6]] };
const WAITING = { period: 6, gain: 0.06, notes: [[425, 0, 0.2], [425, 0.4, 0.2]] };
const RINGBACK = { period: 5, gain: 0.05, notes: [[425, 0, 1]] };

const ROWS = ['123', '456', '789', '*0#'];
const LOW = [697, 770, 852, 941];
const HIGH = [1209, 1336, 1477];

/** What a key sounds like under the finger (ITU-T Q.23). */
function key(context, digit) {
  const row = ROWS.findIndex((keys) => keys.includes(digit));
  if (row < 0) return;
  const level = new GainNode(context, { gain: 0.03 });
  level.connect(context.destination);
  const at = context.currentTime;
  level.gain.setValueAtTime(0.03, at + 0.09);
  level.gain.linearRampToValueAtTime(0, at + 0.12);
  for (const frequency of [LOW[row], HIGH[ROWS[row].indexOf(digit)]]) {
    const note = new OscillatorNode(context, { frequency });
    note.connect(level);
    note.start(at);
    note.stop(at + 0.12);
  }
}

/** A note or two, softened at both ends: a switched sine clicks. */
function strike(context, level, notes) {
  for (const [frequency, start, length] of notes) {
    const note = new OscillatorNode(context, { frequency });
    const envelope = new GainNode(context, { gain: 0 });
    const at = context.currentTime + start;
    envelope.gain.setValueAtTime(0, at);
    envelope.gain.linearRampToValueAtTime(1, at + 0.03);
    envelope.gain.setValueAtTime(1, at + length - 0.1);
    envelope.gain.linearRampToValueAtTime(0, at + length);
    note.connect(envelope).connect(level);
    note.start(at);
    note.stop(at + length);
  }
}

/** Plays `tune` over and over until the returned function is called. */
function repeat(context, { period, gain, notes }) {
  const level = new GainNode(context, { gain });
  level.connect(context.destination);
  const play = () => strike(context, level, notes);
  play();
  const again = setInterval(play, period * 1000);
  return () => {
    clearInterval(again);
    level.disconnect();
  };
}

/** One tune at a time: `ring()`, `waiting()`, `ringback()`, `hush()`. Beside it `key(digit)`, and a `chime()` to try the speaker. */
export function tones(context) {
  let playing = null;
  let stop = () => {};
  const play = (name, tune) => {
    if (playing === name) return;
    stop();
    playing = name;
    stop = tune ? repeat(context(), tune) : () => {};
  };
  return {
    ring: () => play('ring', RING),
    waiting: () => play('waiting', WAITING),
    ringback: () => play('ringback', RINGBACK),
    hush: () => play(null, null),
    key: (digit) => key(context(), digit),
    chime() {
      const level = new GainNode(context(), { gain: RING.gain });
      level.connect(level.context.destination);
      strike(level.context, level, RING.notes.slice(0, 2));
    },
  };
}
