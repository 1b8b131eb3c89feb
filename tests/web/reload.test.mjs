// The SDK on networks that change and in pages that are reloaded.
import assert from 'node:assert/strict';
import { beforeEach, mock, test } from 'node:test';
import { Bridgehead } from '../../src/web/sdk/bridgehead.js';
import { FakePeer, FakeSocket, install, microphone, place, settle } from './fakes.mjs';

beforeEach(install);

const tick = async (ms) => {
  mock.timers.tick(ms);
  await settle();
};

/** Signs in to stay, or comes back: the gateway's answer to it is `ok`. */
async function arrive(ok = {}) {
  const connecting = Bridgehead.connect({ user: 'alice', password: 'secret', resume: true });
  const socket = FakeSocket.last;
  socket.open();
  socket.ok('connect', { session: 's1', user: 'alice', resume: 'token 1', ...ok });
  return { client: await connecting, socket };
}

async function talking() {
  const { client, socket } = await arrive();
  const call = client.dial('echo', { audio: false });
  await settle();
  socket.ok('dial');
  socket.say({ type: 'media', seq: 1, call: call.id, sdp: 'answer' });
  socket.say({ type: 'answered', seq: 2, call: call.id });
  await call.answered;
  await settle();
  return { client, socket, call, pc: FakePeer.all.findLast((pc) => !pc.looks) };
}

const kept = () => JSON.parse(place.kept.get('bridgehead') ?? 'null');

for (const [what, change] of [
  ['the device is online again', () => place.window.dispatchEvent(new Event('online'))],
  ['the network is another one', () => place.network.dispatchEvent(new Event('change'))],
]) {
  test(`a call that stands looks for a new way once, where ${what}`, async () => {
    const { socket, call, pc } = await talking();
    change();
    await tick(100);
    change();
    await tick(250);
    assert.equal(pc.restarts, 0, 'networks are told of more than once');
    await tick(100);
    assert.equal(pc.restarts, 1);
    assert.equal(socket.asked('update').call, call.id);
    socket.ok('update', { sdp: 'answer 2' });
    await settle();
    call.hangup();
    change();
    await tick(1_000);
    assert.equal(pc.restarts, 1, 'nothing listens for a call that is over');
  });

  test(`a call that is not answered yet is left alone, where ${what}`, async () => {
    const { client } = await arrive();
    client.dial('echo', { audio: false });
    await settle();
    change();
    await tick(1_000);
    assert.equal(FakePeer.all.at(-1).restarts, 0);
  });
}

test('a lost line is tried again at once when the device is online again, and nobody listens any more afterwards', async () => {
  const { client, socket } = await arrive();
  socket.close();
  for (let tries = 0; tries < 6; tries++) {
    await tick(10_000);
    FakeSocket.last.close();
    await settle();
  }
  const before = FakeSocket.last;
  place.window.dispatchEvent(new Event('online'));
  await tick(1);
  assert.notEqual(FakeSocket.last, before);
  FakeSocket.last.open();
  FakeSocket.last.ok('connect', { resume: 'token 2' });
  await settle();
  assert.equal(client.connection, 'connected');
  const standing = FakeSocket.last;
  client.close();
  place.window.dispatchEvent(new Event('online'));
  await tick(1_000);
  assert.equal(FakeSocket.last, standing);
});

test('a reload without a network keeps the token for another try', async () => {
  await arrive();
  assert.deepEqual(kept(), { token: 'token 1', cursor: 0 });
  for (let tries = 0; tries < 2; tries++) {
    const connecting = Bridgehead.connect({ user: 'alice', password: 'secret', resume: true });
    FakeSocket.last.close();
    await assert.rejects(connecting, { name: 'connection_lost' });
    assert.equal(kept().token, 'token 1');
  }
  const { client, socket } = await arrive({ resume: 'token 2' });
  assert.equal(socket.asked('connect').resume, 'token 1');
  assert.equal(kept().token, 'token 2');
  client.close();
  assert.equal(kept(), null, 'who signs out is not remembered');
});

