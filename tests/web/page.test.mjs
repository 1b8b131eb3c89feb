// The softphone page's own judgements, without a page.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { journal } from '../../src/web/journal.js';
import { judge, watch } from '../../src/web/quality.js';
import { ending, outcome, progress, sounding } from '../../src/web/words.js';

const fine = { received: 100, lost: 0, jitterMs: 5, roundTripMs: 40 };

test('sound is judged by its worst trait', () => {
  assert.deepEqual(judge(fine), { level: 'good', why: '' });
  assert.deepEqual(judge({ ...fine, lost: 2 }), { level: 'fair', why: 'loss' });
  assert.deepEqual(judge({ ...fine, lost: 10 }), { level: 'poor', why: 'loss' });
  assert.deepEqual(judge({ ...fine, jitterMs: 50 }), { level: 'fair', why: 'jitter' });
  assert.deepEqual(judge({ ...fine, jitterMs: 50, roundTripMs: 900 }), { level: 'poor', why: 'delay' });
  assert.deepEqual(judge({ ...fine, received: 0 }), { level: 'silent', why: '' });
});

test('quality is told from what came since the last look, and the gateway knows worse', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  let packetsReceived = 0;
  let hear = () => {};
  const connection = { getStats: async () => new Map([['in', { type: 'inbound-rtp', kind: 'audio', packetsReceived, packetsLost: 0, jitter: 0.004 }]]) };
  const call = { state: 'answered', connection, on: (_, listener) => ((hear = listener), () => {}) };
  const told = [];
  const watching = watch(call, (quality) => told.push(quality.level));
  const look = async (packets) => {
    packetsReceived += packets;
    t.mock.timers.tick(2000);
    await new Promise(setImmediate);
  };
  await look(100);
  assert.deepEqual(told, [], 'one look is no stretch');
  await look(100);
  await look(0);
  hear({ level: 'poor', oneWay: false });
  await look(100);
  hear({ level: 'good', oneWay: true });
  await look(100);
  hear({ level: 'good', oneWay: false });
  watching.forget();
  await look(100);
  await look(100);
  watching.stop();
  await look(100);
  assert.deepEqual(told, ['good', 'silent', 'poor', 'one_way', 'good']);
});

test('every level has words and never a gap in them', () => {
  for (const level of ['good', 'fair', 'poor', 'silent', 'one_way']) {
    for (const why of ['', 'loss', 'jitter', 'delay']) {
      const words = sounding({ level, why }, 'bob');
      assert.ok(words.length > 5 && !/undefined| {2}|\s$/.test(words), words);
    }
  }
});

test('a call of the log says how it went', () => {
  const past = (direction, reason, seconds = 0) => outcome({ direction, reason, seconds });
  assert.equal(past('outgoing', 'hangup', 65), 'Outgoing, 1:05');
  assert.equal(past('incoming', 'cancelled'), 'Missed');
  assert.equal(past('incoming', 'declined'), 'Declined');
  assert.equal(past('outgoing', 'declined'), 'Was declined');
  assert.equal(past('outgoing', 'whatever'), 'Failed');
});

test('hold is said before anything else, and an unknown end has words too', () => {
  const call = { state: 'answered', media: 'connected' };
  assert.equal(progress(call), 'In call');
  assert.equal(progress(call, { held: true, heldBy: true }), 'On hold');
  assert.equal(progress(call, { heldBy: true, who: 'bob' }), 'bob has put you on hold');
  assert.equal(ending({ reason: 'strange', code: 599 })[0], 'The call failed.');
});

test('the log is kept for its user, newest first, and is bounded', () => {
  const kept = new Map();
  globalThis.sessionStorage = { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value) };
  const log = journal('alice');
  for (let n = 0; n < 40; n++) log.add({ who: `n${n}` });
  assert.equal(log.entries.length, 30);
  assert.equal(journal('alice').entries[0].who, 'n39');
  assert.deepEqual(journal('bob').entries, []);
  kept.set('bridgehead.calls.bob', 'rubbish');
  assert.deepEqual(journal('bob').entries, []);
});
