// The SDK against a scripted gateway and a scripted browser.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { beforeEach, mock, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { Bridgehead, BridgeheadError } from '../../src/web/sdk/bridgehead.js';
import { FakePeer, FakeSocket, FakeStream, FakeTrack, install, microphone, settle } from './fakes.mjs';

beforeEach(install);

async function signIn(options = { user: 'alice', password: 'secret' }, Client = Bridgehead) {
  const connecting = Client.connect(options);
  const socket = FakeSocket.last;
  socket.open();
  socket.ok('connect', { session: 's1', user: 'alice', ice_servers: [{ urls: 'stun:x' }] });
  return { client: await connecting, socket };
}

async function dialled(audio, Client = Bridgehead) {
  const { client, socket } = await signIn(undefined, Client);
  const call = client.dial('echo', audio === undefined ? {} : { audio });
  await settle();
  return { client, socket, call, pc: FakePeer.all[0] };
}

async function rung(listen = true) {
  const { client, socket } = await signIn();
  const heard = [];
  if (listen) client.on('incoming', (call) => heard.push(call));
  socket.say({ type: 'incoming', seq: 1, call: 'g1', from: { user: 'bob', host: 'x', display: 'Bob' }, to: 'alice', sdp: 'offer A' });
  return { client, socket, call: heard[0] };
}

/** A promise's rejection as a value. */
const refused = (promise) => promise.then(() => assert.fail('not refused'), (error) => error);

test('signs in with the first message and keeps secrets out of the address', async () => {
  const { client, socket } = await signIn();
  assert.equal(socket.url, 'wss://gw.example/v1/ws');
  assert.equal(socket.protocol, 'bridgehead.v1');
  assert.deepEqual(socket.sent[0], { type: 'connect', id: 1, version: 1, user: 'alice', password: 'secret' });
  assert.equal(client.user, 'alice');
  assert.equal(client.session, 's1');
});

test('takes a gateway elsewhere, given as http or ws', async () => {
  const { socket } = await signIn({ url: 'https://other.example/v1/ws', token: 't' });
  assert.equal(socket.url, 'wss://other.example/v1/ws');
  assert.deepEqual(socket.sent[0], { type: 'connect', id: 1, version: 1, token: 't' });
  const error = await refused(Bridgehead.connect({ url: 'http://[' }));
  assert.equal(error.name, 'bad_request');
});

test('tells a wrong password, a wrong version and an unreachable gateway apart', async () => {
  for (const name of ['unauthorized', 'version']) {
    const connecting = Bridgehead.connect({ user: 'alice', password: 'x' });
    FakeSocket.last.open();
    FakeSocket.last.refuse('connect', name);
    const error = await refused(connecting);
    assert.ok(error instanceof BridgeheadError);
    assert.equal(error.name, name);
    assert.equal(FakeSocket.last.readyState, 3);
  }
  const connecting = Bridgehead.connect({ user: 'alice', password: 'x' });
  FakeSocket.last.close();
  assert.equal((await refused(connecting)).name, 'connection_lost');
  const silent = Bridgehead.connect({ user: 'alice', password: 'x' });
  mock.timers.tick(10_000);
  assert.equal((await refused(silent)).name, 'connection_lost');
});

test('registers when the server agrees, and says why when it does not', async () => {
  const { client, socket } = await signIn();
  const registering = client.register();
  socket.ok('register');
  socket.say({ type: 'registered', seq: 1 });
  await registering;
  assert.equal(client.registered, true);
  const again = client.register();
  socket.ok('register');
  await again;
  const third = client.register();
  socket.say({ type: 'unregistered', seq: 2, reason: 'forbidden', code: 403 });
  const error = await refused(third);
  assert.deepEqual([error.name, error.code, client.registered], ['forbidden', 403, false]);
});

