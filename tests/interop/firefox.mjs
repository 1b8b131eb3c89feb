// One Firefox by WebDriver BiDi, driven by JSON lines as `browser.mjs` is. Its fake microphone hears 1000 Hz.
//
// Without a sound device its AudioContext stands still: what comes is recorded, and the recording decoded.
import { mkdirSync, mkdtempSync, rmSync, createWriteStream } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import puppeteer from 'puppeteer-core';

const [folder] = process.argv.slice(2);
const PATIENCE = 20_000;
mkdirSync(folder, { recursive: true });
const log = createWriteStream(join(folder, 'browser.log'));
const profile = mkdtempSync(join(tmpdir(), 'bridgehead-firefox-'));

// It starts slowly on a busy machine: who waits is told that it still does.
const starting = setInterval(() => process.stdout.write('starting\n'), 5_000);
const browser = await puppeteer.launch({
  timeout: 90_000,
  browser: 'firefox',
  executablePath: process.env.FIREFOX ?? '/usr/bin/firefox-esr',
  headless: true,
  userDataDir: profile,
  args: ['--no-remote'],
  extraPrefsFirefox: {
    'media.navigator.streams.fake': true,
    'media.navigator.permission.disabled': true,
    'media.autoplay.default': 0,
    'media.autoplay.blocking_policy': 0,
    'app.update.enabled': false,
    'datareporting.policy.dataSubmissionEnabled': false,
    'network.captive-portal-service.enabled': false,
    'network.connectivity-service.enabled': false,
  },
});
const page = await browser.newPage();
clearInterval(starting);
page.setDefaultTimeout(PATIENCE);
page.on('console', (message) => log.write(`[${message.type()}] ${message.text()}\n`));
page.on('pageerror', (error) => log.write(`[uncaught] ${error.stack ?? error}\n`));

/** Runs in the page. */
function rig() {
  const within = (ms, what, promise) =>
    Promise.race([promise, new Promise((_, reject) => setTimeout(() => reject({ name: 'too_late', message: what }), ms))]);
  const settled = (promise) =>
    promise.then(
      (ok) => ({ ok: ok ?? null }),
      ({ name, code, message }) => ({ error: { name, code: code ?? 0, message } }),
    );
  const state = { client: null, call: null };

  /** Prefers one codec in each offer of this page; all of them again where there is none. */
  const offered = RTCPeerConnection.prototype.setLocalDescription;
  RTCPeerConnection.prototype.setLocalDescription = function (description) {
    const { codec } = window.rig;
    if (codec) {
      const { codecs } = RTCRtpReceiver.getCapabilities('audio');
      const wanted = codecs.filter(({ mimeType }) => [`audio/${codec}`, 'audio/telephone-event'].includes(mimeType));
      for (const transceiver of this.getTransceivers()) transceiver.setCodecPreferences(wanted);
    }
    return offered.call(this, description);
  };

  window.rig = {
    codec: null,
    async sign_in({ user, password, register }) {
      const { Bridgehead } = await import('/sdk/bridgehead.js');
      return settled(
        (async () => {
          state.client = await Bridgehead.connect({ user, password });
          if (register) await within(15_000, 'registered', state.client.register());
        })(),
      );
    },
    dial({ to, codec }) {
      window.rig.codec = codec ?? null;
      state.call = state.client.dial(to);
      const sound = document.createElement('audio');
      sound.srcObject = state.call.remoteStream;
      sound.play().catch(() => {});
      return { ok: null };
    },
    answered: () => settled(within(15_000, 'answered', state.call.answered).then(() => null)),
    hangup: () => settled(state.call.hangup()),
    ended: () => settled(within(15_000, 'ended', state.call.ended).then(({ reason, code }) => ({ reason, code }))),
    async codec_in_use() {
      return { ok: (await state.call.stats()).codec };
    },
    /** Records what comes, and reads the recording. */
    async record({ ms = 1500 }) {
      const recorder = new MediaRecorder(state.call.remoteStream);
      const parts = [];
      recorder.ondataavailable = ({ data }) => parts.push(data);
      const stopped = new Promise((resolve) => (recorder.onstop = resolve));
      recorder.start();
      await new Promise((resolve) => setTimeout(resolve, ms));
      recorder.stop();
      await stopped;
      const bytes = await new Blob(parts, { type: recorder.mimeType }).arrayBuffer();
      const sound = await new OfflineAudioContext(1, 48_000, 48_000).decodeAudioData(bytes);
      return { ok: { rate: sound.sampleRate, samples: [...sound.getChannelData(0).slice(-24_000)] } };
    },
  };
}

const commands = {
  async open({ url }) {
    await page.goto(url);
    await page.evaluate(rig);
    return { ok: null };
  },
};

async function obey({ do: verb, ...fields }) {
  if (commands[verb]) return commands[verb](fields);
  return page.evaluate((verb, fields) => window.rig[verb](fields), verb, fields);
}

process.stdout.write(`${JSON.stringify({ ready: browser.process().pid })}\n`);
for await (const line of createInterface({ input: process.stdin })) {
  const { id, ...request } = JSON.parse(line);
  const reply = await obey(request).catch((error) => ({ error: { name: 'driver', code: 0, message: String(error.stack ?? error) } }));
  log.write(`${line} -> ${JSON.stringify(reply).slice(0, 400)}\n`);
  process.stdout.write(`${JSON.stringify({ id, ...reply })}\n`);
}
await browser.close().catch(() => {});
rmSync(profile, { recursive: true, force: true });
process.exit(0);
