// What the programs in this folder have in common: lines of JSON, payloads, queues. See ../README.md.
'use strict';

const { createHash } = require('node:crypto');
const fs = require('node:fs');
const { createRequire } = require('node:module');
const path = require('node:path');
const readline = require('node:readline');

/** Loads one of the packages of the interoperability tests. */
const official = createRequire(path.join(__dirname, '../../interop/node/package.json'));

/** An outcome that is told as an error and not as a fault of this program. */
class Failure extends Error {
  constructor(fields) {
    super(JSON.stringify(fields));
    this.fields = fields;
  }
}

function tell(line) {
  process.stdout.write(JSON.stringify(line) + '\n');
}

/** Carries commands out: `operations[command.op]` returns the answer, or a promise of it. */
function serve(language, lacks, operations) {
  const underWay = new Map();
  const answer = (id, outcome) => {
    if (underWay.delete(id)) tell({ id, ...outcome });
  };
  const begin = async (command) => {
    underWay.set(command.id, command);
    try {
      const operation = operations[command.op];
      if (!operation) throw new Error(`there is no operation ${command.op}`);
      answer(command.id, { ok: (await operation(command)) ?? {} });
    } catch (error) {
      const said = error instanceof Failure ? { error: error.fields } : { fault: String(error.stack) };
      answer(command.id, said);
    }
  };
  readline.createInterface({ input: process.stdin }).on('line', (line) => {
    const command = JSON.parse(line);
    if (command.op === 'exit') process.exit(command.code ?? 0);
    begin(command);
  }).on('close', () => process.exit(0));
  tell({ hello: { protocol: 1, language, lacks } });
}

/** Things that come and are waited for, in order; at the end, what the end is. */
class Queue {
  items = [];
  waiting = [];

  put(item) {
    const next = this.waiting.shift();
    if (next) next(item);
    else this.items.push(item);
  }

  /** From here on everybody gets this. */
  end(item) {
    this.last ??= item;
    for (const next of this.waiting.splice(0)) next(this.last);
  }

  take() {
    if (this.items.length > 0) return Promise.resolve(this.items.shift());
    if (this.last !== undefined) return Promise.resolve(this.last);
    return new Promise((resolve) => this.waiting.push(resolve));
  }
}

/** The payload that a command speaks of: the same in every language. */
function payload({ kind, size = 0, seed = 0, base64 }) {
  if (base64 !== undefined) {
    const bytes = Buffer.from(base64, 'base64');
    return kind === 'text' ? bytes.toString() : bytes;
  }
  if (kind === 'text') {
    const letter = String.fromCharCode(97 + ((23 + seed) % 26));
    return 'aé漢🌍'.repeat(Math.floor(size / 10)) + letter.repeat(size % 10); // 1, 2, 3 and 4 bytes
  }
  return Buffer.alloc(size, Uint8Array.from({ length: 251 }, (_, index) => (index + seed) % 251));
}

/** What a payload was. */
function digested(kind, data) {
  const bytes = Buffer.from(data);
  return { kind, size: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') };
}

/** The parts of a connection string. */
function target({ target: { connectionString, token } }) {
  const parts = new Map(connectionString.split(';').map((part) => {
    const at = part.indexOf('=');
    return [part.slice(0, at), part.slice(at + 1)];
  }));
  return {
    host: new URL(parts.get('Endpoint').replace('sb://', 'https://')).host,
    entity: parts.get('EntityPath'),
    keyName: parts.get('SharedAccessKeyName'),
    key: parts.get('SharedAccessKey'),
    token,
  };
}

/** The token to show, made by the package where there is a key. */
function tokenOf(relay, { token, key, keyName, host, entity }) {
  if (token) return token;
  return key ? relay.createRelayToken(`wss://${host}/$hc/${entity}`, keyName, key) : undefined;
}

/** What every program can tell of itself. */
function counters(objects) {
  return {
    rssKib: Math.round(process.memoryUsage().rss / 1024),
    descriptors: fs.readdirSync('/proc/self/fd').length,
    objects: objects.size,
  };
}

/** Makes a token for a case of `tests/vectors/sas.json`. */
function vector(relay, { vector: { audience, keyName, key, expiresAt } }) {
  const seconds = expiresAt - Math.floor(Date.now() / 1000);
  return { token: relay.createRelayToken(audience, keyName, key, seconds) };
}

/** Lets objects go, by `on` or by what their names begin with. */
function release(objects, { on, prefix }, letGo) {
  for (const [name, object] of objects) {
    if (name !== on && !(prefix !== undefined && name.startsWith(prefix))) continue;
    objects.delete(name);
    letGo(object);
  }
}

module.exports = { official, Failure, serve, Queue, payload, digested, target, tokenOf, counters, vector, release };