test('sends the offer without waiting for candidates and applies the answer before the ringing', async () => {
  const { socket, call, pc } = await dialled();
  assert.deepEqual(pc.config.iceServers, [{ urls: 'stun:x' }]);
  assert.equal(socket.asked('dial').to, 'echo');
  assert.equal(socket.asked('dial').sdp, 'offer 1');
  assert.match(socket.asked('dial').call, /^[A-Za-z0-9_-]{1,64}$/);
  const seen = [];
  for (const name of ['ringing', 'early', 'answered', 'ended', 'media']) call.on(name, () => seen.push(name));
  socket.ok('dial');
  socket.say({ type: 'media', seq: 1, call: call.id, sdp: 'answer' });
  socket.say({ type: 'ringing', seq: 2, call: call.id, code: 180 });
  assert.equal(call.state, 'ringing');
  socket.say({ type: 'ringing', seq: 3, call: call.id, code: 183 });
  assert.equal(call.state, 'early');
  await settle();
  assert.equal(pc.remoteDescription.sdp, 'answer');
  pc.become('connected');
  socket.say({ type: 'answered', seq: 4, call: call.id });
  assert.equal(await call.answered, call);
  socket.say({ type: 'ended', seq: 5, call: call.id, reason: 'hangup', code: 0 });
  assert.deepEqual(await call.ended, { reason: 'hangup', code: 0 });
  assert.deepEqual(seen, ['ringing', 'early', 'media', 'answered', 'ended']);
  assert.equal(pc.signalingState, 'closed');
  assert.equal(call.localStream.getTracks()[0].readyState, 'ended');
});

test('fails with the name and the code of the far side', async () => {
  const { client, socket, call } = await dialled();
  socket.ok('dial');
  socket.say({ type: 'ended', seq: 1, call: call.id, reason: 'busy', code: 486 });
  const error = await refused(call.answered);
  assert.deepEqual([error.name, error.code], ['busy', 486]);
  assert.deepEqual(await call.ended, { reason: 'busy', code: 486 });
  assert.deepEqual(client.calls, []);
});

test('a refused dial ends the call and says nothing more', async () => {
  const { socket, call } = await dialled();
  socket.refuse('dial', 'too_many', 503);
  const { reason, code } = await call.ended;
  assert.deepEqual([reason, code], ['too_many', 503]);
  assert.equal(socket.asked('hangup'), undefined);
});

test('a denied microphone fails the call before the gateway hears of it', async () => {
  microphone.ask = async () => {
    throw Object.assign(new Error('no'), { name: 'NotAllowedError' });
  };
  const { socket, call } = await dialled();
  assert.equal((await refused(call.answered)).name, 'microphone_denied');
  assert.equal(socket.asked('dial'), undefined);
  assert.equal(FakePeer.all[0].signalingState, 'closed');
});

test('a call hung up while the microphone is asked for frees it and dials nobody', async () => {
  let grant;
  microphone.ask = () => new Promise((resolve) => (grant = resolve));
  const { socket, call } = await dialled();
  assert.deepEqual(await call.hangup(), { reason: 'cancelled', code: 487 });
  const track = new FakeTrack();
  grant(new FakeStream([track]));
  await settle();
  assert.equal(track.readyState, 'ended');
  assert.deepEqual(socket.sent.map((message) => message.type), ['connect']);
});

test('a hang-up overtakes the reply to its dial', async () => {
  const { socket, call } = await dialled();
  call.hangup();
  call.hangup();
  assert.deepEqual(socket.sent.slice(1).map((message) => message.type), ['dial', 'hangup']);
  socket.ok('dial');
  socket.refuse('hangup', 'unknown_call');
  socket.say({ type: 'answered', seq: 1, call: call.id });
  await settle();
  assert.equal(call.state, 'ended');
  assert.equal((await refused(call.answered)).name, 'cancelled');
});

test('sends a given stream as it is and does not stop it', async () => {
  const track = new FakeTrack();
  const { call, pc } = await dialled(new FakeStream([track]));
  assert.deepEqual(pc.senders, [track]);
  call.mute();
  assert.equal(track.enabled, false);
  call.mute(false);
  call.hangup();
  assert.equal(track.enabled, true);
  assert.equal(track.readyState, 'live');
});

test('listens only, where no audio is to be sent', async () => {
  const { pc } = await dialled(false);
  assert.deepEqual(pc.senders, []);
  assert.deepEqual(pc.transceivers, [{ kind: 'audio', direction: 'recvonly' }]);
});

