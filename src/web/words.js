// What happened, in plain words, and what to do next.

/** What the stage says while a call is on. `held`: by us; `heldBy`: by the far side. */
export function progress(call, { held = false, heldBy = false, who = '' } = {}) {
  if (call.state === 'answered' && held) return 'On hold';
  if (call.state === 'answered' && heldBy) return `${who} has put you on hold`;
  switch (call.state) {
    case 'dialling':
      return call.localStream ? 'Calling' : 'Allow the microphone to go on';
    case 'ringing':
      return 'Ringing';
    case 'early':
      return 'Not answered yet, but you can listen';
    case 'answering':
      return call.localStream ? 'Answering' : 'Allow the microphone to go on';
    case 'answered':
      // Without a microphone: of a page before, whose call is being taken over.
      if (call.media === 'new' && !call.localStream) return 'Allow the microphone to go on';
      return { new: 'Answered, waiting for sound', connected: call.muted ? 'In call, you are muted' : 'In call', interrupted: 'Sound interrupted, finding a new way' }[call.media];
    default:
      return '';
  }
}

/** How a call sounds, and what would help. */
export function sounding({ level, oneWay }) {
  if (oneWay) return 'One of you is not heard. Check both microphones; if it stays so, hang up and call again.';
  switch (level) {
    case 'good':
      return 'Sound is good';
    case 'fair':
      return 'Sound is fair. Parts of it get lost on the way.';
    case 'poor':
      return 'Sound is poor. Parts of it get lost on the way. A cable, or a place nearer to the Wi-Fi, helps.';
    default:
      return '';
  }
}

/** One line of the call log. */
export function outcome({ direction, reason, seconds }) {
  const way = direction === 'incoming' ? 'Incoming' : 'Outgoing';
  if (seconds > 0 || reason === 'hangup') return `${way}, ${clock(seconds)}`;
  if (direction === 'incoming') return { declined: 'Declined', answered_elsewhere: 'Answered elsewhere' }[reason] ?? 'Missed';
  return { cancelled: 'Cancelled', busy: 'Busy', declined: 'Was declined', no_answer: 'No answer', not_found: 'Not found' }[reason] ?? 'Failed';
}

/** Each name of an end or error: what happened to `who`, and what to do next. */
const ENDS = {
  hangup: () => ['Call ended.', ''],
  answered_elsewhere: () => ['Answered on another of your devices.', ''],
  busy: (who) => [`${who} is busy.`, 'Try again in a few minutes.'],
  declined: (who) => [`${who} declined the call.`, ''],
  no_answer: (who) => [`${who} did not answer.`, 'Try again later.'],
  not_found: (who) => [`There is no ${who} here.`, 'Check the name or number.'],
  unreachable: () => ['The telephone server does not reply.', 'Check that it is running and that its address is right, then call again.'],
  forbidden: () => ['The telephone server refused the call.', 'Check the SIP user and password of this account in the gateway’s configuration.'],
  not_acceptable: () => ['The two sides have no audio format in common.', 'Allow PCMU, PCMA, G.722 or Opus on the far side.'],
  overloaded: () => ['All lines are taken.', 'Try again in a moment.'],
  too_many: () => ['That is one call too many.', 'Hang up another call first.'],
  not_registered: () => ['The telephone server has not accepted this user yet.', 'Wait until you are ready to take calls, or sign in again.'],
  loop: () => ['The call went in circles.', 'Check the routes between the gateway and the telephone server.'],
  media_lost: () => ['The sound did not get through.', 'A firewall may block UDP to the gateway. Try another network.'],
  expired: () => ['The far side lost the call.', 'Call again.'],
  rejected: () => ['The telephone server did not accept the call.', 'Its log says why.'],
  connection_lost: () => ['The connection to the gateway broke off.', ''],
  unauthorized: () => ['Name or password is wrong.', 'Check both and sign in again.'],
  unknown_session: () => ['You were signed out meanwhile.', 'Sign in again.'],
  version: () => ['This page and the gateway speak different versions.', 'Reload the page.'],
  microphone_denied: () => ['This page may not use the microphone.', 'Allow it beside the address, then call again.'],
  microphone_unavailable: () =>
    globalThis.isSecureContext === false
      ? ['This page may not use the microphone.', 'Browsers allow it by https and from localhost only: open the page so.']
      : ['No microphone was found.', 'Connect one, close programs that use it, then call again.'],
  replaced: () => ['You signed in somewhere else.', 'Sign in again to take calls here.'],
  draining: () => ['The gateway is shutting down.', 'Sign in again in a minute.'],
};

/** What is wrong with a token. */
const TOKENS = {
  expired: ['The token has expired.', 'Get a new one.'],
  not_yet: ['The token is not valid yet.', 'Check the clocks of its issuer and of the gateway.'],
  audience: ['The token is meant for another service.', 'Its “aud” is not the audience that the gateway is configured with.'],
  issuer: ['The token comes from another issuer.', 'Its “iss” is not the issuer that the gateway is configured with.'],
};

/** Why a sign-in was refused. */
export function refusal({ name, reason }, byToken) {
  if (name === 'connection_lost') return ['The gateway does not reply.', 'Check that it is running, then sign in again.'];
  if (name !== 'unauthorized' || !byToken) return ending({ reason: name });
  return TOKENS[reason] ?? ['The token is not accepted.', 'Check that it is whole, and signed with the key that the gateway knows.'];
}

/** Two sentences: what happened, and what to do next (may be empty). */
export function ending({ reason, code = 0 }, who = 'The other side', direction = 'outgoing') {
  if (reason === 'cancelled') return direction === 'incoming' ? [`You missed a call from ${who}.`, ''] : ['Call cancelled.', ''];
  const [what, next] = (ENDS[reason] ?? (() => ['The call failed.', 'Try again; the gateway’s log says more.']))(who);
  return [what, code >= 300 && next ? `${next} (SIP ${code})` : next];
}

/** How a party is called on screen. */
export function called({ display, user, host }) {
  return display || user || host || 'Unknown caller';
}

export function clock(seconds) {
  const two = (n) => String(n).padStart(2, '0');
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes}:${two(seconds % 60)}` : `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(seconds % 60)}`;
}
