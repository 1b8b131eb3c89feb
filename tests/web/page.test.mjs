// The softphone page's own judgements, without a page.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { journal } from '../../src/web/journal.js';
import { forgetSession, keepCalls, keepSignIn, lastSignIn, leftCalls } from '../../src/web/memory.js';
import { ending, outcome, progress, refusal, sounding } from '../../src/web/words.js';

test('every level has words, and one-way sound comes first', () => {
  const words = ['good', 'fair', 'poor'].map((level) => sounding({ level, mos: 4, oneWay: false }));
  assert.equal(new Set(words).size, 3);
  assert.match(words[0], /good/);
  assert.match(sounding({ level: 'poor', mos: null, oneWay: true }), /not heard/);
  assert.equal(sounding({ level: 'unheard of' }), '');
});

test('a refused sign-in says what to do, and of a token what is wrong with it', () => {
  assert.match(refusal({ name: 'unauthorized' }, false)[0], /password is wrong/);
  assert.match(refusal({ name: 'unauthorized', reason: 'expired' }, true)[0], /expired/);
  assert.match(refusal({ name: 'unauthorized', reason: 'signature' }, true)[1], /key/);
  assert.match(refusal({ name: 'connection_lost' }, true)[0], /does not reply/);
  assert.match(refusal({ name: 'overloaded' }, true)[0], /All lines/);
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

test('what is kept for a reload is had once, and never is a password', () => {
  const storage = () => {
    const kept = new Map();
    return { kept, getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value), removeItem: (key) => kept.delete(key) };
  };
  globalThis.sessionStorage = storage();
  globalThis.localStorage = storage();
  assert.deepEqual(leftCalls().calls, []);
  keepCalls([{ id: 'a', muted: true }]);
  assert.deepEqual(leftCalls().calls, [{ id: 'a', muted: true }]);
  assert.deepEqual(leftCalls().calls, []);
  keepSignIn({ user: 'alice', token: 'x.y.z', password: 'secret' });
  assert.deepEqual(lastSignIn(), { user: 'alice', byToken: true, token: 'x.y.z' });
  assert.ok(![...localStorage.kept.values()].includes('x.y.z'), 'a token stays in its tab');
  assert.ok(![...localStorage.kept.values(), ...sessionStorage.kept.values()].join().includes('secret'));
  keepCalls([{ id: 'a' }]);
  forgetSession();
  assert.equal(sessionStorage.kept.size, 0);
  assert.deepEqual(lastSignIn(), { user: 'alice', byToken: true, token: '' });
  delete globalThis.sessionStorage;
  delete globalThis.localStorage;
  assert.deepEqual(lastSignIn(), { user: '', byToken: false, token: '' }, 'storage may be refused');
});
