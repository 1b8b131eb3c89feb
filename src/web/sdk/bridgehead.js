/**
 * Bridgehead: telephone calls from a web page.
 *
 *     const client = await Bridgehead.connect({ user: 'alice', password: 'secret' });
 *     const call = client.dial('echo');
 *     document.querySelector('audio').srcObject = call.remoteStream;
 *     await call.answered;
 *
 * One session carries all calls (src/signal/SCHEMA.md), by WebSocket or by long poll, and outlives lost connections;
 * each call has a peer connection of its own.
 * @module bridgehead
 */

const PROTOCOL = 'bridgehead.v1';
const VERSION = 1;
const CONNECT_MS = 10_000;
const PING_MS = 20_000;
const PONG_MS = 10_000;
/** Where a long poll may take over: a WebSocket that takes longer is held back by something on the way. */
const SOCKET_MS = 5_000;
const POLL_S = 25;
/** How long after a fall-back a WebSocket is tried again. */
const CLIMB_MS = 30_000;
const RETRY_MS = 500;
const RETRY_MAX_MS = 10_000;
/** Calls that nobody could be told about for so long are over at the gateway too. */
const LOST_MS = 60_000;
/** Events that may wait for the next ping to be acknowledged. */
const UNACKED = 50;
/** Browsers often recover from `disconnected` by themselves; an ICE restart sooner than this only adds noise. */
const PATIENCE_MS = 2_500;
/** A new network is told of more than once before it is of use. */
const SETTLE_MS = 300;
/** How often the device's addresses are looked at during a call. */
const LOOK_MS = 1_500;
/** After the network changed: how long a connection may take to show that it still leads somewhere. */
const PROOF_MS = 1_500;
/** SIP codes of what the user does, as the gateway would name them. */
const CODES = { hangup: 0, cancelled: 487, busy: 486, declined: 603 };
/** Methods between this module's classes, out of an application's sight. */
const TELL = Symbol('tell');
const HANDLE = Symbol('handle');
const START = Symbol('start');
const END = Symbol('end');

/** What went wrong. `name` is stable and meant for programs; `code` is the SIP response code beside it, or 0. */
export class BridgeheadError extends Error {
  /** @param {string} name @param {string} message @param {number} [code] @param {unknown} [cause] */
  constructor(name, message, code = 0, cause = undefined) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = name;
    this.code = code;
  }
}

/** Named events; a listener that throws harms nobody else. */
class Emitter {
  /** @type {Map<string, Set<Function>>} */
  #listeners = new Map();

