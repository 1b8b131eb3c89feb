// The softphone page: one user, one call at a time, everything through the SDK.

import { Bridgehead } from '/sdk/bridgehead.js';
import { bridge, ear } from '/bridge.js';
import { tones } from '/tones.js';
import { called, clock, ending, progress } from '/words.js';

const $ = (id) => document.getElementById(id);
const span = bridge($('bridge'));
const RETRY_MS = [1000, 2000, 4000, 8000, 15000];

/** @type {Bridgehead | null} */
let client = null;
/** What to sign in with again when the connection breaks off; in memory only. */
let credentials = null;
/** @type {import('/sdk/bridgehead.js').Call | null} the call on the stage */
let call = null;
/** @type {import('/sdk/bridgehead.js').Call | null} the call that rings */
let ringing = null;
let demo = { users: [], numbers: [] };
let answeredAt = 0;
let ears = null;
let audioContext = null;
let frame = 0;
let retries = 0;
let retry = 0;
const recent = [];
const tune = tones(context);

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
  presence();
  listDirectory();
  client.register().catch((error) => client && presence({ reason: error.name, code: error.code }));
}

function signOut() {
  clearTimeout(retry);
  credentials = null;
  const leaving = client;
  client = null;
  leaving?.close();
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
  listDirectory();
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

// Directory.

function listDirectory() {
  const entries = new Map();
  for (const { number, label } of demo.numbers) entries.set(number, label ?? '');
  for (const { user } of demo.users) if (user !== client?.user) entries.set(user, '');
  for (const number of recent) if (!entries.has(number)) entries.set(number, '');
  $('directory').replaceChildren(...[...entries].map(([number, label]) => entry(number, label)));
}

function entry(number, label) {
  const item = document.createElement('li');
  const button = document.createElement('button');
  const [name, hint] = [document.createElement('span'), document.createElement('span')];
  name.textContent = number;
  hint.textContent = label;
  button.type = 'button';
  button.disabled = Boolean(call) || !client;
  button.setAttribute('aria-label', `Call ${number}${label ? `, ${label}` : ''}`);
  button.append(name, hint);
  button.onclick = () => dial(number);
  item.append(button);
  return item;
}

// Calls.

function dial(number) {
  if (!client || call) return;
  if (!recent.includes(number)) recent.unshift(number);
  take(client.dial(number), number);
}

function onIncoming(incoming) {
  if (ringing) return void incoming.reject('busy');
  ringing = incoming;
  const who = called(incoming.from);
  $('caller').textContent = `${who} calls`;
  $('caller-hint').textContent = call ? 'Answering ends the call you are in.' : incoming.from.host ? `${incoming.from.user}@${incoming.from.host}` : '';
  $('incoming').hidden = false;
  sound();
  document.title = `${who} calls`;
  // Never from under the fingers of someone who types.
  if (document.activeElement?.tagName !== 'INPUT') $('answer').focus();
  incoming.ended.then((end) => {
    if (ringing !== incoming) return;
    stopRinging();
    if (end.reason !== 'declined') notice(...ending(end, who, 'incoming'));
  });
}

function stopRinging() {
  ringing = null;
  $('incoming').hidden = true;
  document.title = 'Bridgehead';
  sound();
}

async function answer() {
  const incoming = ringing;
  if (!incoming) return;
  stopRinging();
  if (call) await call.hangup();
  take(incoming, called(incoming.from));
  incoming.answer().catch(() => {});
}

/** Puts a call onto the stage. */
function take(next, who) {
  call = next;
  answeredAt = 0;
  notice('');
  $('peer').textContent = $('there').textContent = who;
  $('sound').srcObject = next.remoteStream;
  $('mute').setAttribute('aria-pressed', 'false');
  for (const name of ['ringing', 'early', 'media', 'track']) next.on(name, show);
  next.on('answered', () => {
    answeredAt = performance.now();
    show();
  });
  next.ended.then((end) => call === next && leave(end, who));
  stage();
  show();
  listen();
  $('hangup').focus();
}

/** Takes the call off the stage and says how it went. */
function leave(end, who) {
  const seconds = answeredAt ? Math.floor((performance.now() - answeredAt) / 1000) : 0;
  const [what, next] = ending(end, who, call.direction);
  call = null;
  sound();
  ears?.forEach((ear) => ear?.stop());
  ears = null;
  cancelAnimationFrame(frame);
  $('sound').srcObject = null;
  $('there').textContent = '';
  stage();
  notice(end.reason === 'hangup' && answeredAt ? `Call ended after ${clock(seconds)}.` : what, next);
  if (document.body.dataset.view === 'phone' && !ringing) $('number').focus();
}

function stage() {
  $('dial').hidden = Boolean(call);
  $('call').hidden = !call;
  $('here').textContent = call ? 'You' : '';
  if (!call) {
    span.show('idle');
    span.light(0, 0);
  }
  listDirectory();
}

function show() {
  sound();
  if (!call) return;
  const words = progress(call);
  if ($('state').textContent !== words) $('state').textContent = words;
  $('timer').hidden = call.state !== 'answered';
  if (answeredAt) $('timer').textContent = clock(Math.floor((performance.now() - answeredAt) / 1000));
  $('hangup').lastElementChild.textContent = call.state === 'answered' ? 'Hang up' : 'Cancel';
  const open = call.media === 'connected' && (call.state === 'answered' || call.state === 'early');
  span.show(!open ? 'calling' : call.muted ? 'muted' : 'open');
}

function mute() {
  if (!call) return;
  call.mute(!call.muted);
  $('mute').setAttribute('aria-pressed', String(call.muted));
  show();
}

/** Made late: browsers let a page sound only after a click. */
function context() {
  audioContext ??= new AudioContext();
  audioContext.resume().catch(() => {});
  return audioContext;
}

/** Rings for a call that waits, else gives ringback; silent once there is something to hear. */
function sound() {
  if (ringing && !call) tune.ring();
  else if (call?.state === 'ringing') tune.ringback();
  else tune.hush();
}

/** Draws levels for as long as the call is on the stage. */
function listen() {
  const current = call;
  let told = 0;
  ears = [null, null];
  const draw = (time) => {
    if (call !== current) return;
    frame = requestAnimationFrame(draw);
    ears[0] ??= current.localStream && ear(context(), current.localStream);
    ears[1] ??= current.remoteStream.getTracks().length ? ear(context(), current.remoteStream) : null;
    const levels = ears.map((ear) => ear?.level() ?? 0);
    if (current.state === 'answered' || current.state === 'early') span.light(current.muted ? 0 : levels[0], levels[1]);
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
    $('number').focus();
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
$('hangup').onclick = () => call?.hangup();
$('answer').onclick = answer;
$('decline').onclick = () => ringing?.reject('declined');
document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === 'INPUT') return;
  if (event.key === 'm' && call) mute();
});
// A page that is left hangs up, rather than leaving the far side in silence until the grace is over.
addEventListener('pagehide', () => client?.close());

span.show('idle');
loadDemo();
