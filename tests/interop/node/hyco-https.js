// The official package for HTTP, unmodified, as its documentation uses it: a listener that sends back what it gets.
'use strict';

const https = require('hyco-https');
const { tell, onCommands, digested } = require('./lines');

/** How much is written at once where the answer comes in pieces. */
const PIECE = 10_000;

function answer(request, response, body) {
  const wanted = new URL(request.url, 'https://relay').searchParams;
  const { kind, ...digest } = digested('binary', body);
  tell({ ...digest, event: 'request', method: request.method, url: request.url, headers: request.headers });
  response.statusCode = Number(wanted.get('status') ?? 200);
  if (wanted.has('reason')) response.statusMessage = wanted.get('reason');
  response.setHeader('Content-Type', 'application/octet-stream');
  // Of an empty buffer the package sends nothing, not even the head.
  if (!wanted.has('pieces')) return body.length > 0 ? response.end(body) : response.end();
  let at = 0;
  const next = () => {
    if (at >= body.length) return response.end();
    response.write(body.subarray(at, (at += PIECE)));
    setImmediate(next);
  };
  next();
}

onCommands({
  listen({ url, keyName, key }) {
    const options = { server: url, token: () => https.createRelayToken(url, keyName, key) };
    const server = https.createRelayedServer(options, (request, response) => {
      const parts = [];
      request.on('data', (part) => parts.push(Buffer.from(part)));
      request.on('end', () => answer(request, response, Buffer.concat(parts)));
    });
    server.on('listening', () => tell({ event: 'listening' }));
    server.on('error', (error) => process.stderr.write(`listener: ${error.message}\n`));
    server.listen();
  },
});
