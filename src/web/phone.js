// The softphone page: one user, any number of calls of which one is on the stage, everything through the SDK.

import { Bridgehead } from '/sdk/bridgehead.js';
import { bridge, ear } from '/bridge.js';
import { devices, microphone, speaker } from '/devices.js';
import { journal } from '/journal.js';
import { isDigit, pad } from '/pad.js';
import { watch } from '/quality.js';
import { tones } from '/tones.js';
import { called, clock, ending, outcome, progress, sounding } from '/words.js';

const $ = (id) => document.getElementById(id);
const span = bridge($('bridge'));
const RETRY_MS = [1000, 2000, 4000, 8000, 15000];
/** Esc hangs up an answered call only if it is pressed again within this. */
const SURE_MS = 3000;
/** Calls at once; more than anybody can follow. */
const MOST = 4;
/** Where a finger is the pointer, a focused field would raise the keyboard over half the page. */
const KEYBOARD = matchMedia('(hover: hover)');

/** @type {Bridgehead | null} */
let client = null;
/** What to sign in with again when the connection breaks off; in memory only. */
let credentials = null;
/**
 * A call and what the page knows of it.
 * @typedef {{call: import('/sdk/bridgehead.js').Call, who: string, number: string, at: number, answeredAt: number,
 *   held: boolean, heldBy: boolean, digits: string, quality: string, level: string, watch: any}} Line
 */
/** @type {Set<Line>} all but the one that rings */
const lines = new Set();
/** @type {Line | null} the call on the stage */
let active = null;
/** @type {Line | null} the call that rings */
let ringing = null;
/** The dial pad is open beside a call. */
let adding = false;
/** The keypad is open in a call. */
let keypad = false;
let demo = { users: [], numbers: [] };
let log = journal('');
let ears = null;
let audioContext = null;
let frame = 0;
let retries = 0;
let retry = 0;
let sure = 0;
const tune = tones(context);
const keys = pad($('pad-keys'), press);

// Sign-in.

async function loadDemo() {
  const reply = await fetch('/v1/demo.json').catch(() => null);
  if (!reply?.ok) return;
  demo = { ...demo, ...(await reply.json().catch(() => ({}))) };
  $('users').replaceChildren(...demo.users.map(({ user, password }) => chip(user, password)));
  $('demo').hidden = demo.users.length === 0;
  if (demo.users[0] && !$('user').value) pick(demo.users[0].user, demo.users[0].password);
}

function chip(user, password) {
  const button = document.createElement('button');
  button.type = 'button';
  button.textContent = user;
  button.onclick = () => pick(user, password);
  return button;
}

function pick(user, password) {
  $('user').value = user;
  $('password').value = password;
  for (const button of $('users').children) button.setAttribute('aria-pressed', String(button.textContent === user));
}

async function signIn(options) {
  client = await Bridgehead.connect(options);
  credentials = options;
  retries = 0;
  client.on('incoming', onIncoming);
  client.on('registered', () => presence());
  client.on('unregistered', (detail) => presence(detail));
  client.on('closed', onClosed);
  document.body.dataset.view = 'phone';
  log = journal(client.user);
  presence();
  stage();
  listLog();
  client.register().catch((error) => client && presence({ reason: error.name, code: error.code }));
}

function signOut() {
  clearTimeout(retry);
  credentials = null;
  const leaving = client;
  client = null;
  leaving?.close();
  panel.close();
  document.body.dataset.view = 'signin';
  $('user').focus();
}

/** The session is over: the connection comes back by itself, anything else needs the user. */
function onClosed({ reason }) {
  client = null;
  if (!credentials) return;
  if (reason !== 'connection_lost' && reason !== 'draining') {
    signOut();
    return notice(...ending({ reason }));
  }
  $('presence').textContent = 'No connection, trying again';
  delete $('presence').dataset.ready;
  stage();
  reconnect();
}

function reconnect() {
  const wait = RETRY_MS[Math.min(retries++, RETRY_MS.length - 1)];
  retry = setTimeout(() => {
    signIn(credentials).then(
      () => notice(''),
      (error) => {
        if (!credentials) return;
        if (error.name === 'connection_lost' || error.name === 'overloaded') return reconnect();
        signOut();
        notice(...ending({ reason: error.name, code: error.code }));
      },
    );
  }, wait);
}

