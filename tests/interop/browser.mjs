// One Chromium, driven by JSON lines: {"id":1,"do":"dial",…} on stdin, {"id":1,"ok":…} or {"id":1,"error":{name,…}} on
// stdout. The page is the gateway's own, the calls are made by its own SDK. Ends, with its browser, when stdin does.
import { mkdirSync, mkdtempSync, rmSync, createWriteStream } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

const [microphone, folder] = process.argv.slice(2);
const PATIENCE = 20_000;
mkdirSync(folder, { recursive: true });
const log = createWriteStream(join(folder, 'browser.log'));
const profile = mkdtempSync(join(tmpdir(), 'bridgehead-interop-'));

const server = await chromium.launchServer({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  headless: true,
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--disable-default-apps', '--autoplay-policy=no-user-gesture-required',
    '--use-fake-ui-for-media-stream', '--use-fake-device-for-media-stream', `--use-file-for-fake-audio-capture=${microphone}`,
    `--disk-cache-dir=${profile}`,
  ],
});
const browser = await chromium.connect(server.wsEndpoint());
const complaints = [];
let page;
/** Everything that a page says, into the log. */
function hear(page) {
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
    log.write(`[${message.type()}] ${message.text()}\n`);
  });
  page.on('pageerror', (error) => {
    complaints.push(error.message);
    log.write(`[uncaught] ${error.stack}\n`);
  });
  page.on('websocket', (socket) => {
    socket.on('framesent', ({ payload }) => log.write(`> ${payload}\n`));
    socket.on('framereceived', ({ payload }) => log.write(`< ${payload}\n`));
    socket.on('close', () => log.write('websocket closed\n'));
  });
}

/** A page with a look of its own. */
async function look(options = {}) {
  await page?.context().close();
  const context = await browser.newContext({ permissions: ['microphone'], ignoreHTTPSErrors: true, ...options });
  page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  hear(page);
}
await look();

/** What has to be in reach at once, wherever it is shown. */
const CHIEF = '#signin [type=submit], #dial [type=submit], #mute, #hold, #keys, #add, #hangup';

/**
 * What is wrong with a page that can be told without eyes: too wide, text that does not stand out (WCAG 1.4.3) or is cut
 * off, controls without a name, too small for a finger or out of reach.
 */
function faults(chief) {
  const found = [];
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) found.push(`${root.scrollWidth - root.clientWidth} px too wide`);
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = rgba(getComputedStyle(at).backgroundColor);
      if (color[3] > 0) return color.slice(0, 3);
    }
    return [255, 255, 255];
  };
  const contrast = (style, element) => {
    const back = behind(element);
    const front = rgba(style.color).slice(0, 3).map((part, n) => back[n] + (part - back[n]) * Number(style.opacity));
    const [one, other] = [light(front), light(back)];
    return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
  };
  const shown = (element) => element.checkVisibility({ visibilityProperty: true });
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const words = walker.currentNode.textContent.trim();
    if (!words || !shown(element) || element.closest('.unseen, :disabled, option, noscript')) continue;
    const style = getComputedStyle(element);
    const ratio = contrast(style, element);
    if (ratio < (parseFloat(style.fontSize) >= 24 ? 3 : 4.5)) found.push(`${words}: contrast ${ratio.toFixed(2)}`);
    const box = element.getBoundingClientRect();
    if (box.right > root.clientWidth + 1 || box.left < -1) found.push(`${words}: outside the screen`);
    if (style.overflowX !== 'visible' && element.scrollWidth > element.clientWidth + 1) found.push(`${words}: cut off`);
  }
  for (const input of document.querySelectorAll('input')) {
    if (!shown(input) || input.value || !input.placeholder) continue;
    const ratio = contrast(getComputedStyle(input, '::placeholder'), input);
    if (ratio < 4.5) found.push(`placeholder of ${input.id}: contrast ${ratio.toFixed(2)}`);
  }
  for (const control of document.querySelectorAll('button, input, select, summary')) {
    if (!shown(control)) continue;
    const { width, height } = control.getBoundingClientRect();
    const name = control.getAttribute('aria-label') || control.textContent.trim();
    if (height < 44 || width < 44) found.push(`${name || control.id}: ${width} by ${height} px`);
    // The options of a list are not its name.
    const labelled = control.labels?.length || control.getAttribute('aria-label') || (control.tagName !== 'SELECT' && name);
    if (!labelled) found.push(`${control.id}: without a name`);
  }
  for (const image of document.querySelectorAll('img, svg')) {
    if (!image.closest('[aria-hidden=true]') && image.getAttribute('alt') === null) found.push(`${image.outerHTML.slice(0, 40)}: neither named nor hidden`);
  }
  scrollTo(0, 0);
  const over = document.querySelector('#incoming');
  for (const control of document.querySelectorAll(shown(over) ? '#answer, #decline' : chief)) {
    if (!shown(control)) continue;
    const { left, top, width, height } = control.getBoundingClientRect();
    const there = document.elementFromPoint(left + width / 2, top + height / 2);
    if (top < 0 || top + height > innerHeight || !control.contains(there)) found.push(`${control.id || control.textContent}: out of reach`);
  }
  return found;
}