test('a gateway that takes no more for now does not take the token away, one that knows no such session does', async () => {
  await arrive();
  const full = Bridgehead.connect({ user: 'alice', password: 'secret', resume: true });
  FakeSocket.last.open();
  FakeSocket.last.refuse('connect', 'overloaded', 503);
  await assert.rejects(full, { name: 'overloaded' });
  assert.equal(kept().token, 'token 1');
  const connecting = Bridgehead.connect({ user: 'alice', password: 'secret', resume: true });
  FakeSocket.last.open();
  FakeSocket.last.refuse('connect', 'unknown_session', 481);
  await settle();
  assert.equal(kept(), null);
  FakeSocket.last.open();
  assert.equal(FakeSocket.last.asked('connect').password, 'secret');
  FakeSocket.last.ok('connect', { user: 'alice', resume: 'token 3' });
  await connecting;
  assert.equal(kept().token, 'token 3');
});

const RINGING = {
  call: 'g1', direction: 'incoming', state: 'ringing', party: 'bob', from: { user: 'bob', host: 'x', display: 'Bob' }, to: 'alice', sdp: 'offer A', data: { 'X-Case': '7' },
};

test('a call that rings rings again in the reloaded page, and can be answered there', async () => {
  const { client, socket } = await arrive({ calls: [RINGING] });
  assert.equal(socket.asked('ringing'), undefined, 'nobody was told yet');
  const rung = [];
  client.on('incoming', (call) => rung.push(call));
  await settle();
  const [call] = rung;
  assert.deepEqual([rung.length, call.from.display, call.data, call.state], [1, 'Bob', { 'X-Case': '7' }, 'incoming']);
  assert.equal(socket.asked('ringing').call, 'g1');
  // Said again by the gateway, it is not another one; a newer offer is the one that is answered.
  socket.say({ type: 'incoming', seq: 5, ...RINGING });
  socket.say({ type: 'update', seq: 6, call: 'g1', sdp: 'offer B' });
  assert.equal(client.calls.length, 1);
  call.answer({ audio: false });
  await settle();
  assert.equal(FakePeer.all.at(-1).remoteDescription.sdp, 'offer B');
  socket.ok('answer');
  await call.answered;
});

test('a call that was still dialled is cancelled, and the reloaded page hears of its end', async () => {
  const { client, socket } = await arrive({ calls: [{ call: 'a', direction: 'outgoing', state: 'dialling', party: 'bob' }] });
  const [call] = client.calls;
  assert.deepEqual([call.to, call.direction, call.state], ['bob', 'outgoing', 'dialling']);
  assert.equal(socket.asked('hangup').call, 'a');
  const ends = [];
  call.on('ended', (end) => ends.push(end));
  socket.ok('hangup');
  socket.say({ type: 'ended', seq: 1, call: 'a', reason: 'cancelled', code: 487 });
  assert.deepEqual(ends, [{ reason: 'cancelled', code: 487 }]);
  assert.equal(client.calls.length, 0);
});

test('a dialled call that ended meanwhile has ended here as well', async () => {
  const { client, socket } = await arrive({ calls: [{ call: 'a', direction: 'outgoing', state: 'dialling', party: 'bob' }] });
  const [call] = client.calls;
  socket.refuse('hangup', 'unknown_call', 481);
  assert.deepEqual(await call.ended, { reason: 'cancelled', code: 487 });
});

test('an offer of the gateway before the takeover does not end the call', async () => {
  const { client, socket } = await arrive({ calls: [{ call: 'a', direction: 'outgoing', state: 'answered', party: 'bob' }] });
  const [call] = client.calls;
  socket.say({ type: 'update', seq: 1, call: 'a', sdp: 'offer B' });
  await settle();
  assert.equal(call.state, 'answered');
  const taking = call.takeover({ audio: false });
  await settle();
  assert.equal(socket.asked('update').takeover, true);
  socket.ok('update', { sdp: 'answer' });
  await taking;
  assert.equal(FakePeer.all.at(-1).remoteDescription.sdp, 'answer');
  assert.equal(socket.asked('hangup'), undefined);
});

