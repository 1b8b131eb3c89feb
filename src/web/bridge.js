// The bridge on the stage: a level meter. Your sound lights its hangers from the left tower, theirs from the right.

const SVG = 'http://www.w3.org/2000/svg';
const WIDTH = 600;
const HEIGHT = 150;
const DECK = 128;
const TOWERS = [84, 516];
const TOP = 16;
const SAG = 98;
const HANGERS = 36;
/** Speech sits between about -50 and -6 dBFS. */
const FLOOR_DB = -54;
const CEILING_DB = -8;
const STILL = matchMedia('(prefers-reduced-motion: reduce)');

function shape(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

/** The main cable's height at `x`: a parabola between the towers' tops. */
function cable(x) {
  const [left, right] = TOWERS;
  const t = (2 * (x - left)) / (right - left) - 1;
  return TOP + SAG * (1 - t * t);
}

/** Draws the bridge into `place`; `show` sets its state, `light` the two levels (0 to 1). */
export function bridge(place) {
  const svg = shape('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}` });
  const [left, right] = TOWERS;
  const middle = (left + right) / 2;
  svg.append(
    shape('path', { class: 'wire', d: `M2 ${DECK} L${left} ${TOP} Q${middle} ${TOP + 2 * SAG} ${right} ${TOP} L${WIDTH - 2} ${DECK}` }),
    shape('path', { class: 'deck', d: `M2 ${DECK} H${WIDTH - 2}` }),
  );
  const hangers = [];
  for (let n = 1; n <= HANGERS; n++) {
    const x = left + ((right - left) * n) / (HANGERS + 1);
    const hanger = shape('path', { class: 'hanger', d: `M${x.toFixed(1)} ${(cable(x) + 3).toFixed(1)} V${DECK - 4}` });
    hangers.push(hanger);
    svg.append(hanger);
  }
  svg.append(
    shape('path', { class: 'tower near', d: `M${left} ${TOP - 4} V${HEIGHT - 4}` }),
    shape('path', { class: 'tower', d: `M${right} ${TOP - 4} V${HEIGHT - 4}` }),
  );
  place.replaceChildren(svg);

  const half = HANGERS / 2;
  const light = (out, back, pulse = -1) => {
    hangers.forEach((hanger, n) => {
      const lit = n < half ? n < Math.round(out * half) : HANGERS - 1 - n < Math.round(back * half);
      hanger.classList.toggle('lit', lit || n === pulse);
    });
  };
  return {
    /** @param {'idle' | 'calling' | 'open' | 'muted'} state */
    show(state) {
      place.dataset.state = state;
    },
    light,
    /** While it rings one hanger after another lights up, on the way to the far tower. */
    pulse(time) {
      light(0, 0, STILL.matches ? -1 : Math.floor(time / 45) % (HANGERS + 14));
    },
  };
}

/** Listens to a stream; `level()` is 0 to 1, `stop()` lets go. */
export function ear(context, stream) {
  const source = context.createMediaStreamSource(stream);
  const analyser = context.createAnalyser();
  analyser.fftSize = 1024;
  source.connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  let shown = 0;
  return {
    level() {
      analyser.getFloatTimeDomainData(samples);
      const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
      const db = 10 * Math.log10(power + 1e-12);
      const level = Math.min(1, Math.max(0, (db - FLOOR_DB) / (CEILING_DB - FLOOR_DB)));
      // Up at once, down slowly: the eye follows peaks.
      shown = Math.max(level, shown - 0.035);
      return shown;
    },
    stop() {
      source.disconnect();
    },
  };
}
