// The SDK's line to the gateway: lost and found, by WebSocket and by long poll.
import assert from 'node:assert/strict';
import { beforeEach, mock, test } from 'node:test';
import { Bridgehead } from '../../src/web/sdk/bridgehead.js';
import { FakeFetch, FakeSocket, install, settle } from './fakes.mjs';

beforeEach(install);

const tick = async (ms) => {
  mock.timers.tick(ms);
  await settle();
};

async function signIn(options = {}) {
  const connecting = Bridgehead.connect({ user: 'alice', password: 'secret', ...options });
  const socket = FakeSocket.last;
  socket.open();
  socket.ok('connect', { session: 's1', user: 'alice', resume: 'token 1' });
  const client = await connecting;
  const states = [];
  client.on('connection', (state) => states.push(state));
  return { client, socket, states };
}

/** Signs in by long poll, as no WebSocket opens. */
async function poll(options = { transport: 'poll' }) {
  FakeFetch.refuse = false;
  const connecting = Bridgehead.connect({ user: 'alice', password: 'secret', ...options });
  if (options.transport !== 'poll') FakeSocket.last.close();
  await settle();
  FakeFetch.asked('/v1/session').ok({ session: 's1', user: 'alice', resume: 'token 1' });
  const client = await connecting;
  await settle();
  return client;
}

test('comes back after a lost connection: the call lives, requests are asked again, nothing is heard twice', async () => {
  const { client, socket, states } = await signIn();
  const call = client.dial('echo', { audio: false });
  await settle();
  socket.say({ type: 'media', seq: 1, call: call.id, sdp: 'answer' });
  socket.say({ type: 'ringing', seq: 2, call: call.id, code: 180 });
  socket.close();
  assert.deepEqual(states, ['reconnecting']);
  assert.equal(client.connection, 'reconnecting');
  await tick(500);
  const second = FakeSocket.last;
  assert.notEqual(second, socket);
  second.open();
  assert.deepEqual(second.sent, [{ type: 'connect', id: 3, version: 1, resume: 'token 1', cursor: 2 }]);
  second.ok('connect', { session: 's1', user: 'alice', resume: 'token 2' });
  const again = second.asked('dial');
  assert.equal(again.again, true);
  assert.equal(again.id, socket.asked('dial').id);
  const heard = [];
  call.on('ringing', () => heard.push('ringing'));
  call.on('answered', () => heard.push('answered'));
  second.say({ type: 'ringing', seq: 2, call: call.id, code: 180 });
  second.say({ type: 'answered', seq: 3, call: call.id });
  assert.deepEqual(heard, ['answered']);
  assert.deepEqual(states, ['reconnecting', 'connected']);
  assert.equal(client.closed, false);
});

test('what is asked while the line is down is asked when it is up', async () => {
  const { client, socket } = await signIn();
  socket.close();
  const registering = client.register();
  await tick(500);
  FakeSocket.last.open();
  FakeSocket.last.ok('connect', { resume: 'token 2' });
  FakeSocket.last.ok('register');
  FakeSocket.last.say({ type: 'registered', seq: 1 });
  await registering;
});

test('tries again with longer pauses, by both ways, and uses the latest token', async () => {
  const { socket } = await signIn();
  socket.close();
  let tries = 0;
  for (let step = 0; step < 60; step++) {
    const before = FakeSocket.last;
    await tick(500);
    if (FakeSocket.last !== before) {
      tries++;
      FakeSocket.last.close();
      await settle();
    }
  }
  assert.ok(tries >= 4 && tries <= 12, `${tries} tries in 30 s`);
  assert.ok(FakeFetch.all.length >= 4, 'the other way was tried as well');
  assert.ok(FakeFetch.all.every((asked) => !asked.url.includes('token')));
});

test('a session that is over ends its calls, and the user is signed in anew', async () => {
  const { client, socket } = await signIn();
  socket.say({ type: 'registered', seq: 1 });
  const call = client.dial('echo', { audio: false });
  await settle();
  socket.close();
  await tick(500);
  FakeSocket.last.open();
  FakeSocket.last.refuse('connect', 'unknown_session', 481);
  await settle();
  assert.equal((await call.ended).reason, 'connection_lost');
  await tick(1);
  const third = FakeSocket.last;
  third.open();
  const { id, ...hello } = third.sent[0];
  assert.deepEqual(hello, { type: 'connect', version: 1, user: 'alice', password: 'secret' });
  third.ok('connect', { resume: 'token 9' });
  assert.ok(third.asked('register'), 'it was registered before');
  assert.equal(client.closed, false);
});

test('another tab that takes the session over ends it here for good', async () => {
  const { client, socket } = await signIn();
  const closed = [];
  client.on('closed', (detail) => closed.push(detail.reason));
  socket.say({ type: 'closed', seq: 1, reason: 'replaced' });
  await tick(20_000);
  assert.deepEqual(closed, ['replaced']);
  assert.equal(FakeSocket.last, socket);
});

