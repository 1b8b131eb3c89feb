// What a telephone sounds like before anybody speaks: a soft ring for a call that comes, ringback for one that goes out.

/** Notes of one period: frequency in Hz, start and length in seconds. */
const RING = { period: 3, gain: 0.12, notes: [[659, 0, 0.5], [784, 0.16, 0.5], [659, 0.8, 0.5], [784, 0.96, 0.6]] };
const RINGBACK = { period: 5, gain: 0.05, notes: [[425, 0, 1]] };

/** Plays `tune` over and over until the returned function is called. */
function repeat(context, { period, gain, notes }) {
  const level = new GainNode(context, { gain });
  level.connect(context.destination);
  const play = () => {
    for (const [frequency, start, length] of notes) {
      const note = new OscillatorNode(context, { frequency });
      const envelope = new GainNode(context, { gain: 0 });
      const at = context.currentTime + start;
      // Softened at both ends: a switched sine clicks.
      envelope.gain.setValueAtTime(0, at);
      envelope.gain.linearRampToValueAtTime(1, at + 0.03);
      envelope.gain.setValueAtTime(1, at + length - 0.1);
      envelope.gain.linearRampToValueAtTime(0, at + length);
      note.connect(envelope).connect(level);
      note.start(at);
      note.stop(at + length);
    }
  };
  play();
  const again = setInterval(play, period * 1000);
  return () => {
    clearInterval(again);
    level.disconnect();
  };
}

/** One tune at a time: `ring()`, `ringback()`, `hush()`. */
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
    ringback: () => play('ringback', RINGBACK),
    hush: () => play(null, null),
  };
}
