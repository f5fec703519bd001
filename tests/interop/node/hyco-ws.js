// The official package, unmodified, as its documentation uses it: a listener and a sender.
'use strict';

const WebSocket = require('hyco-ws');
const { tell, onCommands, payload, digested } = require('./lines');

const sockets = new Map();
let accepted = 0;

function follow(id, socket) {
  sockets.set(id, socket);
  socket.on('message', (data, flags) => tell({ id, ...digested(flags.binary ? 'binary' : 'text', data) }));
  socket.on('close', (code, reason) => tell({ event: 'closed', id, code, reason }));
  socket.on('error', (error) => process.stderr.write(`${id}: ${error}\n`));
}

onCommands({
  listen({ url, keyName, key, protocol }) {
    const server = WebSocket.createRelayedServer(
      {
        server: url,
        token: () => WebSocket.createRelayToken(url, keyName, key),
        handleProtocols: protocol ? (offered, choose) => choose(offered.includes(protocol), protocol) : null,
      },
      (socket) => {
        // The package shows the socket before it is open.
        const id = `in${++accepted}`;
        follow(id, socket);
        socket.on('open', () => tell({ event: 'accepted', accepted: id, protocol: socket.protocol ?? null }));
      },
    );
    server.on('listening', () => tell({ event: 'listening' }));
    server.on('error', (error) => process.stderr.write(`listener: ${error.message}\n`));
  },

  connect({ id, url, protocols, token }) {
    const headers = token ? { ServiceBusAuthorization: token } : {};
    const socket = protocols
      ? new WebSocket(url, protocols, { headers }) // relayedConnect has no parameter for them
      : WebSocket.relayedConnect(url, token, () => {});
    follow(id, socket);
    socket.on('open', () => tell({ event: 'open', id, protocol: socket.protocol ?? null }));
    socket.on('unexpected-response', (request, response) => {
      tell({ event: 'refused', id, status: response.statusCode, reason: response.statusMessage });
      request.abort();
    });
  },

  send({ id, ...message }) {
    sockets.get(id).send(payload(message));
  },

  close({ id, code, reason }) {
    sockets.get(id).close(code, reason);
  },
});