for (const direction of ['outgoing', 'incoming']) {
  test(`an offer of the gateway that crosses the takeover of an ${direction} call is void`, async () => {
    const { client, socket } = await arrive({ calls: [{ call: 'a', direction, state: 'answered', party: 'bob' }] });
    const [call] = client.calls;
    const taking = call.takeover({ audio: false });
    await settle();
    socket.say({ type: 'update', seq: 1, call: 'a', sdp: 'offer B' });
    await settle();
    assert.equal(socket.asked('accept'), undefined);
    socket.ok('update', { sdp: 'answer' });
    await taking;
    assert.equal(call.state, 'answered');
    assert.equal(call.connection.remoteDescription.sdp, 'answer');
  });
}

test('a call of the page before is held as it was, and can be resumed', async () => {
  const standing = { call: 'a', direction: 'incoming', state: 'answered', party: 'bob', on_hold: true };
  const { client, socket } = await arrive({ calls: [standing, { ...standing, call: 'b', on_hold: undefined, held: true }] });
  const [call, other] = client.calls;
  assert.deepEqual([call.onHold, call.held, other.onHold, other.held], [true, false, false, true]);
  assert.equal(client.active, other);
  const resuming = call.resume();
  await settle();
  assert.equal(socket.asked('resume').call, 'a');
  socket.ok('resume');
  await resuming;
  assert.equal(call.onHold, false);
});

test('tells the SIP password with register, where it is given', async () => {
  const { client, socket } = await arrive();
  const registering = client.register({ password: 'hush' });
  assert.equal(socket.asked('register').password, 'hush');
  socket.ok('register');
  socket.say({ type: 'registered', seq: 1 });
  await registering;
});

test('a page that has nothing but the token of a session that is over is told so', async () => {
  place.kept.set('bridgehead', JSON.stringify({ token: 'token 1', cursor: 4 }));
  const connecting = Bridgehead.connect({ resume: true });
  const socket = FakeSocket.last;
  socket.open();
  socket.refuse('connect', 'unknown_session');
  await assert.rejects(connecting, { name: 'unknown_session' });
  assert.equal(FakeSocket.last, socket, 'no sign-in without a name');
  assert.equal(kept(), null);
});

test('a takeover that fails says why, and harms nobody who does not ask', async () => {
  const unhandled = mock.fn();
  process.on('unhandledRejection', unhandled);
  const standing = { call: 'a', direction: 'outgoing', state: 'answered', party: 'bob' };
  const { client, socket } = await arrive({ calls: [standing, { ...standing, call: 'b' }, { ...standing, call: 'c' }] });
  const [denied, refused, unasked] = client.calls;
  microphone.ask = async () => {
    throw Object.assign(new Error('no'), { name: 'NotAllowedError' });
  };
  await assert.rejects(denied.takeover(), { name: 'microphone_denied' });
  const taking = refused.takeover({ audio: false });
  await settle();
  socket.refuse('update', 'not_acceptable', 488);
  await assert.rejects(taking, { name: 'not_acceptable', code: 488 });
  unasked.takeover();
  await unasked.ended;
  await new Promise((resolve) => setImmediate(resolve));
  process.off('unhandledRejection', unhandled);
  assert.equal(unhandled.mock.callCount(), 0);
});

test('another user who signs in by password is not given the session that was left in the tab', async () => {
  await arrive();
  const connecting = Bridgehead.connect({ user: 'bob', password: 'other', resume: true });
  const left = FakeSocket.last;
  left.open();
  left.ok('connect', { user: 'alice', resume: 'token 2' });
  await settle();
  assert.ok(left.asked('disconnect'), 'the session of the one before is over');
  const socket = FakeSocket.last;
  socket.open();
  assert.deepEqual([socket.asked('connect').user, socket.asked('connect').resume], ['bob', undefined]);
  socket.ok('connect', { user: 'bob', resume: 'token 3' });
  const client = await connecting;
  assert.equal(client.user, 'bob');
  assert.equal(kept().token, 'token 3');
});

test('a restart that an offer of the gateway overtook is made after it', async () => {
  const { socket, call, pc } = await talking();
  call.restart();
  await settle();
  const overtaken = socket.asked('update');
  socket.say({ type: 'update', seq: 3, call: call.id, sdp: 'offer B' });
  await settle();
  socket.refuse('update', 'pending', 491);
  await settle();
  assert.ok(socket.asked('accept'));
  await tick(2_500);
  assert.equal(pc.restarts, 2);
  assert.notEqual(socket.asked('update').id, overtaken.id);
  call.hangup();
});
