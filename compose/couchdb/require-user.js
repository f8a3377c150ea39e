'use strict';
// Preloaded into pouchdb-server: lets nobody in without the administrator's name and password.
//
// CouchDB 3 does so by itself; pouchdb-server knows administrators, but leaves reading and writing documents open to
// everybody and does not know CouchDB's setting `require_valid_user`.

const http = require('http');
const crypto = require('crypto');

const digest = (text) => crypto.createHash('sha256').update(text).digest();
const user = process.env.COUCHDB_USER + ':' + process.env.COUCHDB_PASSWORD;
const expected = digest('Basic ' + Buffer.from(user).toString('base64'));
const emit = http.Server.prototype.emit;

http.Server.prototype.emit = function (event, request, response) {
  if (event !== 'request') return emit.apply(this, arguments);
  const given = digest(request.headers.authorization || '');
  if (crypto.timingSafeEqual(given, expected)) return emit.apply(this, arguments);
  response.writeHead(401, {'Content-Type': 'application/json', 'WWW-Authenticate': 'Basic realm="couchdb"'});
  response.end('{"error":"unauthorized","reason":"You are not authorized to access this server."}\n');
  request.resume();
  return true;
};
