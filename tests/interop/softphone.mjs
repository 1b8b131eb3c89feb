// JsSIP and SIP.js as they come from npm, in one Chromium, driven by JSON lines like browser.mjs. Arguments: a sound file
// for the microphone, a folder for logs.
import { createWriteStream, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { chromium } from 'playwright-core';

const [microphone, folder] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
const log = createWriteStream(join(folder, 'softphone.log'));
const here = dirname(fileURLToPath(import.meta.url));
const bundle = await build({ entryPoints: [join(here, 'softphone-page.mjs')], bundle: true, write: false, format: 'iife', logLevel: 'error' });
const script = bundle.outputFiles[0].text;

const site = createServer((request, answer) => {
  const page = request.url === '/';
  answer.writeHead(200, { 'content-type': page ? 'text/html' : 'text/javascript' });
  answer.end(page ? '<!doctype html><meta charset="utf-8"><title>phone</title><script src="/phone.js"></script>' : script);
});
await new Promise((resolve) => site.listen(0, '127.0.0.1', resolve));

const profile = mkdtempSync(join(tmpdir(), 'bridgehead-softphone-'));
const server = await chromium.launchServer({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  headless: true,
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--disable-default-apps', '--autoplay-policy=no-user-gesture-required',
    '--use-fake-ui-for-media-stream', '--use-fake-device-for-media-stream', `--use-file-for-fake-audio-capture=${microphone}`,
    `--disk-cache-dir=${profile}`,
  ],
});
const browser = await chromium.connect(server.wsEndpoint());
const context = await browser.newContext({ permissions: ['microphone'], ignoreHTTPSErrors: true });
const page = await context.newPage();
page.on('console', (message) => log.write(`[${message.type()}] ${message.text()}\n`));
page.on('pageerror', (error) => log.write(`[uncaught] ${error.stack}\n`));
page.on('websocket', (socket) => {
  socket.on('framesent', ({ payload }) => log.write(`> ${payload}\n`));
  socket.on('framereceived', ({ payload }) => log.write(`< ${payload}\n`));
  socket.on('close', () => log.write('websocket closed\n'));
});
await page.goto(`http://127.0.0.1:${site.address().port}/`);

process.stdout.write(`${JSON.stringify({ ready: server.process().pid })}\n`);
for await (const line of createInterface({ input: process.stdin })) {
  const { id, do: what, ...options } = JSON.parse(line);
  log.write(`# ${line}\n`);
  const reply = await page
    .evaluate(([what, options]) => window.phone[what](options), [what, options])
    .then((ok) => ({ ok: ok ?? null }), (error) => ({ error: { name: 'failed', message: error.message } }));
  log.write(`= ${JSON.stringify(reply)}\n`);
  process.stdout.write(`${JSON.stringify({ id, ...reply })}\n`);
}
await browser.close();
await server.close();
site.close();
rmSync(profile, { recursive: true, force: true });