test('a call muted while dialling begins muted', async () => {
  const { client } = await signIn();
  const call = client.dial('echo');
  call.mute();
  await settle();
  assert.equal(call.localStream.getTracks()[0].enabled, false);
});

test('rings, answers and is answered', async () => {
  const { socket, call } = await rung();
  assert.equal(socket.asked('ringing').call, 'g1');
  assert.deepEqual([call.state, call.from.display, call.to], ['incoming', 'Bob', 'alice']);
  const answering = call.answer();
  await settle();
  assert.equal(call.state, 'answering');
  assert.deepEqual([socket.asked('answer').call, socket.asked('answer').sdp], ['g1', 'answer 1']);
  assert.equal(FakePeer.all[0].senders.length, 1);
  socket.ok('answer');
  await answering;
  assert.equal(call.state, 'answered');
  call.hangup();
  assert.equal(socket.asked('hangup').call, 'g1');
  assert.deepEqual(await call.ended, { reason: 'hangup', code: 0 });
});

test('a session without a listener does not claim to ring, until one listens', async () => {
  const { client, socket } = await rung(false);
  assert.equal(socket.asked('ringing'), undefined);
  let heard;
  client.once('incoming', (call) => (heard = call));
  await settle();
  assert.equal(heard.id, 'g1');
  assert.equal(socket.asked('ringing').call, 'g1');
});

test('rejects as busy or declined', async () => {
  const { socket, call } = await rung();
  assert.deepEqual(await call.reject('busy'), { reason: 'busy', code: 486 });
  assert.deepEqual([socket.asked('reject').call, socket.asked('reject').reason], ['g1', 'busy']);
  assert.equal(FakePeer.all.length, 0);
});

test('a call that ends while it is being answered frees the microphone', async () => {
  const { socket, call } = await rung();
  let grant;
  microphone.ask = () => new Promise((resolve) => (grant = resolve));
  const answering = call.answer();
  socket.say({ type: 'ended', seq: 2, call: 'g1', reason: 'cancelled', code: 487 });
  const track = new FakeTrack();
  grant(new FakeStream([track]));
  assert.equal((await refused(answering)).name, 'cancelled');
  await settle();
  assert.equal(track.readyState, 'ended');
  assert.equal(socket.asked('answer'), undefined);
  assert.equal(socket.asked('reject'), undefined);
});

test('hanging up right after answering hangs up, and before it rejects', async () => {
  const late = await rung();
  late.call.answer();
  await settle();
  late.call.hangup();
  assert.equal(late.socket.asked('hangup').call, 'g1');
  const soon = await rung();
  soon.call.answer();
  soon.call.hangup();
  await settle();
  assert.deepEqual(soon.socket.sent.slice(2).map((message) => message.type), ['reject']);
});

test('an outgoing call cannot be answered', async () => {
  const { call } = await dialled();
  assert.equal((await refused(call.answer())).name, 'wrong_state');
});

test('an offer that no browser understands ends the call on both sides', async () => {
  const { client, socket } = await signIn();
  client.on('incoming', (call) => call.answer().catch(() => {}));
  socket.say({ type: 'incoming', seq: 1, call: 'g1', from: {}, to: 'alice', sdp: 'bad' });
  await settle();
  assert.equal(socket.asked('reject').call, 'g1');
  assert.deepEqual(client.calls, []);
});

test('answers an update of the gateway in the order of the messages', async () => {
  const { socket, call, pc } = await dialled();
  socket.say({ type: 'media', seq: 1, call: call.id, sdp: 'answer' });
  socket.say({ type: 'answered', seq: 2, call: call.id });
  socket.say({ type: 'update', seq: 3, call: call.id, sdp: 'offer B' });
  await settle();
  assert.equal(pc.remoteDescription.sdp, 'offer B');
  assert.deepEqual([socket.asked('accept').call, socket.asked('accept').sdp], [call.id, 'answer 2']);
});

test('an update that crosses ours goes first', async () => {
  const { socket, call, pc } = await dialled();
  socket.say({ type: 'media', seq: 1, call: call.id, sdp: 'answer' });
  await call.restart();
  socket.say({ type: 'update', seq: 2, call: call.id, sdp: 'offer B' });
  socket.refuse('update', 'wrong_state', 491);
  await settle();
  assert.equal(pc.signalingState, 'stable');
  assert.equal(pc.remoteDescription.sdp, 'offer B');
  assert.equal(call.state, 'dialling');
});

