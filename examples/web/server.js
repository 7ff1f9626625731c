// A small web server that behaves as a supervised program should: it stays in
// the foreground, logs to its standard output, and ends in good order at TERM.
'use strict';

const http = require('node:http');

const host = process.env.HOST || '127.0.0.1';
const port = Number(process.env.PORT || 3000);

const server = http.createServer((request, response) => {
  console.log(`${request.method} ${request.url}`);
  response.setHeader('Content-Type', 'text/plain');
  response.end(`hello from node, process ${process.pid}\n`);
});

server.listen(port, host, () => console.log(`listening on ${host}:${port}`));

process.on('SIGTERM', () => {
  console.log('told to end, finishing open requests');
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
