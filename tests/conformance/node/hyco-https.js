// The official package for HTTP, unmodified, as its documentation uses it.
'use strict';

const testee = require('./testee');
const { Failure, Queue } = testee;

const https = testee.official('hyco-https');

const LACKS = {
  'accept': 'its function that accepts senders throws',
  'connect': 'it has no client for streams',
  'cancel': 'nothing that it waits for can be cancelled',
  'error-kinds': 'its errors have a text and no kind',
  'events': 'it knows no events',
  'final-failure': 'it tries again for ever',
  'http-back-pressure': 'it takes in whatever comes',
  'http-gone': 'it is not told that a sender has gone',
  'http-stream': 'it holds an answer back until it is over, or longer than 64 KiB',
  'incoming': 'it shows the path with the name of the hybrid connection',
  'live-handles': 'its objects are collected',
  'max-concurrent': 'it hands over whatever comes',
  'one-way': 'it does not tell such requests from others',
  'presence': 'it does not ask for it',
  'proxy': 'it knows no proxies',
  'reject': 'it has no streams',
  'set-token': 'a token that was given as a text stays as it is',
  'status': 'it does not tell one state from the other',
  'vector-without-path': 'it makes no token for a whole namespace without a slash behind it',
  'flat-memory': 'its memory is the business of others',
  'fork': 'a process of Node.js does not fork',
};

const objects = new Map();

/** Reads a stream in pieces of wanted sizes. */
class Reader {
  constructor(stream) {
    this.stream = stream;
    this.pieces = new Queue();
    this.left = Buffer.alloc(0);
    // Without this the stream flows before anybody reads.
    stream.pause();
    stream.on('end', () => this.pieces.end({ end: true }));
    stream.on('error', (error) => this.pieces.end(new Failure({ message: String(error) })));
    stream.on('aborted', () => this.pieces.end(new Failure({ message: 'aborted' })));
  }

  async read(wanted = Infinity) {
    if (!this.flowing) {
      this.flowing = true;
      this.stream.on('data', (piece) => this.pieces.put(Buffer.from(piece)));
      this.stream.resume();
    }
    const parts = [];
    let size = 0;
    while (size < wanted) {
      const piece = this.left.length > 0 ? this.left : await this.pieces.take();
      this.left = Buffer.alloc(0);
      if (piece instanceof Failure) throw piece;
      if (piece.end) return { ...testee.digested('binary', Buffer.concat(parts)), end: true };
      const taken = piece.subarray(0, wanted - size);
      this.left = piece.subarray(taken.length);
      parts.push(taken);
      size += taken.length;
    }
    return { ...testee.digested('binary', Buffer.concat(parts)), end: false };
  }
}

testee.serve('hyco-https', LACKS, {
  open(command) {
    const to = testee.target(command);
    return new Promise((resolve, reject) => {
      const server = https.createRelayedServer({
        server: `wss://${to.host}/$hc/${to.entity}?sb-hc-action=listen`,
        token: to.key ? () => testee.tokenOf(https, to) : (to.token ?? 'none'),
      });
      const requests = new Queue();
      let online = false;
      server.on('request', (request, response) => requests.put({ request, response, body: new Reader(request) }));
      server.on('listening', () => {
        online = true;
        objects.set(command.as, { server, requests });
        resolve({});
      });
      server.on('error', (error) => {
        if (online) return;
        // It would try again for ever.
        server.closeRequested = true;
        const status = Number(/(\d{3})$/.exec(error.message)?.[1]) || null;
        reject(new Failure({ status, message: String(error.message) }));
      });
      server.on('close', () => requests.end({ end: true }));
      server.listen();
    });
  },

  async accept({ on, as }) {
    const next = await objects.get(on).requests.take();
    if (next.end) return next;
    objects.set(as, next);
    const { method, headers } = next.request;
    const lower = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
    return { kind: 'request', method, headers: lower, oneWay: false };
  },

  receive: ({ on, whole, size }) => objects.get(on).body.read(whole ? Infinity : size),

  async respond({ on, status = 200, reason, headers = {}, stream, echo, ...message }) {
    const { response, body, request } = objects.get(on);
    response.statusCode = status;
    if (reason !== undefined) response.statusMessage = reason;
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    if (stream) return {};
    if (echo) {
      request.on('data', (piece) => response.write(Buffer.from(piece)));
      request.resume();
      await new Promise((resolve) => request.on('end', resolve));
      return void response.end();
    }
    const data = testee.payload(message);
    // Of an empty buffer the package sends nothing, not even the head.
    if (data.length > 0) response.end(data);
    else response.end();
  },

  send({ on, ...message }) {
    objects.get(on).response.write(testee.payload(message));
  },

  close({ on }) {
    const { server, response, requests } = objects.get(on);
    if (response) return void response.end();
    server.close();
    return requests.take().then(() => ({}));
  },

  request(command) {
    const to = testee.target(command);
    const { method = 'GET', path = '', query, as } = command;
    const url = https.createRelayHttpsUri(to.host, `${to.entity}${path}${query ? `?${query}` : ''}`);
    const token = testee.tokenOf(https, to);
    const headers = { ...command.headers, ...(token && { ServiceBusAuthorization: token }) };
    const hasBody = command.size !== undefined || command.base64 !== undefined;
    return new Promise((resolve, reject) => {
      const request = https.request(url, { method, headers }, (response) => {
        const { statusCode: status, statusMessage: reason, headers } = response;
        const body = new Reader(response);
        if (as !== undefined) {
          objects.set(as, { body, outgoing: request });
          resolve({ status, reason, headers });
        } else {
          body.read().then((digest) => resolve({ status, reason, headers, ...digest }), reject);
        }
      });
      request.on('error', (error) => reject(new Failure({ message: String(error) })));
      if (hasBody) request.end(testee.payload(command));
      else request.end();
    });
  },

  abort({ on }) {
    objects.get(on).outgoing.destroy();
  },

  counters: () => testee.counters(objects),
  vector: (command) => testee.vector(https, command),
  release: (command) => testee.release(objects, command, ({ server, outgoing }) => {
    outgoing?.destroy();
    // It throws where no channel is open.
    if (server) try { server.close(); } catch {}
  }),
});
