// The panel of microphones: whatever it opens is closed again.
import assert from 'node:assert/strict';
import { register } from 'node:module';
import { beforeEach, test } from 'node:test';
import { FakeStream, FakeTrack, settle } from './fakes.mjs';

// The page's modules name one another as the gateway serves them.
const served = `const root = ${JSON.stringify(new URL('../../src/web', import.meta.url).href)};
export const resolve = (name, context, next) => next(name.startsWith('/') ? root + name : name, context);`;
register(`data:text/javascript,${encodeURIComponent(served)}`);
globalThis.matchMedia = () => ({ matches: true });
const { devices } = await import('../../src/web/devices.js');

const opened = [];
let list;

beforeEach(() => {
  opened.length = 0;
  list = async () => [];
  const getUserMedia = async () => {
    opened.push(new FakeTrack());
    return new FakeStream([opened.at(-1)]);
  };
  const put = (name, value) => Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  put('navigator', { mediaDevices: { getUserMedia, enumerateDevices: () => list() } });
  put('Option', class {});
  put('cancelAnimationFrame', () => {});
});

function panelOf(calls = []) {
  const element = () => ({ style: { setProperty() {} }, setAttribute() {}, replaceChildren() {} });
  const panel = Object.assign(new EventTarget(), { open: false });
  const mics = element();
  devices({
    panel, mics, meter: element(), hint: element(), speakers: element(), speakerChoice: element(), sound: {},
    context: () => assert.fail('nothing is to be listened to'), route() {}, calls: () => calls, changed() {},
  });
  return { panel, mics };
}

test('a microphone that comes when its call is over is closed', async () => {
  const old = new FakeTrack();
  const sender = {
    track: old,
    async replaceTrack() {
      throw new Error('closed');
    },
  };
  const { mics } = panelOf([{ connection: { getSenders: () => [sender] }, localStream: new FakeStream([old]), state: 'ended' }]);
  await settle();
  await mics.onchange();
  assert.deepEqual(opened.map((track) => track.readyState), ['ended']);
});

test('a panel that is closed while it looks for devices listens to none', async () => {
  const { panel } = panelOf();
  await settle();
  let found;
  list = () => new Promise((resolve) => (found = resolve));
  panel.open = true;
  panel.dispatchEvent(new Event('toggle'));
  await settle();
  panel.open = false;
  panel.dispatchEvent(new Event('toggle'));
  found([]);
  // What went wrong unseen would fail this test.
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(opened.map((track) => track.readyState), ['ended']);
});