test('restarts ICE when the sound breaks off, and again until it is back', async () => {
  const { socket, call, pc } = await dialled();
  socket.say({ type: 'media', seq: 1, call: call.id, sdp: 'answer' });
  socket.say({ type: 'answered', seq: 2, call: call.id });
  await settle();
  const states = [];
  call.on('media', (state) => states.push(state));
  pc.become('connected');
  pc.become('disconnected');
  assert.equal(pc.restarts, 0);
  // Whether the way to the gateway still leads there is asked at once.
  mock.timers.tick(1);
  await settle();
  socket.ok('ping');
  await settle();
  mock.timers.tick(2_500);
  await settle();
  assert.equal(pc.restarts, 1);
  socket.refuse('update', 'overloaded', 503);
  await settle();
  assert.equal(pc.signalingState, 'stable');
  mock.timers.tick(2_500);
  await settle();
  assert.equal(pc.restarts, 2);
  socket.ok('update', { sdp: 'answer C' });
  await settle();
  assert.equal(pc.remoteDescription.sdp, 'answer C');
  pc.become('connected');
  assert.deepEqual(states, ['connected', 'interrupted', 'connected']);
});

let copies = 0;

/** In a copy of the module that knows of no calls of other tests. */
async function roaming() {
  FakePeer.addresses = ['192.0.2.1', 'b.local'];
  const copy = await import(`../../src/web/sdk/bridgehead.js?${++copies}`);
  const all = await dialled(undefined, copy.Bridgehead);
  all.socket.say({ type: 'media', seq: 1, call: all.call.id, sdp: 'answer' });
  all.socket.say({ type: 'answered', seq: 2, call: all.call.id });
  await settle();
  return all;
}

async function pass(ms) {
  mock.timers.tick(ms);
  await settle();
}

test('looks for a way by a network that was joined, and asks whether its line still stands', async () => {
  const { socket, pc } = await roaming();
  // Names that hide addresses are new each time.
  FakePeer.addresses = ['192.0.2.1', 'c.local'];
  await pass(1_500);
  await pass(300);
  assert.equal(pc.restarts, 0);
  FakePeer.addresses = ['192.0.2.1', '198.51.100.7', 'd.local'];
  await pass(1_500);
  await pass(1);
  socket.ok('ping');
  await settle();
  await pass(300);
  assert.equal(pc.restarts, 1);
  // A third one, while that is under way: once more, when it is answered.
  FakePeer.addresses = ['192.0.2.1', '198.51.100.7', '203.0.113.5', 'e.local'];
  await pass(1_500);
  await pass(300);
  assert.equal(pc.restarts, 1);
  socket.ok('ping');
  socket.ok('update', { sdp: 'answer D' });
  await settle();
  await pass(1);
  assert.equal(pc.restarts, 2);
  assert.equal(FakeSocket.last, socket);
});

test('leaves a line at once whose network is gone, and looks no more when the call is over', async () => {
  const { socket, call } = await roaming();
  FakePeer.addresses = [];
  await pass(1_500);
  assert.equal(socket.readyState, 1, 'without any network there is nothing to be done');
  FakePeer.addresses = ['198.51.100.7'];
  await pass(1_500);
  await pass(500);
  assert.equal(socket.readyState, 3);
  call.hangup();
  await settle();
  const looked = FakePeer.all.length;
  await pass(10_000);
  assert.equal(FakePeer.all.length, looked);
  assert.ok(FakePeer.all.slice(1).every((pc) => pc.signalingState === 'closed'), 'none is left open');
});

test('a lost connection ends calls and requests, and is told once', async () => {
  const { client, socket, call } = await dialled();
  const told = [];
  client.on('closed', (detail) => told.push(detail));
  socket.close();
  const { reason } = await call.ended;
  assert.equal(reason, 'connection_lost');
  assert.equal((await refused(client.register())).name, 'connection_lost');
  assert.equal((await client.dial('echo').ended).reason, 'connection_lost');
  assert.deepEqual(told, [{ reason: 'connection_lost' }]);
});

