// What the page knows again after a reload (in the tab: sessionStorage) and at the next visit (in the browser:
// localStorage). Never a password; a token stays in its tab.

/** Under this name the SDK keeps what a session is come back to by. */
export const SESSION = 'bridgehead.session';
const CALLS = 'bridgehead.lines';
const TOKEN = 'bridgehead.token';
const NAME = 'bridgehead.name';
const BY_TOKEN = 'bridgehead.by-token';

function read(storage, key) {
  try {
    return globalThis[storage].getItem(key);
  } catch {
    return null;
  }
}

/** Without a value: forgets. */
function write(storage, key, value) {
  try {
    if (value) globalThis[storage].setItem(key, value);
    else globalThis[storage].removeItem(key);
  } catch {
    // Refused: the page forgets at its reload, and nothing else.
  }
}

/** Whether a session was left by a reload. */
export function stays() {
  return read('sessionStorage', SESSION) !== null;
}

/** How this browser signed in last. */
export function lastSignIn() {
  const token = read('sessionStorage', TOKEN) ?? '';
  return { user: read('localStorage', NAME) ?? '', byToken: read('localStorage', BY_TOKEN) !== null, token };
}

export function keepSignIn({ user, token }) {
  write('localStorage', NAME, user);
  write('localStorage', BY_TOKEN, token && 'yes');
  write('sessionStorage', TOKEN, token);
}

/** Signed out: nothing of the session is left in the tab. */
export function forgetSession() {
  for (const key of [SESSION, CALLS, TOKEN]) write('sessionStorage', key, '');
}

/** Of the calls that stand when the page is left, what only the page knows. */
export function keepCalls(calls) {
  write('sessionStorage', CALLS, calls.length ? JSON.stringify({ at: Date.now(), calls }) : '');
}

/** Those calls, once, and when they were left. */
export function leftCalls() {
  const text = read('sessionStorage', CALLS);
  write('sessionStorage', CALLS, '');
  try {
    const { at, calls } = JSON.parse(text);
    return { at, calls: [...calls] };
  } catch {
    return { at: 0, calls: [] };
  }
}
