// The official package for streams, unmodified, as its documentation uses it.
'use strict';

const testee = require('./testee');
const { Failure, Queue } = testee;

const WebSocket = testee.official('hyco-ws');

const LACKS = {
  'abort': 'what comes of an abort it reports as a close with code 1006, or not at all',
  'bytes': 'it has messages only',
  'cancel': 'nothing that it waits for can be cancelled',
  'back-pressure': 'it takes in whatever comes',
  'error-kinds': 'its errors have a text and no kind',
  'events': 'it knows no events',
  'final-failure': 'it tries again for ever',
  'half-close': 'it answers a close at once',
  'http-listen': 'it knows no HTTP',
  'http-send': 'it knows no HTTP',
  'incoming': 'it does not show what a sender asks for',
  'plain': 'its documentation knows TLS only',
  'live-handles': 'its objects are collected',
  'one-way': 'it knows no HTTP',
  'presence': 'it does not ask for it',
  'proxy': 'it knows no proxies',
  'reject': 'it accepts every sender; its function that refuses throws',
  'wait': 'it tries again for ever',
  'set-token': 'a token that was given as a text stays as it is',
  'status': 'it does not tell one state from the other',
  'vector-without-path': 'it makes no token for a whole namespace without a slash behind it',
  'flat-memory': 'its memory is the business of others',
  'fork': 'a process of Node.js does not fork',
};

const objects = new Map();

function url(command, { host, entity }, action) {
  const query = command.query ? `${command.query}&` : '';
  return `wss://${host}/$hc/${entity}${command.path ?? ''}?${query}sb-hc-action=${action}`;
}

/** What comes on a socket, in order. */
function follow(socket) {
  const connection = { socket, messages: new Queue(), closed: new Queue() };
  socket.on('message', (data, flags) => connection.messages.put({ data, kind: flags.binary ? 'binary' : 'text' }));
  const end = (code, reason) => {
    const lost = code === 1006 || code === undefined;
    const told = lost ? new Failure({ closeCode: code ?? 1006 }) : { end: true, closeCode: code, closeReason: reason };
    connection.messages.end(told);
    connection.closed.end(told);
  };
  socket.on('close', end);
  socket.on('error', () => end());
  return connection;
}

/** A failure among what came is one of the command. */
async function next(queue) {
  const item = await queue.take();
  if (item instanceof Failure) throw item;
  return item;
}

function send(socket, data, options) {
  return new Promise((resolve, reject) => {
    socket.send(data, options, (error) => (error ? reject(new Failure({ message: String(error) })) : resolve()));
  });
}

/** Sends a message that is cut into so many frames. */
function sendInPieces(socket, bytes, pieces, binary) {
  let piece = 0;
  return new Promise((resolve, reject) => {
    socket.stream({ binary }, (error, next) => {
      if (error) return reject(new Failure({ message: String(error) }));
      const [from, to] = [piece, piece + 1].map((at) => Math.floor((bytes.length * at) / pieces));
      piece += 1;
      next(bytes.subarray(from, to), piece === pieces);
      if (piece === pieces) resolve();
    });
  });
}

const statusOf = (error) => Number(/\((\d{3})\)/.exec(error.message ?? error)?.[1]) || null;

testee.serve('hyco-ws', LACKS, {
  open(command) {
    const to = testee.target(command);
    const chosen = command.options?.subprotocols;
    const choose = (offered, done) => {
      const name = chosen.find((name) => offered.includes(name));
      done(name !== undefined, name);
    };
    return new Promise((resolve, reject) => {
      const accepted = new Queue();
      const server = WebSocket.createRelayedServer(
        {
          server: url(command, to, 'listen'),
          token: to.key ? () => testee.tokenOf(WebSocket, to) : (to.token ?? 'none'),
          handleProtocols: chosen ? choose : null,
        },
        (socket) => {
          // The package shows the socket before it is open.
          const connection = follow(socket);
          socket.on('open', () => accepted.put(connection));
        },
      );
      let online = false;
      server.on('listening', () => {
        online = true;
        objects.set(command.as, { server, accepted });
        resolve({});
      });
      server.on('error', (error) => {
        if (online) return;
        // It would try again for ever.
        server.closeRequested = true;
        reject(new Failure({ status: statusOf(error), message: String(error.message ?? error) }));
      });
      server.on('close', () => accepted.end({ end: true }));
    });
  },

  async accept({ on, as }) {
    const connection = await objects.get(on).accepted.take();
    if (connection.end) return connection;
    objects.set(as, connection);
    return { kind: 'connect', subprotocol: connection.socket.protocol || null };
  },

  connect(command) {
    const to = testee.target(command);
    const token = testee.tokenOf(WebSocket, to);
    const headers = { ...command.headers, ...(token && { ServiceBusAuthorization: token }) };
    const protocols = command.subprotocols?.length > 0 ? command.subprotocols : null;
    return new Promise((resolve, reject) => {
      const socket = new WebSocket(url(command, to, 'connect'), protocols, { headers });
      const connection = follow(socket);
      socket.on('open', () => {
        objects.set(command.as, connection);
        resolve({ subprotocol: socket.protocol || null });
      });
      socket.on('unexpected-response', (request, response) => {
        reject(new Failure({ status: response.statusCode, reason: response.statusMessage }));
        request.abort();
      });
      socket.on('error', (error) => reject(new Failure({ status: statusOf(error), message: String(error) })));
    });
  },

  async send({ on, times = 1, fragments = 1, ...message }) {
    const { socket } = objects.get(on);
    const data = testee.payload(message);
    const binary = message.kind !== 'text';
    if (fragments > 1) return sendInPieces(socket, Buffer.from(data), fragments, binary);
    for (let time = 0; time < times; time++) await send(socket, data, { binary });
  },

  async receive({ on }) {
    const message = await next(objects.get(on).messages);
    return message.end ? message : testee.digested(message.kind, message.data);
  },

  async echo({ on }) {
    const { socket, messages } = objects.get(on);
    const told = { messages: 0, bytes: 0 };
    for (;;) {
      const { end, kind, data } = await next(messages);
      if (end) return told;
      told.messages += 1;
      told.bytes += Buffer.byteLength(data);
      await send(socket, data, { binary: kind === 'binary' });
    }
  },

  async close({ on, code, reason }) {
    const object = objects.get(on);
    if (object.server) {
      object.server.close();
      return void (await object.accepted.take());
    }
    object.socket.close(code ?? 1000, reason);
    await next(object.closed);
  },

  abort({ on }) {
    objects.get(on).socket.terminate();
  },

  counters: () => testee.counters(objects),
  vector: (command) => testee.vector(WebSocket, command),
  release: (command) => testee.release(objects, command, ({ server, socket }) => {
    socket?.terminate();
    // It throws where no channel is open.
    if (server) try { server.close(); } catch {}
  }),
});
