// What the page of softphone.mjs runs: two unmodified SIP phones behind one set of words, and an ear.
import JsSIP from 'jssip';
import { Inviter, Registerer, RegistererState, SessionState, UserAgent } from 'sip.js';

const PATIENCE = 15_000;
const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
const constraints = { audio, video: false };
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
async function until(what, ready) {
  const start = performance.now();
  for (;;) {
    const value = ready();
    if (value) return value;
    if (performance.now() - start > PATIENCE) throw new Error(`${what}: not within ${PATIENCE} ms`);
    await wait(10);
  }
}

const state = { call: null, ring: null, ended: null, held: false, ear: null, kind: null, ua: null, domain: null };

/** JsSIP (https://jssip.net). */
const jssip = {
  async register({ ws, user, password, domain }) {
    JsSIP.debug.enable('JsSIP:*');
    state.ua = new JsSIP.UA({ sockets: [new JsSIP.WebSocketInterface(ws)], uri: `sip:${user}@${domain}`, password, register: true });
    state.ua.on('newRTCSession', ({ session, originator }) => {
      if (originator === 'remote') state.ring = session;
      this.follow(session);
    });
    let outcome;
    state.ua.on('registered', () => (outcome = 'registered'));
    state.ua.on('registrationFailed', ({ cause }) => (outcome = cause));
    state.ua.start();
    return until('registered', () => outcome);
  },
  follow(session) {
    state.ended = null;
    session.on('ended', ({ cause, originator }) => (state.ended = `${originator}: ${cause}`));
    session.on('failed', ({ cause, originator }) => (state.ended = `${originator}: ${cause}`));
  },
  dial({ to }) {
    state.call = state.ua.call(`sip:${to}@${state.domain}`, { mediaConstraints: constraints, pcConfig: { iceServers: [] } });
  },
  answer() {
    state.call = state.ring;
    state.call.answer({ mediaConstraints: constraints, pcConfig: { iceServers: [] } });
  },
  established: () => state.call?.isEstablished(),
  caller: () => state.ring.remote_identity.uri.user,
  hold: (on) => new Promise((resolve) => (on ? state.call.hold({}, resolve) : state.call.unhold({}, resolve))),
  key: ({ digit, info }) => state.call.sendDTMF(digit, { transportType: info ? 'INFO' : 'RFC2833' }),
  hangup: () => state.call.terminate(),
  connection: () => state.call?.connection,
  unregister: () => {
    state.ua.unregister();
    return new Promise((resolve) => state.ua.on('unregistered', () => resolve('unregistered')));
  },
};

/** SIP.js (https://sipjs.com). */
const sipjs = {
  async register({ ws, user, password, domain }) {
    state.ua = new UserAgent({
      uri: UserAgent.makeURI(`sip:${user}@${domain}`),
      transportOptions: { server: ws },
      authorizationUsername: user,
      authorizationPassword: password,
      sessionDescriptionHandlerFactoryOptions: { peerConnectionConfiguration: { iceServers: [] } },
      delegate: {
        onInvite: (invitation) => {
          state.ring = invitation;
          sipjs.follow(invitation);
        },
      },
    });
    await state.ua.start();
    const registerer = new Registerer(state.ua);
    state.registerer = registerer;
    let refused = null;
    await registerer.register({ requestDelegate: { onReject: ({ message }) => (refused = `${message.statusCode}`) } });
    return until('registered', () => refused ?? (registerer.state === RegistererState.Registered && 'registered'));
  },
  follow(session) {
    state.ended = null;
    session.stateChange.addListener((now) => {
      if (now === SessionState.Terminated) state.ended = 'terminated';
    });
  },
  async dial({ to }) {
    const target = UserAgent.makeURI(`sip:${to}@${state.domain}`);
    state.call = new Inviter(state.ua, target, { sessionDescriptionHandlerOptions: { constraints } });
    sipjs.follow(state.call);
    await state.call.invite({ requestDelegate: { onReject: ({ message }) => (state.ended = `${message.statusCode}`) } });
  },
  async answer() {
    state.call = state.ring;
    await state.call.accept({ sessionDescriptionHandlerOptions: { constraints } });
  },
  established: () => state.call?.state === SessionState.Established,
  caller: () => state.ring.remoteIdentity.uri.user,
  hold: (hold) =>
    new Promise((resolve, reject) => {
      state.call.sessionDescriptionHandlerOptionsReInvite = { hold };
      state.call.invite({ requestDelegate: { onAccept: () => resolve(), onReject: ({ message }) => reject(new Error(`${message.statusCode}`)) } });
    }),
  key({ digit, info }) {
    if (!info) return state.call.sessionDescriptionHandler.sendDtmf(digit, { duration: 100, interToneGap: 70 });
    const body = { contentDisposition: 'render', contentType: 'application/dtmf-relay', content: `Signal=${digit}\r\nDuration=100` };
    return state.call.info({ requestOptions: { body } }).then(() => true);
  },
  hangup: () => (state.call.state === SessionState.Established ? state.call.bye() : state.call.cancel()),
  connection: () => state.call?.sessionDescriptionHandler?.peerConnection,
  unregister: () =>
    new Promise((resolve) => {
      state.registerer.stateChange.addListener((now) => now === RegistererState.Unregistered && resolve('unregistered'));
      state.registerer.unregister();
    }),
};

