// A plain WebSocket client that knows nothing of relays: the token stands in the address.
'use strict';

const WebSocket = require('ws');
const { tell, onCommands, payload, digested } = require('./lines');

const sockets = new Map();

onCommands({
  connect({ id, url, protocols = [] }) {
    const socket = new WebSocket(url, protocols);
    sockets.set(id, socket);
    socket.on('open', () => tell({ event: 'open', id, protocol: socket.protocol || null }));
    socket.on('unexpected-response', (request, response) => {
      tell({ event: 'refused', id, status: response.statusCode, reason: response.statusMessage });
      request.destroy();
    });
    socket.on('message', (data, isBinary) => tell({ id, ...digested(isBinary ? 'binary' : 'text', data) }));
    socket.on('close', (code, reason) => tell({ event: 'closed', id, code, reason: reason.toString() }));
    socket.on('error', (error) => process.stderr.write(`${id}: ${error}\n`));
  },

  send({ id, ...message }) {
    sockets.get(id).send(payload(message));
  },

  close({ id, code, reason }) {
    sockets.get(id).close(code, reason);
  },
});
