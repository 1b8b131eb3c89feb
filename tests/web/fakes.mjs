// A browser in a few lines: WebSocket, RTCPeerConnection, MediaStream and microphone, all scripted by the test.
import { mock } from 'node:test';

/** Lets every promise that can settle do so. */
export async function settle() {
  for (let turn = 0; turn < 30; turn++) await Promise.resolve();
}

export class FakeTrack {
  kind = 'audio';
  enabled = true;
  readyState = 'live';
  stop() {
    this.readyState = 'ended';
  }
}

export class FakeStream {
  #tracks;
  constructor(tracks = []) {
    this.#tracks = [...tracks];
  }
  addTrack(track) {
    this.#tracks.push(track);
  }
  getTracks() {
    return [...this.#tracks];
  }
  getAudioTracks() {
    return this.#tracks.filter((track) => track.kind === 'audio');
  }
}

/** Keeps the signalling states of JSEP, so that a description at the wrong time throws as in a browser. */
export class FakePeer {
  static all = [];
  /** What the device has: found by a connection that is made to look. */
  static addresses = ['192.0.2.1'];
  signalingState = 'stable';
  connectionState = 'new';
  localDescription = null;
  remoteDescription = null;
  senders = [];
  transceivers = [];
  restarts = 0;
  #count = 0;
  constructor(config) {
    this.config = config;
    FakePeer.all.push(this);
  }
  addTrack(track) {
    this.senders.push(track);
  }
  getSenders() {
    return this.senders.map((track) => ({ track, dtmf: this.dtmf ?? null }));
  }
  createDataChannel() {
    this.looks = true;
  }
  addTransceiver(kind, init) {
    this.transceivers.push({ kind, ...init });
  }
  restartIce() {
    this.restarts++;
  }
  async setLocalDescription(description) {
    await null;
    if (this.signalingState === 'closed') throw new Error('closed');
    if (this.looks) {
      for (const address of FakePeer.addresses) this.onicecandidate({ candidate: { candidate: 'x', protocol: 'udp', address } });
      this.onicecandidate({ candidate: null });
    }
    if (description?.type === 'rollback') {
      this.signalingState = 'stable';
      return;
    }
    const type = this.signalingState === 'have-remote-offer' ? 'answer' : 'offer';
    this.localDescription = { type, sdp: `${type} ${++this.#count}` };
    this.signalingState = type === 'answer' ? 'stable' : 'have-local-offer';
  }
  async setRemoteDescription({ type, sdp }) {
    await null;
    if (sdp === 'bad') throw new Error('unparsable');
    if (type === 'answer' && this.signalingState !== 'have-local-offer') throw new Error(`answer in ${this.signalingState}`);
    this.remoteDescription = { type, sdp };
    this.signalingState = type === 'answer' ? 'stable' : 'have-remote-offer';
  }
  become(state) {
    this.connectionState = state;
    this.onconnectionstatechange?.();
  }
  close() {
    this.signalingState = 'closed';
  }
}

/** The gateway's end of a WebSocket. */
export class FakeSocket {
  static last = null;
  readyState = 0;
  sent = [];
  constructor(url, protocol) {
    Object.assign(this, { url, protocol });
    FakeSocket.last = this;
  }
  send(text) {
    this.sent.push(JSON.parse(text));
  }
  close() {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.onclose?.({});
  }
  open() {
    this.readyState = 1;
    this.onopen?.({});
  }
  #seq = 0;
  /** Events count up, whatever number a test gives them. */
  say(message) {
    if (message.seq) message = { ...message, seq: (this.#seq = Math.max(message.seq, this.#seq + 1)) };
    this.onmessage?.({ data: JSON.stringify(message) });
  }
  /** The newest request of a type. */
  asked(type) {
    return this.sent.findLast((message) => message.type === type);
  }
  ok(type, fields = {}) {
    this.say({ type: 'ok', id: this.asked(type).id, ...fields });
  }
  refuse(type, error, code = 0) {
    this.say({ type: 'error', id: this.asked(type).id, error, code, message: `no: ${error}` });
  }
}

/** The gateway's end of HTTP: requests wait until the test answers them. */
export class FakeFetch {
  static all = [];
  static refuse = true;
  static fetch(url, options = {}) {
    const asked = new FakeFetch(url, options);
    FakeFetch.all.push(asked);
    if (FakeFetch.refuse) asked.fail();
    return asked.promise;
  }
  /** The oldest request to a path that has no answer yet. */
  static asked(path) {
    return FakeFetch.all.find((asked) => !asked.done && asked.url.includes(path));
  }
  done = false;
  constructor(url, { method = 'GET', headers = {}, body, signal }) {
    Object.assign(this, { url, method, headers, body: body && JSON.parse(body) });
    this.promise = new Promise((resolve, reject) => Object.assign(this, { resolve, reject }));
    signal?.addEventListener('abort', () => this.fail('aborted'));
  }
  answer(value) {
    this.done = true;
    this.resolve({ ok: true, text: async () => JSON.stringify(value) });
  }
  ok(fields = {}) {
    this.answer({ type: 'ok', id: this.body.id, ...fields });
  }
  fail(why = 'network') {
    this.done = true;
    this.reject(new TypeError(why));
  }
}

/** The window and the device's network. */
export const place = { window: new EventTarget(), network: new EventTarget(), kept: new Map() };

/** What `getUserMedia` does next: grants at once, unless a test takes over. */
export const microphone = { ask: async () => new FakeStream([new FakeTrack()]) };

export function install() {
  FakePeer.all = [];
  FakeFetch.all = [];
  FakeFetch.refuse = true;
  microphone.ask = async () => new FakeStream([new FakeTrack()]);
  const put = (name, value) => Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  put('WebSocket', FakeSocket);
  put('fetch', FakeFetch.fetch);
  put('RTCPeerConnection', FakePeer);
  put('MediaStream', FakeStream);
  put('location', { host: 'gw.example', href: 'https://gw.example/phone' });
  Object.assign(place, { window: new EventTarget(), network: new EventTarget(), kept: new Map() });
  put('addEventListener', (...listener) => place.window.addEventListener(...listener));
  put('removeEventListener', (...listener) => place.window.removeEventListener(...listener));
  put('sessionStorage', {
    getItem: (key) => place.kept.get(key) ?? null,
    setItem: (key, value) => place.kept.set(key, value),
    removeItem: (key) => place.kept.delete(key),
  });
  put('navigator', { mediaDevices: { getUserMedia: (constraints) => microphone.ask(constraints) }, connection: place.network });
  mock.timers.reset();
  mock.timers.enable({ apis: ['setTimeout'] });
}