  /** Listens. Returns a function that stops listening. */
  on(name, listener) {
    if (!this.#listeners.has(name)) this.#listeners.set(name, new Set());
    this.#listeners.get(name).add(listener);
    return () => this.off(name, listener);
  }

  once(name, listener) {
    const stop = this.on(name, (detail) => {
      stop();
      listener(detail);
    });
    return stop;
  }

  off(name, listener) {
    this.#listeners.get(name)?.delete(listener);
  }

  /** Tells all listeners; false where there are none. */
  [TELL](name, detail) {
    const listeners = [...(this.#listeners.get(name) ?? [])];
    for (const listener of listeners) {
      try {
        listener(detail);
      } catch (error) {
        // An uncaught error of the page, not a broken call.
        globalThis.reportError?.(error);
      }
    }
    return listeners.length > 0;
  }
}

/** One call. Made by {@link Bridgehead#dial}, or given with the event `incoming`. */
export class Call extends Emitter {
  /** @type {any} the client's side: `request`, `forget`, `iceServers` */
  #line;
  /** @type {RTCPeerConnection | null} */
  #pc = null;
  /** @type {MediaStream | null} */
  #local = null;
  /** The stream is ours, so its tracks are stopped at the end. */
  #owned = false;
  #state;
  #media = 'new';
  #muted = false;
  /** The gateway knows of this call: ending it must be said. */
  #told;
  /** @type {string | null} the offer of an incoming call */
  #offer;
  /** Descriptions are applied one after another, in the order of their messages. */
  #steps = Promise.resolve();
  /** Counts our offers, so that the answer to one that was overtaken is not applied. */
  #round = 0;
  #restarts;
  /** Our answer is on its way or there: from now on the call is hung up, not rejected. */
  #taken = false;
  #settle = {};
  #held = false;
  #onHold = false;
  /** Holds and resumes, one after another. */
  #holds = Promise.resolve();
  /** Keys, one after another. */
  #keys = Promise.resolve();
  #unwatch = () => {};

  /** For this module only. */
  constructor(line, { id, direction, from, to, offer = null, data = {}, standing = false }) {
    super();
    this.#line = line;
    /** @readonly */
    this.id = id;
    /** @readonly @type {'outgoing' | 'incoming'} */
    this.direction = direction;
    /** @readonly @type {{user: string, host: string, display: string}} */
    this.from = from;
    /** @readonly @type {string} */
    this.to = to;
    /** The other party, which a transfer changes. */
    this.party = direction === 'incoming' ? from : { user: to, host: '', display: '' };
    /** Headers that came with the call. @readonly @type {Record<string, string>} */
    this.data = data;
    /** There from the start and filled when sound comes: attach it to an audio element at once. @readonly */
    this.remoteStream = new MediaStream();
    this.#offer = offer;
    this.#told = direction === 'incoming';
    this.#state = standing ? 'answered' : direction === 'incoming' ? 'incoming' : 'dialling';
    if (standing) {
      this.#taken = this.#told = true;
      this.#held = Boolean(standing.held);
      this.#onHold = Boolean(standing.onHold);
    }
    /** Resolved by the answer, rejected with a {@link BridgeheadError} by whatever ends the call before. */
    this.answered = new Promise((resolve, reject) => {
      this.#settle.answered = resolve;
      this.#settle.failed = reject;
    });
    if (standing) this.#settle.answered(this);
    // An application that listens to events instead must not see an unhandled rejection.
    this.answered.catch(() => {});
    /** Resolved with `{reason, code}` when the call is over; never rejected. @type {Promise<any>} */
    this.ended = new Promise((resolve) => {
      this.#settle.ended = resolve;
    });
  }

  /** `dialling`, `ringing`, `early`; `incoming`, `answering`; `answered`; `ended`. */
  get state() {
    return this.#state;
  }

  /** `new`, `connected`, or `interrupted` while the network is away. */
  get media() {
    return this.#media;
  }

  /** What is sent: the microphone, or the stream that was given. */
  get localStream() {
    return this.#local;
  }

  /** The other party holds us. */
  get held() {
    return this.#held;
  }

  /** We hold the other party. */
  get onHold() {
    return this.#onHold;
  }

  get muted() {
    return this.#muted;
  }

  /** The peer connection beneath, for what this interface doesn't offer. */
  get connection() {
    return this.#pc;
  }

  /** Takes an incoming call. Resolves when it is answered. */
  answer({ audio = true } = {}) {
    if (this.direction === 'outgoing') {
      return Promise.reject(new BridgeheadError('wrong_state', 'Only an incoming call can be answered.'));
    }
    if (this.#state !== 'incoming') return this.answered;
    this.#state = 'answering';
    this.#line.alone(this);
    this.#guard(async () => {
      const pc = this.#connect();
      await this.#listen(audio);
      await this.#step(async () => {
        await pc.setRemoteDescription({ type: 'offer', sdp: this.#offer });
        this.#send();
        await pc.setLocalDescription();
      });
      if (this.#over) return;
      this.#taken = true;
      await this.#line.request('answer', { call: this.id, sdp: pc.localDescription.sdp });
      this.#onAnswered();
    });
    return this.answered;
  }

  /** Refuses an incoming call. @param {'busy' | 'declined'} [reason] */
  reject(reason = 'declined') {
    return this.direction === 'incoming' && !this.#taken ? this.#leave(reason) : this.hangup();
  }

  /** Ends the call, whatever its state: one that is not answered is cancelled. The microphone is free at once. */
  hangup() {
    if (this.direction === 'incoming' && !this.#taken) return this.#leave('declined');
    return this.#leave(this.#state === 'answered' || this.#taken ? 'hangup' : 'cancelled');
  }

  /** Stops or resumes sending sound. */
  mute(on = true) {
    this.#muted = Boolean(on);
    for (const track of this.#local?.getAudioTracks() ?? []) track.enabled = !this.#muted;
  }

  /** Holds the other party: nothing is heard either way. Resolves when it knows. */
  hold() {
    return this.#hold(true);
  }

  /** Ends `hold`. */
  resume() {
    this.#line.alone(this);
    return this.#hold(false);
  }

  #hold(on) {
    const ask = async () => {
      if (this.#onHold === on || this.#over) return;
      await this.#line.request(on ? 'hold' : 'resume', { call: this.id });
      this.#onHold = on;
      this[TELL]('hold', on);
    };
    return (this.#holds = this.#holds.then(ask, ask));
  }

  /**
   * Presses keys: `0-9A-D*#`, and `,` for a pause of two seconds. As sound events where the call has them, else by INFO.
   * @param {string} digits
   * @param {{duration?: number, gap?: number, via?: 'auto' | 'info'}} [options]
   */
  dtmf(digits, { duration = 100, gap = 70, via = 'auto' } = {}) {
    const tones = String(digits).toUpperCase();
    if (!/^[0-9A-D*#,]+$/.test(tones)) {
      return Promise.reject(new BridgeheadError('bad_request', `Not keys: ${digits}`));
    }
    const press = () => {
      const senders = via === 'auto' ? (this.#pc?.getSenders?.() ?? []) : [];
      const sender = senders.find(({ dtmf }) => dtmf?.canInsertDTMF);
      return sender ? this.#play(sender.dtmf, tones, duration, gap) : this.#spell(tones, duration, gap, via === 'info' ? via : undefined);
    };
    return (this.#keys = this.#keys.then(press, press));
  }

  #play(dtmf, tones, duration, gap) {
    const played = new Promise((resolve) => {
      // The last one comes with an empty tone.
      dtmf.ontonechange = ({ tone }) => tone || resolve();
      dtmf.insertDTMF(tones, duration, gap);
    });
    return Promise.race([played, this.ended.then(() => {})]);
  }

  async #spell(tones, duration, gap, via) {
    for (const tone of tones) {
      if (tone !== ',') await this.#line.request('dtmf', { call: this.id, digits: tone, duration, via });
      await new Promise((resolve) => setTimeout(resolve, tone === ',' ? 2_000 : duration + gap));
    }
  }

  /**
   * Tells the other party something (SIP INFO). Resolves when it has taken it; rejects by its refusal.
   * @param {string} contentType a form, JSON or text @param {string} body
   */
  async info(contentType, body) {
    await this.#line.request('info', { call: this.id, content_type: contentType, body });
  }

  /** Sends a text. */
  async message(body, { type = 'text/plain' } = {}) {
    await this.#line.request('message', { call: this.id, content_type: type, body });
  }

  /** Connects the other party with somebody, or with that of another call. @param {string | Call} to */
  async transfer(to) {
    const where = to instanceof Call ? { with: to.id } : { to: String(to) };
    try {
      await this.#line.request('transfer', { call: this.id, ...where });
      this[TELL]('transfer', { state: 'transferred', code: 200 });
    } catch (error) {
      this[TELL]('transfer', { state: 'failed', code: error.code, error });
      throw error;
    }
  }

  /** Finds a new way through the network (an ICE restart). Done without being asked when the sound breaks off. */
  restart() {
    return this.#step(async () => {
      const pc = this.#pc;
      if (!pc?.remoteDescription) return;
      // An offer on its way knows only the networks of its time.
      this.#stale = pc.signalingState !== 'stable';
      if (this.#stale) return;
      pc.restartIce();
      await pc.setLocalDescription();
      const round = ++this.#round;
      this.#line.request('update', { call: this.id, sdp: pc.localDescription.sdp }).then(
        ({ sdp }) =>
          this.#step(async () => {
            if (this.#round === round) await pc.setRemoteDescription({ type: 'answer', sdp });
            if (this.#stale) this.#restartIn(0);
          }),
        () =>
          this.#step(async () => {
            if (this.#round !== round) return;
            if (pc.signalingState === 'have-local-offer') await pc.setLocalDescription({ type: 'rollback' });
            if (this.#stale || this.#media === 'interrupted') this.#restartIn(PATIENCE_MS);
          }),
      );
    });
  }

  /** Another restart is wanted when the one under way is answered. */
  #stale = false;

  /**
   * After a reload: goes on with a call of the page before, on a peer connection of its own.
   * @param {{audio?: boolean | MediaTrackConstraints | MediaStream}} [options]
   */
  takeover({ audio = true } = {}) {
    if (this.#state !== 'answered' || this.#pc) {
      return Promise.reject(new BridgeheadError('wrong_state', 'Only a call of the page before can be taken over.'));
    }
    const taken = this.#guard(async () => {
      const pc = this.#connect();
      await this.#listen(audio);
      if (this.#over) return;
      this.#send();
      await pc.setLocalDescription();
      const { sdp } = await this.#line.request('update', { call: this.id, sdp: pc.localDescription.sdp, takeover: true });
      await this.#step(() => pc.setRemoteDescription({ type: 'answer', sdp }));
    }).then(async () => {
      if (!this.#over) return;
      const { reason, code, error } = await this.ended;
      throw error ?? new BridgeheadError(reason, `The call has ended: ${reason}.`, code);
    });
    // As with `answered`: whoever listens to `ended` instead sees no unhandled rejection.
    taken.catch(() => {});
    return taken;
  }

  /** Counts and qualities of this moment; `gateway` holds the gateway's own view. */
  async stats() {
    const view = this.#state === 'answered' ? this.#line.request('stats', { call: this.id }).catch(() => null) : null;
    const report = (await this.#pc?.getStats()) ?? new Map();
    const all = [...report.values()];
    const audio = (type) => all.find((entry) => entry.type === type && (entry.kind ?? 'audio') === 'audio') ?? {};
    const received = audio('inbound-rtp');
    const sent = audio('outbound-rtp');
    const pair = all.find((entry) => entry.type === 'candidate-pair' && entry.nominated && entry.state === 'succeeded') ?? {};
    const ms = (seconds) => (seconds === undefined ? null : Math.round(seconds * 1e4) / 10);
    return {
      codec: report.get(received.codecId ?? sent.codecId)?.mimeType ?? null,
      packetsReceived: received.packetsReceived ?? 0,
      packetsLost: received.packetsLost ?? 0,
      packetsSent: sent.packetsSent ?? 0,
      bytesReceived: received.bytesReceived ?? 0,
      bytesSent: sent.bytesSent ?? 0,
      jitterMs: ms(received.jitter),
      roundTripMs: ms(audio('remote-inbound-rtp').roundTripTime ?? pair.currentRoundTripTime),
      levelIn: received.audioLevel ?? null,
      levelOut: audio('media-source').audioLevel ?? null,
      gateway: (await view)?.stats ?? null,
      report,
    };
  }

  /** Begins an outgoing call. */
  [START](audio, attach) {
    this.#line.alone(this);
    this.#guard(async () => {
      // Made before the microphone is asked for: its certificate is generated meanwhile.
      const pc = this.#connect();
      await this.#listen(audio);
      if (this.#over) return;
      this.#send();
      await pc.setLocalDescription();
      if (this.#over) return;
      this.#told = true;
      // No candidates to wait for: the gateway is ICE-lite and learns our addresses from our checks.
      await this.#line.request('dial', { call: this.id, to: this.to, sdp: pc.localDescription.sdp, attach }).catch((error) => {
        this.#told = false;
        throw error;
      });
    });
  }

  /** A message from the gateway about this call. */
  [HANDLE](type, message) {
    switch (type) {
      case 'media':
        this.#step(() => {
          if (this.#pc?.signalingState === 'have-local-offer') return this.#pc.setRemoteDescription({ type: 'answer', sdp: message.sdp });
        });
        break;
      case 'ringing':
        this.#onRinging(message.code ?? 180);
        break;
      case 'answered':
        this.#onAnswered();
        break;
      case 'update':
        this.#onUpdate(message.sdp);
        break;
      case 'held':
      case 'resumed':
        this.#held = type === 'held';
        this[TELL](type, undefined);
        break;
      case 'dtmf':
        this[TELL]('dtmf', { digit: message.digit, duration: message.duration });
        break;
      case 'info':
        this[TELL]('info', { contentType: message.content_type, body: message.body });
        break;
      case 'message':
        this[TELL]('message', { contentType: message.content_type, body: message.body });
        break;
      case 'transferring':
        this[TELL]('transfer', { state: type, code: message.code });
        break;
      case 'party':
        this.party = message.party;
        this[TELL]('party', this.party);
        break;
      case 'control':
        this.#onControl(message.action);
        break;
      case 'quality':
        this[TELL]('quality', { level: message.level, mos: message.mos ?? null, oneWay: Boolean(message.one_way) });
        break;
      case 'ended':
        this[END]({ reason: message.reason ?? 'failed', code: message.code ?? 0, stats: message.stats });
        break;
    }
  }

  /** Ends this call here; the gateway knows, or can't be told. */
  [END](end) {
    if (this.#over) return;
    const unanswered = this.#state !== 'answered';
    this.#state = 'ended';
    clearTimeout(this.#restarts);
    this.#unwatch();
    this.#line.forget(this.id);
    if (this.#owned) for (const track of this.#local?.getTracks() ?? []) track.stop();
    if (this.#pc) {
      this.#pc.ontrack = this.#pc.onconnectionstatechange = null;
      this.#pc.close();
    }
    if (unanswered) this.#settle.failed(end.error ?? new BridgeheadError(end.reason, `The call was not answered: ${end.reason}.`, end.code));
    const { reason, code, error, stats } = end;
    const detail = { reason, code, ...(error && { error }), ...(stats && { stats }) };
    this.#settle.ended(detail);
    this[TELL]('ended', detail);
  }

  get #over() {
    return this.#state === 'ended';
  }

  /** Runs the way to a first description; whatever fails there fails the call. */
  async #guard(work) {
    try {
      await work();
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error) {
    if (this.#over) return;
    const known = error instanceof BridgeheadError;
    const why = known ? error : new BridgeheadError('not_acceptable', `No media session: ${error?.message ?? error}`, 488, error);
    this.#bye('declined');
    this[END]({ reason: why.name, code: why.code, error: why });
  }

  /** Ends the call there and here. */
  #leave(reason) {
    if (!this.#over) {
      this.#bye(reason);
      this[END]({ reason, code: CODES[reason] ?? 0 });
    }
    return this.ended;
  }

  /** Messages keep their order, so this may follow a `dial` or an `answer` that is still without reply. */
  #bye(reason) {
    if (!this.#told) return;
    const reject = this.direction === 'incoming' && !this.#taken;
    // Where the call ended meanwhile, the error says nothing new.
    this.#line.request(reject ? 'reject' : 'hangup', { call: this.id, reason: reject ? reason : undefined }).catch(() => {});
  }

  #step(work) {
    this.#steps = this.#steps.then(() => (this.#over ? undefined : work())).catch((error) => this.#fail(error));
    return this.#steps;
  }

  #connect() {
    const pc = new RTCPeerConnection({ iceServers: this.#line.iceServers, bundlePolicy: 'max-bundle', rtcpMuxPolicy: 'require' });
    pc.ontrack = ({ track }) => {
      this.remoteStream.addTrack(track);
      this[TELL]('track', track);
    };
    pc.onconnectionstatechange = () => this.#onConnection(pc.connectionState);
    this.#pc = pc;
    this.#watch();
    return pc;
  }

  /** A network that changes under a call that stands: a new way is looked for before the old one breaks. */
  #watch() {
    this.#unwatch();
    this.#unwatch = watch((cut) => {
      if (this.#state !== 'answered') return;
      this.#line.prove(cut);
      this.#restartIn(SETTLE_MS);
    });
  }

  /** Opens the microphone, or takes the given stream. */
  async #listen(audio) {
    if (audio && typeof audio.getAudioTracks === 'function') {
      this.#local = audio;
    } else if (audio) {
      const stream = await microphone(audio);
      // Ended while the user was being asked: the light must not stay on.
      if (this.#over) return stream.getTracks().forEach((track) => track.stop());
      this.#owned = true;
      this.#local = stream;
    }
    if (this.#muted) this.mute();
  }

  /** Puts what is sent onto the connection. */
  #send() {
    const tracks = this.#local?.getAudioTracks() ?? [];
    for (const track of tracks) this.#pc.addTrack(track, this.#local);
    if (!tracks.length && !this.#pc.remoteDescription) this.#pc.addTransceiver('audio', { direction: 'recvonly' });
  }

  #onRinging(code) {
    if (this.#state === 'answered') return;
    this.#state = code === 183 ? 'early' : 'ringing';
    this[TELL](this.#state, { code });
  }

  #onAnswered() {
    if (this.#over || this.#state === 'answered') return;
    this.#state = 'answered';
    this.#settle.answered(this);
    this[TELL]('answered', undefined);
  }

  /** The SIP server controls this phone, unless the application would rather do so. */
  #onControl(action) {
    let wanted = true;
    this[TELL]('control', { action, preventDefault: () => (wanted = false) });
    if (!wanted || this.#over) return;
    if (action === 'talk' && this.#state === 'incoming') this.answer();
    else if (this.#state === 'answered') (action === 'talk' ? this.resume() : this.hold()).catch(() => {});
  }

  #onUpdate(sdp) {
    this.#step(async () => {
      // Not answered yet: the newer offer is the one to answer. A call of the page before is taken over by an offer of
      // ours, which makes those of the gateway that it crosses void.
      if (!this.#pc?.remoteDescription) {
        this.#offer = sdp;
        return;
      }
      // An offer of ours that is on its way will be refused: the gateway's goes first, and rolls ours back.
      this.#round++;
      const overtaken = this.#pc.signalingState === 'have-local-offer';
      await this.#pc.setRemoteDescription({ type: 'offer', sdp });
      await this.#pc.setLocalDescription();
      if (this.#over) return;
      this.#line.request('accept', { call: this.id, sdp: this.#pc.localDescription.sdp }).catch(() => {});
      // What a restart of ours was for is still to be done.
      if (overtaken || this.#media === 'interrupted') this.#restartIn(PATIENCE_MS);
    });
  }

  #onConnection(state) {
    const media = { connected: 'connected', disconnected: 'interrupted', failed: 'interrupted' }[state];
    if (!media || this.#over) return;
    clearTimeout(this.#restarts);
    if (media === 'interrupted') {
      this.#line.prove();
      this.#restartIn(state === 'failed' ? 0 : PATIENCE_MS);
    }
    if (media === this.#media) return;
    this.#media = media;
    this[TELL]('media', media);
  }

  #restartIn(ms) {
    clearTimeout(this.#restarts);
    this.#restarts = setTimeout(() => this.restart(), ms);
  }
}

/** By WebSocket. */
class SocketWay {
  transport = 'websocket';
  /** @type {WebSocket | undefined} */
  #socket;
  #sink;

  constructor(url, sink) {
    this.#socket = new WebSocket(url, PROTOCOL);
    this.#sink = sink;
  }

  /** Signs in with what `hello` gives; resolves when that is answered. */
  open(hello) {
    return new Promise((resolve, reject) => {
      const socket = this.#socket;
      let id = null;
      socket.onopen = async () => {
        const made = hello();
        // Only a token that is made to order is waited for.
        const message = made.then ? await made.catch(reject) : made;
        if (!message) return;
        id = message.id;
        socket.send(JSON.stringify(message));
      };
      socket.onclose = () => {
        reject(lost('closed'));
        this.#sink.lost(this);
      };
      socket.onmessage = ({ data }) => {
        const message = parse(data);
        if (message && message.id === id && (message.type === 'ok' || message.type === 'error')) {
          id = null;
          if (message.type === 'error') reject(refusal(message));
          else resolve(this.#sink.joined(this, message));
        } else if (message) {
          this.#sink.message(this, message);
        }
      };
    });
  }

  send(message) {
    if (this.#socket.readyState === 1) this.#socket.send(JSON.stringify(message));
  }

  close() {
    this.#socket.onclose = this.#socket.onmessage = null;
    this.#socket.close();
  }
}

/** By HTTP: each request is a POST, events come by a GET that waits for them. */
class PollWay {
  transport = 'poll';
  #base;
  #sink;
  #token = '';
  #stop = new AbortController();
  /** Requests keep their order. */
  #queue = Promise.resolve();
  /** So do those that wait for the far side's word. */
  #told = Promise.resolve();

  constructor(url, sink) {
    this.#base = new URL('.', url.replace(/^ws/, 'http')).href;
    this.#sink = sink;
  }

  async open(hello) {
    const message = await this.#fetch('session', await hello(), CONNECT_MS);
    if (this.#stop.signal.aborted) throw lost('closed');
    if (message?.type !== 'ok') throw message?.error ? refusal(message) : lost('no gateway there');
    this.#token = message.resume;
    this.#sink.joined(this, message);
    this.#poll();
    return message;
  }

  send(message) {
    this.#leaving ||= message.type === 'disconnect';
    // A request that breaks off may arrive all the same, even after its repetition: never twice.
    const turn = message.type === 'info' ? Promise.all([this.#queue, this.#told]) : this.#queue;
    const sent = turn.then(() => this.#left || this.#fetch('messages', { ...message, again: true }));
    const done = sent.then(
      (reply) => this.#left || this.#take(reply),
      () => this.#sink.lost(this),
    );
    // The answer to these comes when the far side has decided; a hang-up must not wait for that.
    if (message.type === 'info') this.#told = done;
    else if (!['update', 'transfer', 'message'].includes(message.type)) this.#queue = done;
  }

  /** Nothing more is heard; nothing more is said but a farewell. */
  close() {
    this.#sink = { message() {}, lost() {}, joined() {} };
    if (this.#leaving) return this.#queue.then(() => this.#stop.abort());
    this.#left = true;
    this.#stop.abort();
  }

  #left = false;
  #leaving = false;

  async #poll() {
    try {
      while (!this.#stop.signal.aborted) {
        const events = await this.#fetch(`events?cursor=${this.#sink.cursor}&wait=${POLL_S}`, undefined, (POLL_S + 10) * 1000);
        if (!Array.isArray(events)) return this.#take(events);
        for (const event of events) this.#take(event);
      }
    } catch {
      this.#sink.lost(this);
    }
  }

  #take(message) {
    if (message?.error === 'unknown_session' || !message) this.#sink.lost(this);
    else this.#sink.message(this, message);
  }

  async #fetch(path, body, ms = 0) {
    const stop = new AbortController();
    const abort = () => stop.abort();
    this.#stop.signal.addEventListener('abort', abort);
    const timer = ms && setTimeout(abort, ms);
    try {
      const headers = this.#token ? { authorization: `Bearer ${this.#token}` } : {};
      const post = body && { method: 'POST', body: JSON.stringify(body), keepalive: body.type === 'disconnect' };
      const response = await fetch(this.#base + path, { ...post, headers, cache: 'no-store', credentials: 'omit', signal: stop.signal });
      return parse(await response.text());
    } finally {
      clearTimeout(timer);
      this.#stop.signal.removeEventListener('abort', abort);
    }
  }
}

/**
 * The session's line: falls back to long poll where WebSocket is blocked and climbs back by itself, comes back after a
 * lost connection, asks again what was not answered and hears again what it missed.
 */
class Link {
  state = 'connecting';
  cursor = 0;
  #options;
  #url;
  /** Of the client: `event(message)`, `state(name)`, `gone()`, `end(reason)`. */
  #owner;
  #way = null;
  /** @type {Map<number, {message: any, resolve: Function, reject: Function}>} */
  #requests = new Map();
  #lastId = 0;
  #acked = 0;
  #token = null;
  #tries = 0;
  #timer;
  #ping;
  #climb;
  #online;

  constructor(options, owner, kept) {
    this.#token = kept?.token ?? null;
    this.cursor = kept?.cursor ?? 0;
    this.#options = options;
    this.#owner = owner;
    this.#url = endpoint(options.url);
  }

  get transport() {
    return this.#way?.transport ?? null;
  }

  /** Signs in for the first time. */
  open() {
    return this.#reach();
  }

  request(type, fields = {}) {
    return new Promise((resolve, reject) => {
      if (this.state === 'closed') return reject(lost('closed'));
      const message = { type, id: ++this.#lastId, ...fields };
      this.#requests.set(message.id, { message, resolve, reject });
      this.#way?.send(message);
    });
  }

  /** Signs out. */
  close() {
    this.#way?.send({ type: 'disconnect', id: ++this.#lastId });
    this.#shut('closed');
  }

  /** Did not come about. A token that was kept is good for another try, unless its session is over. */
  drop(over) {
    this.#shut('closed', over);
  }

  /** Tries the ways that are allowed, the better one first. */
  async #reach() {
    const { transport = 'auto' } = this.#options;
    const ways = { websocket: [SocketWay], poll: [PollWay] }[transport] ?? [SocketWay, PollWay];
    for (const [place, Way] of ways.entries()) {
      const last = place === ways.length - 1;
      try {
        return await this.#try(Way, last ? CONNECT_MS : SOCKET_MS);
      } catch (error) {
        // An answer, if only a refusal, is no reason to try another way.
        if (last || error?.name !== 'connection_lost' || this.state === 'closed') throw error;
      }
    }
  }

  async #try(Way, ms) {
    let way;
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(lost('no reply')), ms);
      this.#giveUp = reject;
    });
    // Nobody waits for it where no way could be made.
    late.catch(() => {});
    try {
      // Where a policy forbids WebSocket, to make one throws.
      way = new Way(this.#url, this);
      return await Promise.race([way.open(() => this.#hello()), late]);
    } catch (error) {
      way?.close();
      throw error instanceof BridgeheadError ? error : lost(error?.message ?? error);
    } finally {
      clearTimeout(timer);
    }
  }

  #giveUp = () => {};

  #hello() {
    const { user, password, token } = this.#options;
    const make = (how) => ({ type: 'connect', id: ++this.#lastId, version: VERSION, ...how });
    if (this.#token) return make({ resume: this.#token, cursor: this.cursor });
    if (typeof token !== 'function') return make({ user, password, token });
    return Promise.resolve().then(token).then((fresh) => make({ user, token: fresh }));
  }

  /** A way leads to the session: the one before is left, what it did not answer is asked again. */
  joined(way, ok) {
    const old = this.#way;
    this.#way = way;
    if (old && old !== way) old.close();
    this.#token = ok.resume ?? null;
    this.#keep();
    this.#tries = 0;
    clearTimeout(this.#timer);
    clearTimeout(this.#lost);
    this.#lost = undefined;
    for (const request of this.#requests.values()) way.send({ ...request.message, again: true });
    this.#pingIn();
    clearTimeout(this.#climb);
    if (way.transport === 'poll' && (this.#options.transport ?? 'auto') === 'auto') this.#climbIn(CLIMB_MS);
    this.#become('connected');
    return ok;
  }

  message(way, message) {
    if (way !== this.#way) return;
    if (message.type === 'ok' || message.type === 'error') return this.#onReply(message);
    const { seq = 0 } = message;
    if (seq && seq <= this.cursor) return;
    this.cursor = Math.max(this.cursor, seq);
    if (seq) this.#keep();
    if (this.cursor - this.#acked > UNACKED) this.#acknowledge().catch(() => {});
    if (message.type === 'closed') this.#shut(message.reason ?? 'closed');
    else this.#owner.event(message);
  }

  /** What a page needs to come back after a reload; nothing where the session is over. */
  #keep() {
    this.#owner.kept(this.#token && this.state !== 'closed' ? { token: this.#token, cursor: this.cursor } : null);
  }

  #onReply(message) {
    const request = this.#requests.get(message.id);
    if (!request) return;
    this.#requests.delete(message.id);
    const { type, id, ...rest } = message;
    if (type === 'ok') request.resolve(rest);
    else request.reject(refusal(message));
  }

  /** A way is gone. */
  lost(way) {
    if (way !== this.#way || this.state === 'closed') return;
    this.#way = null;
    way.close();
    this.#silence();
    if (!this.#token) return this.#shut('connection_lost');
    this.#lost ??= setTimeout(() => this.#owner.gone(), LOST_MS);
    this.#online ??= () => this.#retryIn(0);
    globalThis.addEventListener?.('online', this.#online);
    this.#become('reconnecting');
    this.#retryIn(Math.random() * RETRY_MS);
  }

  #lost;

  #retryIn(ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#retry(), ms);
  }

  async #retry() {
    if (this.#way || this.#retrying || this.state === 'closed') return;
    this.#retrying = true;
    try {
      await this.#reach();
    } catch (error) {
      this.#onRetryFailed(error);
    } finally {
      this.#retrying = false;
    }
  }

  #retrying = false;

  #onRetryFailed(error) {
    if (this.state === 'closed') return;
    if (error.name === 'unknown_session') {
      // The session is over, so are its calls. Whoever can signs in anew.
      this.#token = null;
      this.cursor = this.#acked = 0;
      this.#refuseAll(lost('session over'));
      this.#owner.gone();
      const { user, token } = this.#options;
      if (user === undefined && token === undefined) return this.#shut('connection_lost');
      this.#retryIn(0);
    } else if (['connection_lost', 'overloaded', 'too_many'].includes(error.name)) {
      const ms = Math.min(RETRY_MS * 2 ** this.#tries++, RETRY_MAX_MS);
      this.#retryIn(ms * (0.5 + Math.random()));
    } else {
      this.#shut(error.name);
    }
  }

  #climbIn(ms) {
    this.#climb = setTimeout(async () => {
      try {
        await this.#try(SocketWay, SOCKET_MS);
      } catch {
        if (this.transport === 'poll') this.#climbIn(Math.min(ms * 2, 10 * CLIMB_MS));
      }
    }, ms * (0.75 + Math.random() / 2));
  }

  /** A dead network closes no WebSocket: only an unanswered question tells. */
  #pingIn(ms = PING_MS, patience = PONG_MS) {
    clearTimeout(this.#ping);
    const way = this.#way;
    this.#ping = setTimeout(() => {
      this.#ping = setTimeout(() => this.lost(way), patience);
      const pong = () => this.#way === way && this.#pingIn();
      this.#acknowledge().then(pong, pong);
    }, ms);
  }

  /** The network changed: the way must show that it still leads there, unless it is known to be cut. */
  prove(cut = false) {
    if (this.state !== 'connected' && this.state !== 'reconnecting') return;
    if (!this.#way) this.#retryIn(0);
    else if (cut) this.lost(this.#way);
    else this.#pingIn(0, PROOF_MS);
  }

  #acknowledge() {
    this.#acked = this.cursor;
    return this.request('ping', this.cursor ? { ack: this.cursor } : {});
  }

  #silence() {
    clearTimeout(this.#ping);
    clearTimeout(this.#climb);
  }

  #become(state) {
    if (this.state === state) return;
    this.state = state;
    this.#owner.state(state);
  }

  #refuseAll(error) {
    const requests = [...this.#requests.values()];
    this.#requests.clear();
    for (const { reject } of requests) reject(error);
  }

  #shut(reason, over = true) {
    if (this.state === 'closed') return;
    this.#become('closed');
    if (over) this.#keep();
    this.#silence();
    clearTimeout(this.#timer);
    clearTimeout(this.#lost);
    if (this.#online) globalThis.removeEventListener?.('online', this.#online);
    this.#giveUp(lost(reason));
    this.#refuseAll(lost(reason));
    this.#way?.close();
    this.#owner.end(reason);
  }
}

/** A signed-in user: one connection to the gateway, any number of calls. */
export class Bridgehead extends Emitter {
  /** @type {Link} */
  #link;
  /** @type {Map<string, Call>} */
  #calls = new Map();
  /** @type {Set<Call>} incoming calls that no listener has heard of yet */
  #unheard = new Set();
  #watches = new Map();
  #autoHold = false;
  #closed = false;
  #line;

  /**
   * Signs in. The password or token travels in the first message, never in the URL.
   * @param {{url?: string, user?: string, password?: string, token?: string | (() => string | Promise<string>), transport?: 'auto' | 'websocket' | 'poll', autoHold?: boolean, resume?: boolean | string}} options
   *   `resume`: keep a token in sessionStorage (under this name), and come back by it after a reload
   * @returns {Promise<Bridgehead>}
   */
  static async connect(options = {}) {
    const kept = options.resume ? recall(options.resume) : null;
    if (kept) {
      try {
        const client = new Bridgehead();
        client.#autoHold = Boolean(options.autoHold);
        await client.#open(options, kept);
        // What another user left in this tab is not for this one.
        if (options.password === undefined || client.user === options.user) return client;
        client.close();
      } catch (error) {
        // That session is over: sign in anew, where there is something to do so with.
        if (error.name !== 'unknown_session' || (options.user ?? options.token) === undefined) throw error;
      }
    }
    const client = new Bridgehead();
    client.#autoHold = Boolean(options.autoHold);
    await client.#open(options);
    return client;
  }

  /** For this module only; use {@link Bridgehead.connect}. */
  constructor() {
    super();
    /** The name signed in with. @type {string} */
    this.user = '';
    /** @type {string} */
    this.session = '';
    /** Whether the SIP server sends this user's calls here. */
    this.registered = false;
    this.#line = {
      iceServers: [],
      request: (type, fields) => this.#link.request(type, fields),
      prove: (cut) => this.#link.prove(cut),
      // The call that the user turns to is the only one that is not held, where that is wished.
      alone: (call) => {
        if (!this.#autoHold) return;
        for (const other of this.#talking()) if (other !== call && !other.onHold) other.hold().catch(() => {});
      },
      forget: (id) => {
        this.#unheard.delete(this.#calls.get(id));
        this.#calls.delete(id);
      },
    };
  }

  /** The calls that are not over. @returns {Call[]} */
  get calls() {
    return [...this.#calls.values()];
  }

  /** The answered call that is not on hold. @returns {Call | null} */
  get active() {
    return this.#talking().find((call) => !call.onHold) ?? null;
  }

  #talking() {
    return this.calls.filter((call) => call.state === 'answered');
  }

  /**
   * Holds the active call and resumes another: the one given, else the first that is on hold.
   * @param {Call} [to] @returns {Promise<Call>}
   */
  async swap(to = this.#talking().find((call) => call.onHold)) {
    if (!to) throw new BridgeheadError('wrong_state', 'No call is on hold.');
    const { active } = this;
    if (active && active !== to) await active.hold();
    await to.resume();
    return to;
  }

  get closed() {
    return this.#closed;
  }

  /** `connecting`, `connected`, `reconnecting` or `closed`. Calls go on while it reconnects. */
  get connection() {
    return this.#link?.state ?? 'connecting';
  }

  /** `websocket`, `poll`, or null while there is none. */
  get transport() {
    return this.#link?.transport ?? null;
  }

  on(name, listener) {
    const stop = super.on(name, listener);
    if (name === 'incoming') for (const call of this.#unheard) queueMicrotask(() => this.#announce(call));
    return stop;
  }

  /**
   * Asks the SIP server to send this user's calls here. Resolves when it agrees.
   * @param {{password?: string}} [options] the SIP password, where a token gave a SIP identity without a secret
   */
  register({ password } = {}) {
    const stops = [];
    return new Promise((resolve, reject) => {
      stops.push(
        this.on('registered', () => resolve()),
        this.on('unregistered', ({ reason, code }) => reject(new BridgeheadError(reason, `Not registered: ${reason}.`, code))),
        this.on('closed', ({ reason }) => reject(lost(reason))),
      );
      this.#link.request('register', { password }).then(() => this.registered && resolve(), reject);
    }).finally(() => stops.forEach((stop) => stop()));
  }

  async unregister() {
    await this.#link.request('unregister');
  }

  /**
   * Calls a user, a number or a SIP URI. Returns at once, so that no event can be missed.
   * @param {string} to
   * @param {{audio?: boolean | MediaTrackConstraints | MediaStream, attach?: Record<string, string>}} [options]
   * @returns {Call}
   */
  dial(to, { audio = true, attach } = {}) {
    const from = { user: this.user, host: '', display: '' };
    const call = new Call(this.#line, { id: newId(), direction: 'outgoing', from, to: String(to) });
    if (this.#closed) {
      queueMicrotask(() => call[END]({ reason: 'connection_lost', code: 0, error: lost('closed') }));
      return call;
    }
    this.#calls.set(call.id, call);
    call[START](audio, attach);
    return call;
  }

  /** Sends a text. */
  async message(to, body, { type = 'text/plain' } = {}) {
    await this.#link.request('message', { to: String(to), content_type: type, body });
  }

  /** Asks to be told of something: SIP SUBSCRIBE. */
  async subscribe(event, to) {
    const id = newId();
    const ask = () => this.#link.request('subscribe', { watch: id, event, to });
    const close = () => this.#watches.delete(id) && this.#link.request('unsubscribe', { watch: id }).catch(() => {});
    const watch = Object.assign(new Emitter(), { id, event, ask, close });
    this.#watches.set(id, watch);
    await ask().catch((error) => {
      this.#watches.delete(id);
      throw error;
    });
    return watch;
  }

  /** Hangs up every call and signs out. */
  close() {
    if (this.#closed) return;
    for (const call of this.calls) call.hangup();
    this.#link.close();
  }

  async #open(options, kept) {
    const keep = options.resume;
    this.#link = new Link(options, {
      event: (message) => this.#onEvent(message),
      state: (state) => this[TELL]('connection', state),
      kept: (what) => keep && remember(keep, what),
      gone: () => this.#onGone(),
      end: (reason) => this.#end(reason),
    }, kept);
    try {
      const ok = await this.#link.open();
      this.user = ok.user ?? options.user ?? '';
      this.session = ok.session ?? '';
      this.#line.iceServers = ok.ice_servers ?? [];
      for (const call of ok.calls ?? []) this.#onStanding(call);
    } catch (error) {
      this.#link.drop(error.name === 'unknown_session');
      throw error;
    }
  }

  /**
   * A call of the page before: one that rings rings again, an answered one can be taken over. One that was dialled is
   * cancelled, as its sound was to come to a peer connection that is gone: it ends as soon as the gateway has heard it.
   */
  #onStanding({ call: id, direction, state, party, from, to, sdp, data, held, on_hold: onHold }) {
    if (sdp) return this.#onIncoming({ call: id, from, to, sdp, data });
    const [me, other] = [this.user, party].map((user) => ({ user, host: '', display: '' }));
    const [caller, callee] = direction === 'incoming' ? [other, me] : [me, other];
    const standing = state === 'answered' && { held, onHold };
    const call = new Call(this.#line, { id, direction, from: caller, to: callee.user, standing });
    this.#calls.set(id, call);
    if (!standing) this.#link.request('hangup', { call: id }).catch(() => call[END]({ reason: 'cancelled', code: 487 }));
  }

  /** The session is over, or was not reached for too long: its calls are, too. */
  #onGone() {
    const error = lost('session over');
    for (const call of this.calls) call[END]({ reason: error.name, code: 0, error });
    for (const { ask } of this.#watches.values()) ask().catch(() => {});
    if (!this.registered) return;
    this.registered = false;
    this.#link.request('register').catch(({ name, code }) => this.#closed || this[TELL]('unregistered', { reason: name, code }));
  }

  #onEvent(message) {
    const { type, reason, code } = message;
    switch (type) {
      case 'registered':
        this.registered = true;
        this[TELL]('registered', undefined);
        break;
      case 'unregistered':
        this.registered = false;
        this[TELL]('unregistered', { reason: reason ?? 'failed', code: code ?? 0 });
        break;
      case 'incoming':
        this.#onIncoming(message);
        break;
      case 'notify':
        (this.#watches.get(message.watch) ?? this)[TELL]('notify', { event: message.event, contentType: message.content_type, body: message.body, mwi: message.mwi ?? null });
        break;
      case 'unsubscribed':
        this.#watches.get(message.watch)?.[TELL]('ended', { reason });
        this.#watches.delete(message.watch);
        break;
      case 'message':
        if (!message.call) return void this[TELL]('message', { from: message.from, contentType: message.content_type, body: message.body });
      // One of a call.
      default:
        this.#calls.get(message.call)?.[HANDLE](type, message);
    }
  }

  #onIncoming({ call: id, from, to, sdp, data }) {
    if (this.#calls.has(id)) return;
    const caller = { user: '', host: '', display: '', ...from };
    const call = new Call(this.#line, { id, direction: 'incoming', from: caller, to: to ?? this.user, offer: sdp, data });
    this.#calls.set(id, call);
    this.#unheard.add(call);
    this.#announce(call);
  }

  /** A session without a listener does not claim to ring. */
  #announce(call) {
    if (!this.#unheard.has(call) || !this[TELL]('incoming', call)) return;
    this.#unheard.delete(call);
    if (call.state === 'incoming') this.#link.request('ringing', { call: call.id }).catch(() => {});
  }

  #end(reason) {
    if (this.#closed) return;
    this.#closed = true;
    this.registered = false;
    const error = lost(reason);
    for (const call of this.calls) call[END]({ reason: error.name, code: 0, error });
    this[TELL]('closed', { reason });
  }
}

const KEY = 'bridgehead';

function recall(name) {
  try {
    return JSON.parse(sessionStorage.getItem(name === true ? KEY : name));
  } catch {
    return null;
  }
}

/** A page without storage is not resumed; that is all. */
function remember(name, what) {
  try {
    if (what) sessionStorage.setItem(name === true ? KEY : name, JSON.stringify(what));
    else sessionStorage.removeItem(name === true ? KEY : name);
  } catch {}
}

function lost(reason) {
  return new BridgeheadError('connection_lost', `No connection to the gateway (${reason}).`);
}

function refusal({ error, code, message, reason }) {
  const why = `${message ?? `Refused: ${error}.`}${reason ? ` (${reason})` : ''}`;
  return Object.assign(new BridgeheadError(error ?? 'failed', why, code ?? 0), reason && { reason });
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Who wants to know of another network. @type {Set<Function>} */
const watchers = new Set();
let looking;
/** The device's addresses at the last look. @type {string[] | undefined} */
let addresses;

/** Tells when the network changes, and whether no address is left of the one before. Returns a function that stops it. */
function watch(changed) {
  const tell = () => changed(false);
  const places = [[globalThis, 'online'], [globalThis.navigator?.connection, 'change']].filter(([place]) => place?.addEventListener);
  for (const [place, name] of places) place.addEventListener(name, tell);
  watchers.add(changed);
  if (watchers.size === 1) look();
  return () => {
    places.forEach(([place, name]) => place.removeEventListener(name, tell));
    if (watchers.delete(changed) && !watchers.size) {
      clearTimeout(looking);
      addresses = undefined;
    }
  };
}

/** Browsers tell pages of no network beside the one in use: what a peer connection would use is looked at instead. */
async function look() {
  const before = addresses;
  const now = await gather().catch(() => before);
  if (!watchers.size) return;
  // Without any there is nothing to be done yet.
  if (now?.length) addresses = now;
  if (before && now?.length && String(now) !== String(before)) {
    const cut = !now.some((address) => before.includes(address));
    for (const changed of [...watchers]) changed(cut);
  }
  clearTimeout(looking);
  if (watchers.size) looking = setTimeout(look, LOOK_MS);
}

async function gather() {
  const pc = new RTCPeerConnection();
  try {
    const found = [];
    pc.createDataChannel('');
    await new Promise((resolve, reject) => {
      // Names instead of addresses are new each time: their number must do.
      pc.onicecandidate = ({ candidate }) =>
        candidate?.candidate ? candidate.protocol !== 'tcp' && found.push(candidate.address?.replace(/.*\.local$/, 'local')) : resolve();
      setTimeout(resolve, LOOK_MS);
      pc.setLocalDescription().catch(reject);
    });
    return found.sort();
  } finally {
    pc.close();
  }
}

/** The gateway's address: as given, else where this module came from, which for a copy of it is where the page did. */
function endpoint(url) {
  const { url: here } = import.meta;
  try {
    return new URL(url ?? '/v1/ws', url || !/^http/.test(here) ? globalThis.location?.href : here).href.replace(/^http/, 'ws');
  } catch (error) {
    throw new BridgeheadError('bad_request', `Not a gateway address: ${url}`, 0, error);
  }
}

/** Unguessable is not needed, unique is; `randomUUID` is missing where a page is not served securely. */
function newId() {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

async function microphone(audio) {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new BridgeheadError('microphone_unavailable', 'Browsers give the microphone only to pages from https or localhost.');
  }
  try {
    return await navigator.mediaDevices.getUserMedia({ audio });
  } catch (error) {
    const denied = error?.name === 'NotAllowedError' || error?.name === 'SecurityError';
    throw denied
      ? new BridgeheadError('microphone_denied', 'The use of the microphone was not allowed.', 0, error)
      : new BridgeheadError('microphone_unavailable', `No microphone: ${error?.message ?? error}`, 0, error);
  }
}
