// Which microphone and which speaker, remembered in this browser, and a meter that shows whether the microphone hears.

import { ear } from '/bridge.js';

const CHOICE = { microphone: 'bridgehead.microphone', speaker: 'bridgehead.speaker' };

function remembered(name) {
  try {
    return localStorage.getItem(CHOICE[name]) ?? '';
  } catch {
    return '';
  }
}

function remember(name, id) {
  try {
    localStorage.setItem(CHOICE[name], id);
  } catch {
    // Refused: the choice holds until the page is left.
  }
}

/** The microphones that are there, as far as the browser tells. */
let there = new Set();

/**
 * What the SDK opens: the chosen microphone, or the system's own. A device that is gone is no error; one that is there
 * has to be asked for as the only one, or Chromium may take another.
 */
export function microphone() {
  const exact = remembered('microphone');
  return there.has(exact) ? { deviceId: { exact } } : true;
}

/** The chosen speaker; empty for the system's own. */
export function speaker() {
  return remembered('speaker');
}

/** Sends another microphone in a call that has one already. */
async function replace(call) {
  const sender = call.connection?.getSenders().find((sender) => sender.track?.kind === 'audio');
  if (!sender || !call.localStream) return;
  const stream = await navigator.mediaDevices.getUserMedia({ audio: microphone() });
  const [track] = stream.getAudioTracks();
  const old = sender.track;
  track.enabled = old.enabled;
  try {
    await sender.replaceTrack(track);
  } catch (error) {
    // The call ended while the microphone was being opened: the light must not stay on.
    track.stop();
    throw error;
  }
  if (call.state === 'ended') return track.stop();
  call.localStream.removeTrack(old);
  call.localStream.addTrack(track);
  old.stop();
}

/**
 * Wires the panel. `calls()` are those that go on; `changed()` is told when a microphone was exchanged, `route(id)` when
 * another speaker was chosen.
 */
export function devices({ panel, mics, meter, hint, speakers, speakerChoice, sound, context, route, calls, changed }) {
  let test = null;
  let frame = 0;
  let listening = null;
  const canSpeak = typeof sound.setSinkId === 'function';
  speakerChoice.hidden = !canSpeak;

  function fill(select, kind, found, chosen, word) {
    const own = found.filter((device) => device.kind === kind && device.deviceId && device.deviceId !== 'default');
    const options = [new Option('System default', ''), ...own.map((device, n) => new Option(device.label || `${word} ${n + 1}`, device.deviceId))];
    select.replaceChildren(...options);
    select.value = own.some((device) => device.deviceId === chosen) ? chosen : '';
  }

  async function list() {
    const found = (await navigator.mediaDevices?.enumerateDevices?.().catch(() => [])) ?? [];
    there = new Set(found.filter(({ kind, deviceId }) => kind === 'audioinput' && deviceId).map(({ deviceId }) => deviceId));
    fill(mics, 'audioinput', found, remembered('microphone'), 'Microphone');
    fill(speakers, 'audiooutput', found, remembered('speaker'), 'Speaker');
  }

  function show(level) {
    meter.style.setProperty('--level', level.toFixed(2));
    meter.setAttribute('aria-valuenow', String(Math.round(level * 100)));
  }

  function close() {
    cancelAnimationFrame(frame);
    listening?.stop();
    listening = null;
    for (const track of test?.getTracks() ?? []) track.stop();
    test = null;
    show(0);
  }

  /** The meter runs while the panel is open, and only then is the microphone. */
  async function open() {
    close();
    hint.textContent = '';
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: microphone() });
      if (!panel.open || test) return stream.getTracks().forEach((track) => track.stop());
      test = stream;
    } catch (error) {
      hint.textContent = !window.isSecureContext
        ? 'Open this page by https or from localhost: browsers give the microphone to no other.'
        : error?.name === 'NotAllowedError'
          ? 'Allow the microphone beside the address, then open this again.'
          : 'No microphone was found. Connect one, then open this again.';
      return;
    }
    await list();
    // Closed meanwhile, or opened anew.
    if (test !== stream) return;
    speak();
    listening = ear(context(), test);
    const begun = performance.now();
    let loudest = 0;
    const draw = (time) => {
      frame = requestAnimationFrame(draw);
      const level = listening.level();
      loudest = Math.max(loudest, level);
      show(level);
      const words = loudest > 0.15 ? 'Your microphone is heard.' : time - begun > 2500 ? 'Nothing is heard. Say something, or choose another microphone.' : 'Say something.';
      if (hint.textContent !== words) hint.textContent = words;
    };
    frame = requestAnimationFrame(draw);
  }

  async function speak() {
    if (!canSpeak) return;
    const id = remembered('speaker');
    // One that is gone, or not allowed yet: the system's own goes on.
    await sound.setSinkId(id).catch(() => {});
    route(id);
  }

  panel.addEventListener('toggle', () => (panel.open ? open() : close()));
  mics.onchange = async () => {
    remember('microphone', mics.value);
    await Promise.all(calls().map((call) => replace(call).catch(() => {})));
    changed();
    if (panel.open) open();
  };
  speakers.onchange = () => {
    remember('speaker', speakers.value);
    speak();
  };
  navigator.mediaDevices?.addEventListener?.('devicechange', () => {
    list();
    // A microphone that was pulled out in a call: another one takes its place.
    const silent = calls().filter((call) => call.localStream?.getAudioTracks().every((track) => track.readyState === 'ended'));
    Promise.all(silent.map((call) => replace(call).catch(() => {}))).then(changed);
  });
  const listed = list();
  speak();
  return { close: () => (panel.open = false), listed };
}
