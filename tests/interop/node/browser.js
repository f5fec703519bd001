// Opens browser/page.html in Chromium, from its file or from the server that is named, and passes commands to it and its events on.
'use strict';

const path = require('node:path');
const { pathToFileURL } = require('node:url');
const { chromium } = require('playwright-core');
const { tell, onCommands } = require('./lines');

const file = pathToFileURL(path.join(__dirname, '..', 'browser', 'page.html')).href;
const [, , executablePath, address = file] = process.argv;
const quiet = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-dev-shm-usage',
];

async function main() {
  const browser = await chromium.launch({ executablePath, args: quiet });
  const page = await browser.newPage();
  page.on('pageerror', (error) => process.stderr.write(`page: ${error}\n`));
  await page.exposeFunction('tell', tell);
  await page.goto(address);

  // One after the other: evaluations that overlap need not keep their order.
  let done = Promise.resolve();
  const pass = (command) => {
    done = done.then(() => page.evaluate((given) => commands[given.do](given), command));
  };
  const handlers = { connect: pass, receive: pass, send: pass, close: pass, fetch: pass };
  onCommands(handlers, async () => {
    await done;
    await browser.close();
  });
}

main();
