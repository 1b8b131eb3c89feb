// The keypad: twelve keys, by finger, mouse or keyboard.

const KEYS = [
  ['1', ''], ['2', 'abc'], ['3', 'def'], ['4', 'ghi'], ['5', 'jkl'], ['6', 'mno'],
  ['7', 'pqrs'], ['8', 'tuv'], ['9', 'wxyz'], ['*', ''], ['0', '+'], ['#', ''],
];
const SPOKEN = { '*': 'star', '#': 'hash' };

/** Whether a key of the keyboard is one of the pad. */
export function isDigit(key) {
  return KEYS.some(([digit]) => digit === key);
}

/** Fills `place` with keys. `press(digit)` is called for each; `flash(digit)` shows one that came by keyboard. */
export function pad(place, press) {
  const buttons = new Map();
  for (const [digit, letters] of KEYS) {
    const button = document.createElement('button');
    const [name, hint] = [document.createElement('span'), document.createElement('small')];
    name.textContent = digit;
    hint.textContent = letters;
    button.type = 'button';
    button.setAttribute('aria-label', SPOKEN[digit] ?? digit);
    button.append(name, hint);
    button.onclick = () => press(digit);
    buttons.set(digit, button);
  }
  place.replaceChildren(...buttons.values());
  return {
    flash(digit) {
      const button = buttons.get(digit);
      button?.classList.add('down');
      setTimeout(() => button?.classList.remove('down'), 140);
    },
  };
}