test('notices a dead network by an unanswered ping', async () => {
  const { client, socket } = await signIn();
  mock.timers.tick(20_000);
  assert.ok(socket.asked('ping'));
  socket.ok('ping');
  await settle();
  mock.timers.tick(10_000);
  assert.equal(client.closed, false);
  mock.timers.tick(10_000);
  mock.timers.tick(10_000);
  assert.equal(client.closed, true);
});

test('the gateway closes a session with its reason', async () => {
  const { client, socket } = await signIn();
  const closed = new Promise((resolve) => client.on('closed', resolve));
  socket.say({ type: 'closed', seq: 1, reason: 'replaced' });
  assert.deepEqual(await closed, { reason: 'replaced' });
});

test('signing out hangs up first', async () => {
  const { client, socket, call } = await dialled();
  client.close();
  assert.equal(socket.asked('hangup').call, call.id);
  assert.equal(socket.readyState, 3);
  assert.equal(call.state, 'ended');
});

test('survives what is not JSON, not known and not about a call', async () => {
  const { client, socket } = await signIn();
  for (const data of ['{', 'null', '7', '[]', '{"type":"ended","call":"nobody"}', '{"type":"ok","id":99}', '{"type":"new"}']) {
    socket.onmessage({ data });
  }
  assert.equal(client.closed, false);
});

test('a listener that throws breaks neither the call nor the other listeners', async () => {
  const { socket, call } = await dialled();
  const thrown = new Promise((resolve) => (globalThis.reportError = resolve));
  let heard = 0;
  call.on('answered', () => {
    throw new Error('of the page');
  });
  call.on('answered', () => heard++);
  socket.say({ type: 'answered', seq: 1, call: call.id });
  assert.equal((await thrown).message, 'of the page');
  assert.deepEqual([heard, call.state], [1, 'answered']);
});

async function talking(client, socket, to = 'bob') {
  const call = client.dial(to);
  await settle();
  socket.ok('dial');
  socket.say({ type: 'answered', seq: 9, call: call.id });
  await call.answered;
  return call;
}

/** Lets `hold` and `resume` be answered in turn; which calls they were about. */
async function agree(socket, ...types) {
  const calls = [];
  for (const type of types) {
    await settle();
    calls.push(socket.sent.at(-1).call);
    assert.equal(socket.sent.at(-1).type, type);
    socket.ok(type);
  }
  await settle();
  return calls;
}

test('holds and resumes when the gateway agrees, in order, and says why not', async () => {
  const { client, socket } = await signIn();
  const call = await talking(client, socket);
  const seen = [];
  call.on('hold', (on) => seen.push(on));
  const both = [call.hold(), call.resume()];
  await agree(socket, 'hold', 'resume');
  await Promise.all(both);
  assert.deepEqual(seen, [true, false]);
  const refusal = call.hold();
  await settle();
  socket.refuse('hold', 'not_acceptable', 488);
  assert.equal((await refused(refusal)).code, 488);
  assert.equal(call.onHold, false);
  for (const [type, held] of [['held', true], ['resumed', false]]) {
    socket.say({ type, seq: 10, call: call.id });
    assert.equal(call.held, held);
  }
});

test('plays keys on the sender, spells them by INFO without, and refuses others', async () => {
  const { client, socket } = await signIn();
  const call = await talking(client, socket);
  const inserted = [];
  const dtmf = { canInsertDTMF: true, insertDTMF: (...all) => inserted.push(all) };
  call.connection.dtmf = dtmf;
  const played = call.dtmf('12a#', { duration: 80, gap: 50 });
  await settle();
  assert.deepEqual(inserted, [['12A#', 80, 50]]);
  dtmf.ontonechange({ tone: '1' });
  dtmf.ontonechange({ tone: '' });
  await played;
  const spelt = call.dtmf('1,2', { via: 'info' });
  await settle();
  const asked = () => socket.sent.filter(({ type }) => type === 'dtmf').map(({ digits, duration, via }) => [digits, duration, via]);
  assert.deepEqual(asked(), [['1', 100, 'info']]);
  socket.ok('dtmf');
  await settle();
  mock.timers.tick(170);
  await settle();
  mock.timers.tick(2_000);
  await settle();
  assert.deepEqual(asked(), [['1', 100, 'info'], ['2', 100, 'info']]);
  socket.ok('dtmf');
  await settle();
  mock.timers.tick(170);
  await spelt;
  assert.equal((await refused(call.dtmf('hello'))).name, 'bad_request');
  const digits = [];
  call.on('dtmf', ({ digit, duration }) => digits.push([digit, duration]));
  socket.say({ type: 'dtmf', seq: 10, call: call.id, digit: '5', duration: 160 });
  assert.deepEqual(digits, [['5', 160]]);
});