/** A stream's strongest frequency, its level, its purity. */
function listen(stream) {
  const sound = document.createElement('audio');
  sound.srcObject = stream;
  sound.play();
  const context = new AudioContext();
  const analyser = new AnalyserNode(context, { fftSize: 16384, smoothingTimeConstant: 0, minDecibels: -140 });
  context.createMediaStreamSource(stream).connect(analyser);
  const bins = new Float32Array(analyser.frequencyBinCount);
  const samples = new Float32Array(analyser.fftSize);
  const width = context.sampleRate / analyser.fftSize;
  return () => {
    analyser.getFloatFrequencyData(bins);
    analyser.getFloatTimeDomainData(samples);
    const mean = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
    let peak = Math.ceil(150 / width);
    let total = 0;
    for (let bin = peak; bin * width < 12_000; bin++) {
      total += 10 ** (bins[bin] / 10);
      if (bins[bin] > bins[peak]) peak = bin;
    }
    let near = 0;
    for (let bin = peak - 4; bin <= peak + 4; bin++) near += 10 ** (bins[bin] / 10);
    return { hz: peak * width, db: 10 * Math.log10(mean + 1e-12), purity: total ? near / total : 0 };
  };
}

function ear() {
  const tracks = state.kind.connection()?.getReceivers().map(({ track }) => track).filter((track) => track.kind === 'audio') ?? [];
  if (!state.ear && tracks.length) state.ear = listen(new MediaStream(tracks));
  return state.ear?.() ?? null;
}

window.phone = {
  register(options) {
    state.kind = options.kind === 'jssip' ? jssip : sipjs;
    state.domain = options.domain;
    return state.kind.register(options);
  },
  async dial(options) {
    state.ear = null;
    state.ended = null;
    await state.kind.dial(options);
    await until('answered', () => state.kind.established() || state.ended);
    return state.ended ?? 'answered';
  },
  async incoming() {
    await until('a call', () => state.ring);
    return state.kind.caller();
  },
  async answer() {
    state.ear = null;
    await state.kind.answer();
    await until('established', () => state.kind.established());
    state.ring = null;
  },
  hold: ({ on }) => state.kind.hold(on).then(() => null),
  key: (options) => state.kind.key(options),
  hangup: () => void state.kind.hangup(),
  ended: () => until('the end', () => state.ended),
  unregister: () => state.kind.unregister(),
  async hear({ hz }) {
    const start = performance.now();
    let heard = null;
    while (performance.now() - start < PATIENCE) {
      heard = ear();
      if (heard && heard.purity > 0.7 && heard.db > -40 && Math.abs(heard.hz - hz) < 0.02 * hz) break;
      await wait(20);
    }
    return heard;
  },
  async silent() {
    await until('silence', () => (ear()?.db ?? 0) < -55);
  },
};