/** Runs in the page: a test's hands and ears there, as `window.rig`. */
function rig() {
  const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const failure = ({ name, code, message, reason }) => ({ error: { name, code: code ?? 0, message, reason } });
  const settled = (promise) => promise.then((ok) => ({ ok: ok ?? null }), failure);
  const late = (ms, what) => new Promise((_, reject) => setTimeout(() => reject({ name: 'too_late', message: what }), ms));
  const within = (ms, what, promise) => Promise.race([promise, late(ms, what)]);

  /** Until a peer connection is there: a stream's strongest frequency, its level, its purity. */
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
      // The top of a parabola through three bins: finer than a bin.
      const [left, top, right] = [bins[peak - 1], bins[peak], bins[peak + 1]];
      const shift = Number.isFinite(left + top + right) && left + right !== 2 * top ? (left - right) / (2 * (left - 2 * top + right)) : 0;
      let near = 0;
      for (let bin = peak - 4; bin <= peak + 4; bin++) near += 10 ** (bins[bin] / 10);
      return { hz: (peak + shift) * width, db: 10 * Math.log10(mean + 1e-12), purity: total ? near / total : 0 };
    };
  }

  const ears = new AudioContext();
  /** When a stream first is louder than -40 dB. */
  async function first_sound(stream) {
    const sound = document.createElement('audio');
    sound.srcObject = stream;
    sound.play();
    const analyser = new AnalyserNode(ears, { fftSize: 256 });
    ears.createMediaStreamSource(stream).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    while (true) {
      analyser.getFloatTimeDomainData(samples);
      if (samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length > 1e-4) return performance.now();
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }

  const state = { client: null, call: null, ring: [], events: [], ear: null, seen: [] };
  const note = (call, name) => call.on(name, (detail) => state.events.push({ call: call.id, name, detail: detail?.code ?? null }));
  function hold(call) {
    state.before = state.call;
    state.call = call;
    state.ear = null;
    for (const name of ['ringing', 'early', 'answered', 'ended', 'media', 'track', 'quality']) note(call, name);
    for (const name of ['held', 'resumed', 'hold', 'dtmf', 'info', 'message', 'transfer', 'party']) {
      call.on(name, (detail) => state.events.push({ call: call.id, name, detail: detail ?? null }));
    }
    call.on('control', ({ action }) => state.events.push({ call: call.id, name: 'control', detail: action }));
  }

  window.rig = {
    state,
    async sign_in({ user, password, token, register, url, resume, sip_password }) {
      const { Bridgehead } = await import('/sdk/bridgehead.js');
      return settled(
        (async () => {
          state.client = await Bridgehead.connect({ user, password, token, url, resume });
          state.seen = state.client.calls;
          state.client.on('incoming', (call) => state.ring.push(call));
          for (const name of ['message', 'notify']) state.client.on(name, (detail) => state.events.push({ name, detail }));
          state.client.on('closed', (detail) => state.events.push({ name: 'closed', detail: detail.reason }));
          if (register) await within(15_000, 'registered', state.client.register({ password: sip_password }));
        })(),
      );
    },
    dial({ to, attach }) {
      const start = performance.now();
      hold(state.client.dial(to, { audio, attach }));
      state.call.answered.then(() => (state.answeredMs = performance.now() - start), () => {});
      return { ok: state.call.id };
    },
    async incoming() {
      const start = performance.now();
      while (!state.ring.length) {
        if (performance.now() - start > 15_000) return failure({ name: 'too_late', message: 'no call came' });
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      hold(state.ring.shift());
      const { from, to, data } = state.call;
      return { ok: { from, to, data } };
    },
    answer: () => settled(state.call.answer({ audio }).then(() => null)),
    reject: ({ reason }) => settled(state.call.reject(reason)),
    hangup: () => settled(state.call.hangup()),
    mute: ({ on }) => ({ ok: state.call.mute(on) ?? null }),
    hold: () => settled(within(15_000, 'held', state.call.hold())),
    resume: () => settled(within(15_000, 'resumed', state.call.resume())),
    swap: () => settled(within(15_000, 'swapped', state.client.swap().then((call) => (hold(call), call.id)))),
    dtmf: ({ digits, options }) => settled(within(30_000, 'keys', state.call.dtmf(digits, options))),
    info: ({ kind, body }) => settled(state.call.info(kind, body)),
    /** To somebody, or (`joins`) to the party of the call that was spoken of before this one. */
    transfer: ({ to, joins }) => settled(within(15_000, 'transferred', state.call.transfer(joins ? state.before : to))),
    message: ({ to, body }) => settled(within(15_000, 'taken', to ? state.client.message(to, body) : state.call.message(body))),
    subscribe: ({ event }) =>
      settled(
        state.client.subscribe(event).then((watch) => {
          state.watch = watch;
          watch.on('notify', (detail) => state.events.push({ name: 'notify', detail }));
          return null;
        }),
      ),
    unsubscribe: () => settled(Promise.resolve(state.watch.close()).then(() => null)),
    party: () => ({ ok: state.call.party.user }),
    restart: () => settled(state.call.restart()),
    /** After a reload: speaks of the one call of the page before. */
    take_up() {
      if (state.seen.length) hold(state.seen[0]);
      return state.seen.length ? { ok: null } : failure({ name: 'no_call', message: 'no call stood' });
    },
    /** After a reload: takes the one call of the page before over. */
    async takeover() {
      const [call] = state.client.calls;
      if (!call) return failure({ name: 'no_call', message: 'no call stands' });
      hold(call);
      return settled(call.takeover({ audio }));
    },
    sign_out: () => ({ ok: state.client.close() ?? null }),
    line: () => ({ ok: { transport: state.client.transport, connection: state.client.connection } }),
    answered: () => settled(within(15_000, 'answered', state.call.answered).then(() => null)),
    ended: ({ ms }) => settled(within(ms ?? 15_000, 'ended', state.call.ended).then(({ reason, code }) => ({ reason, code }))),
    async reaches({ name }) {
      const start = performance.now();
      while (!state.events.some((event) => event.call === state.call.id && event.name === name)) {
        if (performance.now() - start > 15_000) return failure({ name: 'too_late', message: `${name}; ${JSON.stringify(state.events)}` });
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      return { ok: null };
    },
    events: () => ({ ok: state.events }),
    async stats() {
      const { report, ...stats } = await state.call.stats();
      return { ok: { ...stats, state: state.call.state, media: state.call.media } };
    },
    /** Waits for the tone `hz`, else tells what is heard when patience ends. */
    async hear({ hz, ms = 15_000 }) {
      const start = performance.now();
      let heard = null;
      while (performance.now() - start < ms) {
        if (!state.ear && state.call.remoteStream.getTracks().length) state.ear = listen(state.call.remoteStream);
        heard = state.ear?.() ?? null;
        if (heard && heard.purity > 0.7 && heard.db > -40 && Math.abs(heard.hz - hz) < 0.02 * hz) break;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      return { ok: heard };
    },
    /** Waits until what comes is no sound. */
    async silent() {
      const start = performance.now();
      let heard = null;
      while (performance.now() - start < 15_000) {
        if (!state.ear && state.call.remoteStream.getTracks().length) state.ear = listen(state.call.remoteStream);
        heard = state.ear?.() ?? null;
        if (heard && heard.db < -55) return { ok: null };
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      return failure({ name: 'too_late', message: `hears ${JSON.stringify(heard)}` });
    },
    /** Milliseconds from the call of `dial` to the first sound, and to the answer. */
    async dial_to_sound({ to }) {
      const start = performance.now();
      hold(state.client.dial(to, { audio }));
      const { call } = state;
      const answered = call.answered.then(() => performance.now() - start);
      const sound = new Promise((resolve) => call.once('track', () => resolve(first_sound(call.remoteStream))));
      return settled(
        (async () => {
          const [answeredMs, heardAt] = await within(15_000, 'sound', Promise.all([answered, sound]));
          return { answeredMs, soundMs: heardAt - start };
        })(),
      );
    },
    listen,
    audio,
  };
}

/** Two peer connections of one page, one way each: shows that the driver itself hears. */
async function loopback({ hz }) {
  const { rig } = window;
  const stream = await navigator.mediaDevices.getUserMedia({ audio: rig.audio });
  const [one, other] = [new RTCPeerConnection(), new RTCPeerConnection()];
  one.onicecandidate = ({ candidate }) => other.addIceCandidate(candidate ?? undefined);
  other.onicecandidate = ({ candidate }) => one.addIceCandidate(candidate ?? undefined);
  const remoteStream = new MediaStream();
  other.ontrack = ({ track }) => remoteStream.addTrack(track);
  one.addTrack(stream.getAudioTracks()[0], stream);
  await one.setLocalDescription();
  await other.setRemoteDescription(one.localDescription);
  await other.setLocalDescription();
  await one.setRemoteDescription(other.localDescription);
  rig.state.call = { remoteStream };
  return rig.hear({ hz });
}

const commands = {
  async open({ url }) {
    await page.goto(url);
    await page.evaluate(rig);
    return { ok: { browser: server.process().pid } };
  },
  async reload() {
    await page.reload();
    await page.evaluate(rig);
    return { ok: null };
  },
  /** Shut for good: another tab is opened only so that commands have a page. */
  async close_tab() {
    const old = page;
    page = await old.context().newPage();
    hear(page);
    await old.close();
    return { ok: null };
  },
  async choose({ selector, label }) {
    await page.selectOption(selector, { label });
    return { ok: null };
  },
  chosen: ({ selector }) => page.evaluate((selector) => ({ ok: document.querySelector(selector).selectedOptions[0]?.label }), selector),
  /** The label of the device that an audio element plays to. */
  speaker: ({ selector }) =>
    page.evaluate(async (selector) => {
      const { sinkId } = document.querySelector(selector);
      const found = await navigator.mediaDevices.enumerateDevices();
      return { ok: found.find(({ kind, deviceId }) => kind === 'audiooutput' && deviceId === (sinkId || 'default'))?.label ?? '' };
    }, selector),
  /** From now on the user refuses the microphone, or has none. */
  async refuse_microphone({ name }) {
    await page.evaluate((name) => {
      navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('No.', name));
    }, name);
    return { ok: null };
  },
  /** All that the page stores, in the tab and in the browser. */
  stored: () => page.evaluate(() => ({ ok: { session: { ...sessionStorage }, local: { ...localStorage } } })),
  loopback: ({ hz }) => page.evaluate(loopback, { hz }),
  // The softphone page itself, by hand.
  async click({ selector }) {
    await page.click(selector);
    return { ok: null };
  },
  async fill({ selector, text }) {
    await page.fill(selector, text);
    return { ok: null };
  },
  async shows({ selector, text }) {
    await page.locator(selector).filter({ hasText: text, visible: true }).waitFor();
    return { ok: null };
  },
  async meters() {
    await page.waitForFunction(() => ['meter-out', 'meter-in'].every((id) => Number(document.getElementById(id).getAttribute('aria-valuenow')) > 5));
    return { ok: null };
  },
  async look({ scheme, width, height }) {
    const touch = width < 600;
    await look({ colorScheme: scheme, viewport: { width, height }, isMobile: touch, hasTouch: touch });
    return { ok: null };
  },
  async judge_look({ name }) {
    await page.waitForTimeout(300);
    // What lies over everything lies over the part that is in sight.
    const fullPage = !(await page.locator('#incoming').isVisible());
    await page.screenshot({ path: join(folder, name), fullPage });
    return { ok: await page.evaluate(faults, CHIEF) };
  },
  /** Tabs through the page from its top. What of `selector` can be used and was not met, or met too early. */
  async order({ selector }) {
    const count = await page.evaluate((selector) => {
      const wanted = [...document.querySelectorAll(selector)].filter((element) => element.checkVisibility() && !element.disabled);
      window.rig.wanted = wanted;
      document.activeElement?.blur();
      // The starting point of Tab is the top again.
      document.body.tabIndex = -1;
      document.body.focus();
      return wanted.length;
    }, selector);
    const met = [];
    for (let n = 0; n < count + 40 && met.length < count; n++) {
      await page.keyboard.press('Tab');
      const [place, ring] = await page.evaluate(() => {
        const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
        return [window.rig.wanted.indexOf(document.activeElement), outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2];
      });
      if (place >= 0 && !ring) return { ok: [`no ring around number ${place}`] };
      if (place >= 0 && !met.includes(place)) met.push(place);
    }
    const wrong = await page.evaluate((met) => window.rig.wanted.filter((_, n) => met[n] !== n).map((element) => element.id || element.textContent), met);
    return { ok: wrong };
  },
  async focus({ selector }) {
    await page.focus(selector);
    return { ok: null };
  },
  async press({ key }) {
    await page.keyboard.press(key);
    return { ok: null };
  },
  async keyboard({ text }) {
    await page.keyboard.type(text, { delay: 60 });
    return { ok: null };
  },
  plays: ({ selector, hz }) =>
    page.evaluate(
      ([selector, hz]) => {
        window.rig.state.call = { remoteStream: document.querySelector(selector).srcObject };
        // Another stream than last time, maybe.
        window.rig.state.ear = null;
        return window.rig.hear({ hz });
      },
      [selector, hz],
    ),
  complaints: async () => ({ ok: complaints.join('\n') }),
  async screenshot({ name }) {
    await page.screenshot({ path: join(folder, name) });
    return { ok: null };
  },
  async kill() {
    await server.kill();
    return { ok: null };
  },
};

async function obey({ do: verb, ...fields }) {
  if (commands[verb]) return commands[verb](fields);
  return page.evaluate(([verb, fields]) => window.rig[verb](fields), [verb, fields]);
}

process.stdout.write(`${JSON.stringify({ ready: server.process().pid })}\n`);
for await (const line of createInterface({ input: process.stdin })) {
  const { id, ...request } = JSON.parse(line);
  const reply = await obey(request).catch((error) => ({ error: { name: 'driver', code: 0, message: String(error.stack ?? error) } }));
  log.write(`${line} -> ${JSON.stringify(reply)}\n`);
  process.stdout.write(`${JSON.stringify({ id, ...reply })}\n`);
}
await server.kill().catch(() => {});
rmSync(profile, { recursive: true, force: true });
process.exit(0);
