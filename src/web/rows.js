// Rows of the page's lists: who can be called, and which calls wait.

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

function button(text, label, press) {
  const made = element('button', text);
  made.type = 'button';
  made.setAttribute('aria-label', label);
  made.onclick = press;
  return made;
}

/** Somebody to call, where that is `on`. */
export function callable({ who, label, on, call }) {
  const item = document.createElement('li');
  const press = button('', `Call ${who}${label ? `, ${label}` : ''}`, call);
  press.disabled = !on;
  press.append(element('span', who), element('span', label));
  item.append(press);
  return item;
}

/** A call beside the one on the stage, or, while another one is dialled, `here`. */
export function waiting({ who, words, here, go, end }) {
  const item = document.createElement('li');
  const text = document.createElement('p');
  text.append(element('span', who), element('span', words));
  const buttons = [
    button(here ? 'Back' : 'Swap', here ? `Back to ${who}` : `Swap to ${who}`, go),
    button('End', `End the call with ${who}`, end),
  ];
  for (const made of buttons) made.className = 'quiet';
  item.append(text, ...buttons);
  return item;
}