function presence(refusal) {
  const place = $('presence');
  if (!client) return;
  place.toggleAttribute('data-ready', client.registered);
  if (client.registered) place.textContent = `${client.user}, ready`;
  else place.textContent = refusal ? `${client.user}, can call but not be called` : `${client.user}, registering`;
  place.title = refusal ? `${refusal.reason}${refusal.code ? `, SIP ${refusal.code}` : ''}` : '';
}

// People, numbers, and the calls of this session.

function listDirectory() {
  const entries = new Map();
  for (const { user } of demo.users) if (user !== client?.user) entries.set(user, '');
  for (const { number, label } of demo.numbers) entries.set(number, label ?? '');
  $('people').hidden = entries.size === 0;
  $('directory').replaceChildren(...[...entries].map(([number, label]) => entry(number, label)));
}

function listLog() {
  const day = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
  const items = log.entries.map((past) => {
    const item = entry(past.number, `${outcome(past)} · ${day.format(past.at)}`, past.who);
    item.dataset.missed = String(past.direction === 'incoming' && past.reason === 'cancelled');
    return item;
  });
  $('log').replaceChildren(...items);
}

/** A row that calls. */
function entry(number, label, who = number) {
  const item = document.createElement('li');
  const button = document.createElement('button');
  const [name, hint] = [document.createElement('span'), document.createElement('span')];
  name.textContent = who;
  hint.textContent = label;
  button.type = 'button';
  button.disabled = !number || !canDial();
  button.setAttribute('aria-label', `Call ${who}${label ? `, ${label}` : ''}`);
  button.append(name, hint);
  button.onclick = () => dial(number);
  item.append(button);
  return item;
}

// Calls.

function canDial() {
  return Boolean(client) && (!active || (adding && canHold(active)));
}

/** A call that can be put on hold leaves room for another. */
function canHold(line) {
  return line.call.state === 'answered';
}

function line(call, who, number) {
  const fresh = { call, who, number, at: Date.now(), answeredAt: 0, held: false, heldBy: false, digits: '', quality: '', level: '', watch: null };
  call.ended.then((end) => {
    if (ringing === fresh) stopRinging();
    leave(fresh, end);
  });
  call.on('answered', () => {
    fresh.answeredAt = performance.now();
    show();
  });
  for (const name of ['ringing', 'early', 'media', 'track']) call.on(name, show);
  for (const [name, on] of [['held', true], ['resumed', false]]) {
    call.on(name, () => {
      fresh.heldBy = on;
      fresh.watch?.forget();
      show();
    });
  }
  // The SIP server may control this phone too (NOTIFY talk and hold).
  call.on('hold', (on) => {
    fresh.held = on;
    fresh.watch?.forget();
    show();
  });
  call.on('control', (control) => {
    if (control.action !== 'talk' || ringing !== fresh) return;
    control.preventDefault();
    answer();
  });
  return fresh;
}

async function dial(number) {
  if (!canDial() || lines.size >= MOST) return;
  const before = active;
  if (before && !(await hold(before, true))) return;
  // Signed out, or dialled twice, while the far side was told of the hold.
  if (!client || (active && active !== before)) return;
  $('number').value = '';
  take(line(client.dial(number, { audio: microphone() }), number, number));
}

function onIncoming(call) {
  if (ringing || lines.size >= MOST) return void call.reject('busy');
  const who = called(call.from);
  ringing = line(call, who, call.from.user);
  const place = call.from.host ? `${call.from.user}@${call.from.host}` : '';
  const waits = active && (canHold(active) ? `Answering puts ${active.who} on hold.` : `Answering ends the call to ${active.who}.`);
  $('caller').textContent = `${who} calls`;
  $('caller-hint').textContent = waits || place;
  $('answer').textContent = active && canHold(active) ? 'Hold and answer' : 'Answer';
  $('incoming').hidden = false;
  document.body.dataset.ringing = '';
  sound();
  document.title = `${who} calls`;
  // Never from under the fingers of someone who types.
  if (document.activeElement?.tagName !== 'INPUT') $('answer').focus();
}