test('a whole call by long poll alone', async () => {
  const client = await poll();
  assert.equal(client.transport, 'poll');
  const call = client.dial('echo', { audio: false });
  await settle();
  const dial = FakeFetch.asked('/v1/messages');
  assert.equal(dial.headers.authorization, 'Bearer token 1');
  assert.equal(dial.body.type, 'dial');
  dial.ok();
  const waiting = FakeFetch.asked('/v1/events');
  assert.equal(waiting.url, 'https://gw.example/v1/events?cursor=0&wait=25');
  waiting.answer([
    { type: 'media', seq: 1, call: call.id, sdp: 'answer' },
    { type: 'answered', seq: 2, call: call.id },
  ]);
  await call.answered;
  await settle();
  assert.ok(FakeFetch.asked('/v1/events').url.includes('cursor=2'));
  client.close();
  await settle();
  FakeFetch.asked('/v1/messages').ok();
  await settle();
  assert.equal(FakeFetch.asked('/v1/messages').body.type, 'disconnect');
});

test('requests by long poll keep their order, and a hang-up does not wait for an update', async () => {
  const client = await poll();
  client.register().catch(() => {});
  client.unregister().catch(() => {});
  await settle();
  const posts = () => FakeFetch.all.filter((asked) => asked.url.endsWith('/messages')).map((asked) => asked.body.type);
  assert.deepEqual(posts(), ['register']);
  FakeFetch.asked('/v1/messages').ok();
  await settle();
  assert.deepEqual(posts(), ['register', 'unregister']);
});

test('falls back where WebSocket is blocked, and climbs back by itself', async () => {
  const client = await poll({});
  assert.equal(client.transport, 'poll');
  assert.equal(client.connection, 'connected');
  const blocked = FakeSocket.last;
  // Time goes by as it does, with pings and polls that are answered.
  for (let second = 0; second < 40 && FakeSocket.last === blocked; second++) {
    await tick(1_000);
    FakeFetch.asked('/v1/messages')?.ok();
    if (second === 25) FakeFetch.asked('/v1/events').answer([]);
    await settle();
  }
  const socket = FakeSocket.last;
  assert.notEqual(socket, blocked);
  assert.ok(FakeFetch.all.some((asked) => asked.body?.type === 'ping'));
  socket.open();
  assert.equal(socket.asked('connect').resume, 'token 1');
  socket.ok('connect', { resume: 'token 2' });
  await settle();
  assert.equal(client.transport, 'websocket');
  assert.ok(!FakeFetch.asked('/v1/events'), 'no poll waits any more');
});

test('falls back where a WebSocket cannot even be made', async () => {
  const Real = globalThis.WebSocket;
  globalThis.WebSocket = class {
    constructor() {
      throw new DOMException('not allowed here', 'SecurityError');
    }
  };
  FakeFetch.refuse = false;
  const connecting = Bridgehead.connect({ user: 'alice', password: 'secret' });
  await settle();
  FakeFetch.asked('/v1/session').ok({ session: 's1', user: 'alice', resume: 'token 1' });
  assert.equal((await connecting).transport, 'poll');
  globalThis.WebSocket = Real;
});

test('a poll that fails is a lost line, and is found again', async () => {
  const client = await poll();
  FakeFetch.asked('/v1/events').fail();
  await settle();
  assert.equal(client.connection, 'reconnecting');
  await tick(500);
  const back = FakeFetch.asked('/v1/session');
  assert.equal(back.body.resume, 'token 1');
  back.ok({ resume: 'token 2' });
  await settle();
  assert.equal(client.connection, 'connected');
  assert.equal(FakeFetch.asked('/v1/events').headers.authorization, 'Bearer token 2');
});

test('a token may be made when it is needed', async () => {
  let made = 0;
  const connecting = Bridgehead.connect({ token: async () => `jwt ${++made}` });
  FakeSocket.last.open();
  await settle();
  assert.equal(FakeSocket.last.asked('connect').token, 'jwt 1');
  FakeSocket.last.ok('connect', { user: 'alice' });
  assert.equal((await connecting).user, 'alice');
});

test('a transport that is asked for is the only one', async () => {
  const connecting = Bridgehead.connect({ user: 'a', password: 'b', transport: 'websocket' });
  FakeSocket.last.close();
  await assert.rejects(connecting, { name: 'connection_lost' });
  assert.equal(FakeFetch.all.length, 0);
});

test('a WebSocket that may not even be made leaves no rejection behind', async () => {
  const unhandled = mock.fn();
  process.on('unhandledRejection', unhandled);
  globalThis.WebSocket = class {
    constructor() {
      throw new Error('forbidden by policy');
    }
  };
  await assert.rejects(Bridgehead.connect({ user: 'alice', password: 'secret', transport: 'websocket' }), { name: 'connection_lost' });
  await new Promise((resolve) => setImmediate(resolve));
  process.off('unhandledRejection', unhandled);
  assert.equal(unhandled.mock.callCount(), 0);
});

test('tells that a registration was not renewed in the session after one that was lost', async () => {
  const { client, socket } = await signIn();
  socket.say({ type: 'registered', seq: 1 });
  const told = [];
  client.on('unregistered', (detail) => told.push(detail));
  socket.close();
  await tick(500);
  FakeSocket.last.open();
  FakeSocket.last.refuse('connect', 'unknown_session', 481);
  await settle();
  await tick(1);
  FakeSocket.last.open();
  FakeSocket.last.ok('connect', { user: 'alice', resume: 'token 2' });
  await settle();
  FakeSocket.last.refuse('register', 'unauthorized', 401);
  await settle();
  assert.deepEqual(told, [{ reason: 'unauthorized', code: 401 }]);
  assert.equal(client.registered, false);
  client.close();
});
