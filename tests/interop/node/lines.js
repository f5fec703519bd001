// How the tests drive a program: commands come in and events go out as lines of JSON.
'use strict';

const { createHash } = require('node:crypto');
const readline = require('node:readline');

/** Tells the tests what happened. */
function tell(event) {
  process.stdout.write(JSON.stringify(event) + '\n');
}

/** Calls `handlers[command.do]` for each command, until standard input ends. */
function onCommands(handlers, atEnd = () => {}) {
  const lines = readline.createInterface({ input: process.stdin });
  lines.on('line', (line) => {
    const command = JSON.parse(line);
    handlers[command.do](command);
  });
  lines.on('close', async () => {
    await atEnd();
    process.exit(0);
  });
  tell({ event: 'ready' });
}

/** The message that a `send` command asks for: the same in every language. */
function payload({ kind, size, text }) {
  if (text !== undefined) return text;
  if (kind === 'text') {
    const unit = 'aé漢🌍'; // 1, 2, 3 and 4 bytes
    return unit.repeat(Math.floor(size / 10)) + 'x'.repeat(size % 10);
  }
  return Buffer.alloc(size, Uint8Array.from({ length: 251 }, (_, index) => index));
}

/** What a message was, for comparison. */
function digested(kind, data) {
  const bytes = Buffer.from(data);
  return { event: 'message', kind, size: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') };
}

module.exports = { tell, onCommands, payload, digested };
