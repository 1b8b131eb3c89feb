// How a call sounds, from the browser's own counts: what is lost, how unevenly it comes, how long it takes.

const EVERY_MS = 2000;
const WORST = ['good', 'fair', 'poor', 'silent'];

/** The level of one stretch of a call, and what spoils it. */
export function judge({ received, lost, jitterMs, roundTripMs }) {
  if (received === 0) return { level: 'silent', why: '' };
  const share = lost / (received + lost);
  if (share > 0.05) return { level: 'poor', why: 'loss' };
  if (jitterMs > 80) return { level: 'poor', why: 'jitter' };
  if (roundTripMs > 800) return { level: 'poor', why: 'delay' };
  if (share > 0.015) return { level: 'fair', why: 'loss' };
  if (jitterMs > 40) return { level: 'fair', why: 'jitter' };
  if (roundTripMs > 400) return { level: 'fair', why: 'delay' };
  return { level: 'good', why: '' };
}

async function count(connection) {
  const all = [...(await connection.getStats()).values()];
  const find = (type) => all.find((entry) => entry.type === type && (entry.kind ?? 'audio') === 'audio') ?? {};
  const pair = all.find((entry) => entry.type === 'candidate-pair' && entry.nominated && entry.state === 'succeeded') ?? {};
  const received = find('inbound-rtp');
  return {
    received: received.packetsReceived ?? 0,
    lost: received.packetsLost ?? 0,
    jitterMs: 1000 * (received.jitter ?? 0),
    roundTripMs: 1000 * (find('remote-inbound-rtp').roundTripTime ?? pair.currentRoundTripTime ?? 0),
  };
}

/** Tells `{level, why}` of an answered call every two seconds, until `stop()`. */
export function watch(call, tell) {
  let last = null;
  /** What the gateway says: it knows the other direction too. */
  let told = null;
  const off = call.on('quality', ({ level, oneWay }) => {
    told = oneWay ? { level: 'one_way', why: '' } : { level, why: '' };
  });
  const timer = setInterval(async () => {
    if (!call.connection || call.state !== 'answered') return;
    const now = await count(call.connection).catch(() => null);
    if (!now || call.state !== 'answered') return;
    const before = last;
    last = now;
    if (!before) return;
    const own = judge({ ...now, received: now.received - before.received, lost: Math.max(0, now.lost - before.lost) });
    if (own.level !== 'silent' && told?.level === 'one_way') return tell(told);
    tell(told && WORST.indexOf(told.level) > WORST.indexOf(own.level) ? told : own);
  }, EVERY_MS);
  return {
    /** What was counted says nothing of what comes now: the call was held. */
    forget() {
      last = null;
    },
    stop() {
      clearInterval(timer);
      off();
    },
  };
}
