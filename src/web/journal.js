// The calls of this session: kept in the tab, so that a reload forgets none, and with nobody else.

const MOST = 30;

/** Of one user; `entries` are newest first: `{who, direction, at, seconds, reason}`. */
export function journal(user) {
  const key = `bridgehead.calls.${user}`;
  let entries = [];
  try {
    entries = JSON.parse(sessionStorage.getItem(key) ?? '[]');
  } catch {
    // Not ours, or storage is refused: an empty list is no harm.
  }
  return {
    get entries() {
      return entries;
    },
    add(entry) {
      entries = [entry, ...entries].slice(0, MOST);
      try {
        sessionStorage.setItem(key, JSON.stringify(entries));
      } catch {
        // Full, or refused: the list lives until the reload.
      }
    },
  };
}