test('sends and hears bodies, and attaches data', async () => {
  const { client, socket } = await signIn();
  const call = client.dial('bob', { attach: { 'X-Case': '7' } });
  await settle();
  assert.deepEqual(socket.asked('dial').attach, { 'X-Case': '7' });
  const told = call.info('application/json', '{}');
  const { content_type, body } = socket.asked('info');
  assert.deepEqual([content_type, body], ['application/json', '{}']);
  socket.ok('info');
  await told;
  const refusal = refused(call.info('text/plain', 'x'));
  socket.refuse('info', 'not_acceptable', 415);
  const { name, code } = await refusal;
  assert.deepEqual([name, code], ['not_acceptable', 415]);
  const heard = [];
  call.on('info', (detail) => heard.push(detail));
  socket.say({ type: 'info', seq: 1, call: call.id, content_type: 'text/plain', body: 'x' });
  assert.deepEqual(heard, [{ contentType: 'text/plain', body: 'x' }]);
  client.on('incoming', (incoming) => heard.push(incoming.data));
  socket.say({ type: 'incoming', seq: 2, call: 'g1', from: {}, to: 'alice', sdp: 'offer A', data: { 'X-Case': '8' } });
  assert.deepEqual(heard[1], { 'X-Case': '8' });
});

test('answers, resumes and holds as the SIP server says, unless the page would rather not', async () => {
  const { socket, call } = await rung();
  let prevent = true;
  call.on('control', (control) => prevent && control.preventDefault());
  const control = async (action) => {
    socket.say({ type: 'control', seq: 5, call: 'g1', action });
    await settle();
  };
  await control('talk');
  assert.equal(call.state, 'incoming');
  prevent = false;
  await control('hold');
  assert.equal(call.state, 'incoming');
  await control('talk');
  socket.ok('answer');
  await call.answered;
  await control('hold');
  await agree(socket, 'hold');
  assert.equal(call.onHold, true);
  await control('talk');
  await agree(socket, 'resume');
  assert.equal(call.onHold, false);
});

test('has several calls, of which one is active, and swaps them', async () => {
  const { client, socket } = await signIn({ user: 'alice', password: 'secret', autoHold: true });
  const first = await talking(client, socket);
  assert.equal(client.active, first);
  const dialling = talking(client, socket, 'carol');
  // The hold goes out before the next call's offer.
  assert.equal(socket.sent.some(({ type }) => type === 'hold'), false);
  await settle();
  assert.deepEqual(socket.sent.slice(-2).map(({ type }) => type), ['hold', 'dial']);
  socket.ok('hold');
  const second = await dialling;
  await settle();
  assert.deepEqual([client.active, first.onHold], [second, true]);
  client.on('incoming', () => {});
  socket.say({ type: 'incoming', seq: 20, call: 'g1', from: {}, to: 'alice', sdp: 'offer A' });
  assert.equal(client.calls.length, 3);
  assert.equal(client.active, second);
  const swapped = client.swap();
  assert.deepEqual(await agree(socket, 'hold', 'resume'), [second.id, first.id]);
  assert.equal(await swapped, first);
  assert.equal(client.active, first);
  first.hangup();
  const back = client.swap();
  assert.deepEqual(await agree(socket, 'resume'), [second.id]);
  await back;
  assert.equal((await refused(client.swap())).name, 'wrong_state');
});

