// The HTTP clients of Node.js as senders: `https.request`, as the official package hands it on, and `fetch`.
'use strict';

const { Readable } = require('node:stream');
const https = require('hyco-https');
const { tell, onCommands, payload, digested } = require('./lines');

/** How much is written at once where the length is not told. */
const PIECE = 10_000;

const agent = new https.Agent({ keepAlive: true });

/** Requests whose body is written on command. */
const open = new Map();

function answered(id, answer, body) {
  const { kind, ...digest } = digested('binary', body);
  tell({ id, ...digest, ...answer, event: 'answer' });
}

/** The address of a request and its headers, the package's own token among them. */
function target({ host, path, keyName, key, headers }) {
  const token = https.createRelayToken(https.createRelayHttpsUri(host, path), keyName, key);
  return [https.createRelayHttpsUri(host, path), { ...headers, ServiceBusAuthorization: token }];
}

function begin(command, headers) {
  const { id, method } = command;
  const [url, all] = target({ ...command, headers: { ...command.headers, ...headers } });
  const request = https.request(url, { method, agent, headers: all });
  request.on('response', (response) => {
    const parts = [];
    response.on('data', (part) => {
      parts.push(part);
      if (open.has(id)) tell({ event: 'piece', id, text: part.toString() });
    });
    response.on('end', () => {
      const { statusCode: status, statusMessage: reason, headers } = response;
      answered(id, { status, reason, headers, reused: request.reusedSocket }, Buffer.concat(parts));
    });
    response.on('error', (error) => tell({ event: 'failed', id, error: error.message }));
  });
  request.on('error', (error) => tell({ event: 'failed', id, error: error.message }));
  return request;
}

function* pieces(body) {
  for (let at = 0; at < body.length; at += PIECE) yield body.subarray(at, at + PIECE);
}

onCommands({
  request({ size, chunked, ...command }) {
    if (size === undefined) return begin(command, {}).end();
    const body = payload({ size });
    if (!chunked) return begin(command, { 'Content-Length': size }).end(body);
    const request = begin(command, { 'Transfer-Encoding': 'chunked' });
    Readable.from(pieces(body)).pipe(request);
  },

  // A request whose body is written by `write` and ended by `end`.
  begin(command) {
    const request = begin(command, { 'Transfer-Encoding': 'chunked' });
    open.set(command.id, request);
    request.flushHeaders();
  },

  write({ id, text }) {
    open.get(id).write(text);
  },

  end({ id }) {
    open.get(id).end();
  },

  async fetch({ id, method, size, chunked, ...command }) {
    const [url, headers] = target(command);
    const whole = payload({ size });
    const body = chunked ? ReadableStream.from(pieces(whole)) : whole;
    try {
      const response = await fetch(url, { method, headers, body, duplex: 'half' });
      const answer = { status: response.status, headers: Object.fromEntries(response.headers) };
      answered(id, answer, await response.arrayBuffer());
    } catch (error) {
      tell({ event: 'failed', id, error: `${error}: ${error.cause}` });
    }
  },
});