function stopRinging() {
  ringing = null;
  $('incoming').hidden = true;
  delete document.body.dataset.ringing;
  document.title = 'Bridgehead';
  sound();
}

async function answer() {
  const next = ringing;
  if (!next) return;
  stopRinging();
  const before = active;
  // What can't wait ends; what refuses to be held waits for nobody.
  if (before && !(canHold(before) && (await hold(before, true)))) await before.call.hangup();
  if (next.call.state !== 'incoming') return;
  take(next);
  next.call.answer({ audio: microphone() }).catch(() => {});
}

/** Puts a call onto the stage. */
function take(next) {
  lines.add(next);
  adding = false;
  focus(next);
  $('hangup').focus();
}

function focus(next) {
  active = next;
  keypad = false;
  notice('');
  $('sound').srcObject = next?.call.remoteStream ?? null;
  deafen();
  stage();
  show();
  if (next) listen();
}

/** Holds or resumes; false where the far side will not have it. */
async function hold(one, on) {
  if (one.held === on) return true;
  if (!canHold(one)) return false;
  one.held = on;
  show();
  try {
    await (on ? one.call.hold() : one.call.resume());
  } catch {
    if (one.call.state !== 'answered') return true;
    one.held = !on;
    notice(`${one.who} could not be ${on ? 'put on hold' : 'taken off hold'}.`, 'Try again in a moment.');
  }
  one.watch?.forget();
  show();
  return one.held === on;
}

/** Goes to a call that waits; the one on the stage waits in its stead. */
async function swap(next) {
  const before = active;
  if (before === next) return;
  if (before && !(await hold(before, true))) return;
  if (!lines.has(next)) return;
  adding = false;
  focus(next);
  $('hold').focus();
  await hold(next, false);
}

/** A call is over: off the stage, into the log, and said how it went. */
function leave(gone, end) {
  const { call, who, number, at, answeredAt } = gone;
  const seconds = answeredAt ? Math.floor((performance.now() - answeredAt) / 1000) : 0;
  lines.delete(gone);
  gone.watch?.stop();
  log.add({ who, number, direction: call.direction, at, seconds, reason: end.reason });
  listLog();
  const [what, next] = ending(end, who, call.direction);
  const words = end.reason === 'hangup' && answeredAt ? [`Call ended after ${clock(seconds)}.`] : [what, next];
  if (active !== gone) {
    stage();
    show();
    if (end.reason !== 'declined' || call.direction === 'outgoing') notice(...words);
    return;
  }
  const waiting = [...lines].at(-1) ?? null;
  if (!waiting) adding = false;
  focus(waiting);
  notice(...words);
  if (document.body.dataset.view !== 'phone' || ringing) return;
  if (waiting) $('hold').focus();
  else if (KEYBOARD.matches) $('number').focus();
}

/** What is on the stage, and what beside it. */
function stage() {
  const talking = Boolean(active) && !adding;
  $('call').hidden = !talking;
  $('dial').hidden = talking;
  $('pad').hidden = talking && !keypad;
  $('pad').toggleAttribute('data-incall', talking);
  $('back').hidden = !(active && adding);
  $('here').textContent = active ? 'You' : '';
  $('there').textContent = active?.who ?? '';
  $('peer').textContent = active?.who ?? '';
  if (!active) {
    span.show('idle');
    span.light(0, 0);
  }
  listDirectory();
  listLog();
  listOthers();
}

function listOthers() {
  const others = [...lines].filter((one) => one !== active || adding);
  $('others').hidden = others.length === 0;
  $('others-list').replaceChildren(
    ...others.map((one) => {
      const item = document.createElement('li');
      const [name, words] = [document.createElement('span'), document.createElement('span')];
      const [go, end] = [document.createElement('button'), document.createElement('button')];
      name.textContent = one.who;
      words.textContent = progress(one.call, one) || 'Ended';
      for (const button of [go, end]) {
        button.type = 'button';
        button.className = 'quiet';
      }
      go.textContent = one === active ? 'Back' : 'Swap';
      go.setAttribute('aria-label', one === active ? `Back to ${one.who}` : `Swap to ${one.who}`);
      go.onclick = () => (one === active ? toggleAdding(false) : swap(one));
      end.textContent = 'End';
      end.setAttribute('aria-label', `End the call with ${one.who}`);
      end.onclick = () => one.call.hangup();
      const text = document.createElement('p');
      text.append(name, words);
      item.append(text, go, end);
      return item;
    }),
  );
}

