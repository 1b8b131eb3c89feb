// The softphone page: one user, any number of calls of which one is on the stage, everything through the SDK.

import { Bridgehead } from '/sdk/bridgehead.js';
import { bridge, ear } from '/bridge.js';
import { devices, microphone, speaker } from '/devices.js';
import { journal } from '/journal.js';
import { SESSION, forgetSession, keepCalls, keepSignIn, lastSignIn, leftCalls, stays } from '/memory.js';
import { isDigit, pad } from '/pad.js';
import { callable, waiting } from '/rows.js';
import { tones } from '/tones.js';
import { called, clock, ending, outcome, progress, refusal, sounding } from '/words.js';

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
/** What to sign in with again when the session is over; a password is in memory only. */
let credentials = null;
/**
 * A call and what the page knows of it.
 * @typedef {{call: import('/sdk/bridgehead.js').Call, who: string, number: string, at: number, answeredAt: number,
 *   held: boolean, heldBy: boolean, digits: string, quality: string, level: string}} Line
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
let byToken = false;
/** Counted, so that a sign-in under way notices. */
let signOuts = 0;
const tune = tones(context);
const keys = pad($('pad-keys'), press);

// Sign-in.

async function loadDemo() {
  const reply = await fetch('/v1/demo.json').catch(() => null);
  if (!reply?.ok) return;
  demo = { ...demo, ...(await reply.json().catch(() => ({}))) };
  $('users').replaceChildren(...demo.users.map(({ user, password }) => chip(user, password)));
  $('demo').hidden = byToken || demo.users.length === 0;
  const last = demo.users.find(({ user }) => user === $('user').value) ?? (!$('user').value && demo.users[0]);
  if (last) pick(last.user, last.password);
  listDirectory();
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

/** By token, or by name and password. */
function signInBy(token) {
  byToken = token;
  $('demo').hidden = token || demo.users.length === 0;
  $('by-name').hidden = token;
  $('by-token').hidden = !token;
  for (const id of ['user', 'password']) $(id).disabled = token;
  $('token').disabled = !token;
  $('way').textContent = token ? 'Sign in with name and password' : 'Sign in with a token';
}

async function signIn(options) {
  const before = signOuts;
  const fresh = await Bridgehead.connect({ ...options, resume: SESSION });
  // Signed out while it was coming back: the session ends, too.
  if (before !== signOuts) return fresh.close();
  client = fresh;
  credentials = options;
  retries = 0;
  keepSignIn({ user: client.user, token: options.token });
  client.on('incoming', onIncoming);
  client.on('registered', () => presence());
  client.on('unregistered', (detail) => presence(detail));
  client.on('connection', (state) => {
    presence();
    stage();
    if (state === 'reconnecting') notice('The connection to the gateway is lost.', 'It is tried again without your doing. A call may go on meanwhile.');
    if (state === 'connected') notice('');
  });
  client.on('closed', onClosed);
  document.body.dataset.view = 'phone';
  log = journal(client.user);
  presence();
  restore();
  stage();
  client.register().catch((error) => client && presence({ reason: error.name, code: error.code }));
}

/** The calls of the page before: those that stand are taken over, those that ended meanwhile are in the log. */
function restore() {
  const { at, calls } = leftCalls();
  const left = new Map(calls.map((past) => [past.id, past]));
  let front = null;
  for (const call of client.calls) {
    const party = call.direction === 'incoming' ? called(call.from) : call.to;
    const past = left.get(call.id) ?? { who: party, number: party, at: Date.now(), answeredAt: call.state === 'answered' ? Date.now() : 0 };
    left.delete(call.id);
    // It rings again by itself.
    if (call.state === 'incoming') continue;
    const one = Object.assign(line(call, past.who, past.number), past, { held: call.onHold, heldBy: call.held });
    // Given up, as it was not answered yet: its end comes, and goes into the log.
    if (call.state !== 'answered') continue;
    lines.add(one);
    call.mute(Boolean(past.muted));
    if (!front || past.front) front = one;
  }
  for (const past of left.values()) {
    const seconds = past.answeredAt ? Math.max(0, Math.floor((at - past.answeredAt) / 1000)) : 0;
    log.add({ ...past, seconds, reason: past.answeredAt ? 'hangup' : 'cancelled' });
  }
  // The one that is talked in first.
  for (const one of [front, ...lines]) if (one && !one.call.connection) one.call.takeover({ audio: microphone() });
  if (front) focus(front);
  const missed = [...left.values()].filter((past) => past.answeredAt);
  if (missed.length) notice(`The call with ${missed[0].who} ended while this page was away.`);
}

/** What only this page knows of its calls. */
function remember() {
  const standing = [...lines, ringing].filter(Boolean);
  keepCalls(
    standing.map((one) => {
      const { who, number, at, answeredAt, digits, quality, level, call } = one;
      return { id: call.id, direction: call.direction, muted: call.muted, front: one === active, who, number, at, answeredAt, digits, quality, level };
    }),
  );
}

function signOut() {
  clearTimeout(retry);
  signOuts++;
  credentials = null;
  const leaving = client;
  client = null;
  leaving?.close();
  forgetSession();
  panel.close();
  document.body.dataset.view = 'signin';
  stage();
  $(byToken ? 'token' : 'user').focus();
}

/** The session is over, and does not come back by itself. */
function onClosed({ reason }) {
  client = null;
  if (!credentials) return;
  if (reason === 'draining' && (credentials.user || credentials.token)) return reconnect();
  signOut();
  notice(...ending({ reason: reason === 'connection_lost' ? 'unknown_session' : reason }));
}

function reconnect() {
  presence();
  stage();
  const wait = RETRY_MS[Math.min(retries++, RETRY_MS.length - 1)];
  retry = setTimeout(comeBack, wait);
}

/** Back to the session, or into a new one. */
function comeBack() {
  return signIn(credentials).catch((error) => {
    if (!credentials) return;
    if (error.name === 'connection_lost' || error.name === 'overloaded') return reconnect();
    const { token } = credentials;
    signOut();
    notice(...(token ? refusal(error, true) : ending({ reason: error.name, code: error.code })));
  });
}

function presence(failure) {
  const place = $('presence');
  const away = client?.connection !== 'connected';
  place.toggleAttribute('data-ready', !away && client.registered);
  place.title = failure ? `${failure.reason}${failure.code ? `, SIP ${failure.code}` : ''}` : '';
  if (away) place.textContent = 'No connection, trying again';
  else if (client.registered) place.textContent = `${client.user}, ready`;
  else place.textContent = failure ? `${client.user}, can call but not be called` : `${client.user}, registering`;
}

// People, numbers, and the calls of this session.

function listDirectory() {
  const entries = new Map();
  for (const { user } of demo.users) if (user !== client?.user) entries.set(user, '');
  for (const { number, label } of demo.numbers) entries.set(number, label ?? '');
  // In a call nobody can be called: what can be done then is nearer.
  $('people').hidden = entries.size === 0 || Boolean(active && !adding);
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
  return callable({ who, label, on: Boolean(number) && canDial(), call: () => dial(number) });
}

// Calls.

function canDial() {
  return client?.connection === 'connected' && (!active || (adding && canHold(active)));
}

/** A call that can be put on hold leaves room for another. */
function canHold(line) {
  return line.call.state === 'answered';
}

function line(call, who, number) {
  const fresh = { call, who, number, at: Date.now(), answeredAt: 0, held: false, heldBy: false, digits: '', quality: '', level: '' };
  call.ended.then((end) => {
    if (ringing === fresh) stopRinging();
    leave(fresh, end);
  });
  call.on('answered', () => {
    fresh.answeredAt = Date.now();
    show();
  });
  call.on('quality', (quality) => {
    fresh.level = quality.oneWay ? 'poor' : quality.level;
    fresh.quality = sounding(quality);
    show();
  });
  for (const name of ['ringing', 'early', 'media', 'track']) call.on(name, show);
  for (const [name, on] of [['held', true], ['resumed', false]]) {
    call.on(name, () => {
      fresh.heldBy = on;
      show();
    });
  }
  // The SIP server may control this phone too (NOTIFY talk and hold).
  call.on('hold', (on) => {
    fresh.held = on;
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
  hear(next?.call.remoteStream ?? null);
  deafen();
  stage();
  show();
  if (next) listen();
}

/** After a reload a browser may want a click before a page may sound. */
function hear(stream) {
  $('sound').srcObject = stream;
  if (!stream) return;
  $('sound').play().catch(({ name }) => {
    if (name !== 'NotAllowedError' || $('sound').srcObject !== stream) return;
    notice('Click anywhere, or press a key, to hear the call.');
    const wake = () => {
      for (const event of ['click', 'keydown']) removeEventListener(event, wake);
      $('sound').play().then(() => notice(''), () => {});
    };
    for (const event of ['click', 'keydown']) addEventListener(event, wake);
  });
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

function secondsOf({ answeredAt }) {
  return answeredAt ? Math.max(0, Math.floor((Date.now() - answeredAt) / 1000)) : 0;
}

/** A call is over: off the stage, into the log, and said how it went. */
function leave(gone, end) {
  const { call, who, number, at, answeredAt } = gone;
  const seconds = secondsOf(gone);
  lines.delete(gone);
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
  $('dial').querySelector('[type=submit]').disabled = client?.connection !== 'connected';
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
      const here = one === active;
      const go = () => (here ? toggleAdding(false) : swap(one));
      return waiting({ who: one.who, words: progress(one.call, one) || 'Ended', here, go, end: () => one.call.hangup() });
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
  text($('timer'), clock(secondsOf(active)));
  text($('hangup').lastElementChild, answered ? 'Hang up' : 'Cancel');
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
  forgetSession();
  try {
    await signIn(byToken ? { token: $('token').value.trim() } : { user: $('user').value.trim(), password: $('password').value });
    $('token').value = '';
    if (KEYBOARD.matches) $('number').focus();
  } catch (error) {
    notice(...refusal(error, byToken));
  } finally {
    button.disabled = false;
  }
};
$('way').onclick = () => {
  signInBy(!byToken);
  notice('');
  $(byToken ? 'token' : 'user').focus();
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
  // A button in focus does what it says; a number that is being written is called.
  if (event.key === 'Enter' && ringing && !['BUTTON', 'SUMMARY', 'SELECT'].includes(event.target.tagName) && !$('number').value) {
    event.preventDefault();
    return void answer();
  }
  if (['INPUT', 'SELECT', 'TEXTAREA'].includes(event.target.tagName) || event.repeat) return;
  if (isDigit(event.key)) {
    keys.flash(event.key);
    press(event.key);
    if (!active || adding) $('number').focus();
    event.preventDefault();
  } else if (event.key === 'm') mute();
  else if (event.key === 'h' && active) hold(active, !active.held);
});
// A page that is loaded anew goes on with its calls; for one that never comes back the gateway ends them.
// Left again before it was back, it keeps what the page before it left.
addEventListener('pagehide', () => client && remember());

const last = lastSignIn();
$('user').value = last.user;
signInBy(last.byToken);
stage();
loadDemo();
if (stays()) {
  credentials = last.token ? { token: last.token } : {};
  document.body.dataset.view = 'phone';
  $('presence').textContent = 'Coming back';
  panel.listed.then(comeBack);
}