test('transfers to somebody and to the party of another call, and says how it goes', async () => {
  const { client, socket } = await signIn();
  const call = await talking(client, socket);
  const heard = [];
  call.on('transfer', ({ state, code }) => heard.push([state, code]));
  const failed = refused(call.transfer('carol'));
  assert.deepEqual([socket.asked('transfer').to, socket.asked('transfer').with], ['carol', undefined]);
  socket.say({ type: 'transferring', seq: 10, call: call.id, code: 180 });
  socket.refuse('transfer', 'busy', 486);
  assert.deepEqual([(await failed).name, call.state], ['busy', 'answered']);
  const other = await talking(client, socket, 'dave');
  const done = call.transfer(other);
  assert.equal(socket.asked('transfer').with, other.id);
  socket.ok('transfer');
  await done;
  assert.deepEqual(heard, [['transferring', 180], ['failed', 486], ['transferred', 200]]);
  socket.say({ type: 'ended', seq: 20, call: call.id, reason: 'transferred', code: 0 });
  assert.equal((await call.ended).reason, 'transferred');
  // And is transferred.
  socket.say({ type: 'party', seq: 21, call: other.id, party: { user: 'erin', host: '', display: '' } });
  assert.deepEqual([other.party.user, other.state], ['erin', 'answered']);
});

test('sends and hears texts, in a call and outside of one', async () => {
  const { client, socket } = await signIn();
  const sent = client.message('bob', 'hello');
  const { to, body, content_type } = socket.asked('message');
  assert.deepEqual([to, body, content_type], ['bob', 'hello', 'text/plain']);
  socket.ok('message');
  await sent;
  const heard = [];
  client.on('message', ({ from, body }) => heard.push([from.user, body]));
  socket.say({ type: 'message', seq: 1, from: { user: 'bob', host: '', display: '' }, content_type: 'text/plain', body: 'hi' });
  const call = await talking(client, socket);
  call.on('message', ({ body }) => heard.push([call.id, body]));
  socket.say({ type: 'message', seq: 20, call: call.id, content_type: 'text/plain', body: 'within' });
  assert.deepEqual(heard, [['bob', 'hi'], [call.id, 'within']]);
  const within = refused(call.message('x'));
  assert.equal(socket.asked('message').call, call.id);
  socket.refuse('message', 'not_acceptable', 415);
  assert.equal((await within).code, 415);
});

test('subscribes, hears news, also unasked ones, and the end', async () => {
  const { client, socket } = await signIn();
  const asked = client.subscribe('message-summary');
  const { watch: id, event, to } = socket.asked('subscribe');
  assert.deepEqual([event, to], ['message-summary', undefined]);
  socket.ok('subscribe');
  const watch = await asked;
  const heard = [];
  watch.on('notify', ({ mwi }) => heard.push(mwi));
  client.on('notify', ({ mwi }) => heard.push(['unasked', mwi.new]));
  const news = { event: 'message-summary', content_type: 'application/simple-message-summary', body: 'x' };
  socket.say({ type: 'notify', seq: 1, watch: id, ...news, mwi: { waiting: true, new: 2, old: 0 } });
  socket.say({ type: 'notify', seq: 2, ...news, mwi: { waiting: true, new: 3, old: 0 } });
  assert.deepEqual(heard, [{ waiting: true, new: 2, old: 0 }, ['unasked', 3]]);
  watch.on('ended', ({ reason }) => heard.push(reason));
  socket.say({ type: 'unsubscribed', seq: 3, watch: id, reason: 'not_supported' });
  assert.equal(heard[2], 'not_supported');
  const refusedOne = refused(client.subscribe('dialog', 'bob'));
  assert.equal(socket.asked('subscribe').to, 'bob');
  socket.refuse('subscribe', 'too_many');
  assert.equal((await refusedOne).name, 'too_many');
  const second = client.subscribe('presence', 'bob');
  socket.ok('subscribe');
  (await second).close();
  assert.equal(socket.asked('unsubscribe').watch, (await second).id);
});

test('is under 15 kB, compressed', () => {
  const size = gzipSync(readFileSync(new URL('../../src/web/sdk/bridgehead.js', import.meta.url)), { level: 9 }).length;
  assert.ok(size < 15_000, `${size} bytes`);
});