function text(place, words) {
  if (place.textContent !== words) place.textContent = words;
}

function show() {
  sound();
  if (!active) return;
  const { call, held, heldBy } = active;
  const answered = call.state === 'answered';
  text($('state'), progress(call, active));
  $('timer').hidden = !answered;
  if (active.answeredAt) $('timer').textContent = clock(Math.floor((performance.now() - active.answeredAt) / 1000));
  text($('hangup').lastElementChild, answered ? 'Hang up' : 'Cancel');
  if (answered && !active.watch) active.watch = observe(active);
  $('quality').hidden = !answered || held || heldBy || !active.quality;
  text($('quality'), active.quality);
  $('quality').dataset.level = active.level;
  $('mute').setAttribute('aria-pressed', String(call.muted));
  $('hold').setAttribute('aria-pressed', String(held));
  text($('hold').lastElementChild, held ? 'Resume' : 'Hold');
  $('hold').disabled = !canHold(active);
  $('keys').setAttribute('aria-expanded', String(keypad));
  $('keys').disabled = !answered && call.state !== 'early';
  $('add').disabled = !canHold(active) || lines.size >= MOST;
  $('sent').hidden = !keypad || !active.digits;
  text($('digits'), active.digits);
  const open = call.media === 'connected' && !held && !heldBy && (answered || call.state === 'early');
  span.show(!open ? 'calling' : call.muted ? 'muted' : 'open');
}

function observe(one) {
  return watch(one.call, (quality) => {
    if (one.held || one.heldBy) return;
    one.level = quality.level;
    one.quality = sounding(quality, one.who);
    if (one === active) show();
  });
}

function mute() {
  if (!active) return;
  active.call.mute(!active.call.muted);
  show();
}

function toggleKeypad(on = !keypad) {
  keypad = on && Boolean(active);
  stage();
  show();
  (keypad ? $('pad-keys').firstElementChild : $('keys')).focus();
}

function toggleAdding(on) {
  adding = on && Boolean(active);
  keypad = false;
  stage();
  show();
  if (!adding) $('hangup').focus();
  else if (KEYBOARD.matches) $('number').focus();
}

/** A key of the pad: into the number, or into the call. */
function press(digit) {
  tune.key(digit);
  if (!active || adding) {
    $('number').value += digit;
    return;
  }
  if (active.call.state !== 'answered' && active.call.state !== 'early') return;
  active.digits = `${active.digits}${digit}`.slice(-24);
  show();
  active.call.dtmf(digit).catch(() => notice(`${active?.who ?? 'The far side'} did not take the key ${digit}.`, 'Try again.'));
}

/** Takes back the last thing that is open. An answered call ends only at the second time. */
function escape() {
  if (ringing) return ringing.call.reject('declined');
  if (adding) return toggleAdding(false);
  if (keypad) return toggleKeypad(false);
  if (!active) return ($('number').value = '');
  if (active.call.state !== 'answered' || performance.now() < sure) return active.call.hangup();
  sure = performance.now() + SURE_MS;
  notice('Press Esc again to hang up.');
  setTimeout(() => $('notice').textContent === 'Press Esc again to hang up.' && notice(''), SURE_MS);
}

/** Made late: browsers let a page sound only after a click. */
function context() {
  if (!audioContext) {
    audioContext = new AudioContext();
    route(speaker());
  }
  audioContext.resume().catch(() => {});
  return audioContext;
}

/** Our own tones come from the chosen speaker too, where the browser lets a page choose. */
function route(id) {
  audioContext?.setSinkId?.(id).catch(() => {});
}

/** Rings for a call that waits, else gives ringback; silent once there is something to hear. */
function sound() {
  if (ringing && !active) tune.ring();
  else if (ringing) tune.waiting();
  else if (active?.call.state === 'ringing') tune.ringback();
  else tune.hush();
}

function deafen() {
  cancelAnimationFrame(frame);
  ears?.forEach((ear) => ear?.stop());
  ears = null;
}

/** Draws levels for as long as the call is on the stage. */
function listen() {
  const { call } = active;
  let told = 0;
  ears = [null, null];
  const draw = (time) => {
    if (active?.call !== call) return;
    frame = requestAnimationFrame(draw);
    ears[0] ??= call.localStream && ear(context(), call.localStream);
    ears[1] ??= call.remoteStream.getTracks().length ? ear(context(), call.remoteStream) : null;
    const levels = ears.map((ear) => ear?.level() ?? 0);
    const still = active.held || active.heldBy;
    if (still) span.light(0, 0);
    else if (call.state === 'answered' || call.state === 'early') span.light(call.muted ? 0 : levels[0], levels[1]);
    else span.pulse(time);
    if (time - told < 250) return;
    told = time;
    show();
    $('meter-out').setAttribute('aria-valuenow', String(Math.round(levels[0] * 100)));
    $('meter-in').setAttribute('aria-valuenow', String(Math.round(levels[1] * 100)));
  };
  frame = requestAnimationFrame(draw);
}

/** Says what happened, and under it what to do next. */
function notice(what, next = '') {
  const place = $('notice');
  place.hidden = !what;
  place.textContent = what;
  if (!next) return;
  const hint = document.createElement('span');
  hint.textContent = next;
  place.append(hint);
}

// Wiring.

$('signin').onsubmit = async (event) => {
  event.preventDefault();
  const button = event.submitter ?? $('signin').querySelector('[type=submit]');
  button.disabled = true;
  notice('');
  try {
    await signIn({ user: $('user').value.trim(), password: $('password').value });
    if (KEYBOARD.matches) $('number').focus();
  } catch (error) {
    const [what, next] = ending({ reason: error.name, code: error.code });
    if (error.name === 'connection_lost') notice('The gateway does not reply.', 'Check that it is running, then sign in again.');
    else notice(what, next);
  } finally {
    button.disabled = false;
  }
};
$('user').oninput = () => {
  for (const button of $('users').children) button.setAttribute('aria-pressed', 'false');
};
$('dial').onsubmit = (event) => {
  event.preventDefault();
  const number = $('number').value.trim();
  if (number) dial(number);
};
$('signout').onclick = () => {
  signOut();
  notice('');
};
$('mute').onclick = mute;
$('hold').onclick = () => active && hold(active, !active.held);
$('keys').onclick = () => toggleKeypad();
$('add').onclick = () => toggleAdding(true);
$('back').onclick = () => toggleAdding(false);
$('hangup').onclick = () => active?.call.hangup();
$('answer').onclick = answer;
$('decline').onclick = () => ringing?.call.reject('declined');
const panel = devices({
  panel: $('sound-settings'),
  mics: $('microphone'),
  meter: $('microphone-level'),
  hint: $('microphone-hint'),
  speakers: $('speaker'),
  speakerChoice: $('speaker-choice'),
  sound: $('sound'),
  context,
  route,
  calls: () => [...lines].map((one) => one.call),
  changed: () => {
    ears?.[0]?.stop();
    if (ears) ears[0] = null;
  },
});
$('speaker-test').onclick = () => tune.chime();

document.addEventListener('keydown', (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (document.body.dataset.view !== 'phone') return;
  if (event.key === 'Escape') return void escape();
  if (['INPUT', 'SELECT', 'TEXTAREA'].includes(event.target.tagName) || event.repeat) return;
  if (isDigit(event.key)) {
    keys.flash(event.key);
    press(event.key);
    if (!active || adding) $('number').focus();
    event.preventDefault();
  } else if (event.key === 'm') mute();
  else if (event.key === 'h' && active) hold(active, !active.held);
});
// A page that is left hangs up, rather than leaving the far side in silence until the grace is over.
addEventListener('pagehide', () => client?.close());

stage();
loadDemo();
