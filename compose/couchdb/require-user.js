'use strict';
// Preloaded into pouchdb-server: lets nobody in without name and password, and each user do no more than its part.
//
// CouchDB 3 has users, members of databases and validation functions; pouchdb-server knows administrators only, and
// leaves reading and writing documents open to everybody. So this asks who it is, decides by method and path, and passes
// on what is allowed as the administrator:
//   administrator   everything
//   writer          documents of databases that are there; no databases, indexes, design documents or settings
//   reader          reads documents and asks queries
// A refusal is answered as CouchDB does: 401 for who is not known, 403 for what is not allowed.

const http = require('http');
const crypto = require('crypto');

const digest = (text) => crypto.createHash('sha256').update(text).digest();
const basic = (user, password) => 'Basic ' + Buffer.from(user + ':' + password).toString('base64');

const SERVER_READS = new Set(['_all_dbs', '_session', '_up', '_uuids']);
const ASKED_BY_POST = new Set(['_all_docs', '_bulk_get', '_changes', '_explain', '_find', '_revs_diff']);

// Express passes on a path as it came, and names in it decoded. null: nothing that a user may ask for.
function segments(url) {
  const path = url.split('?', 1)[0];
  if (path === '/') return [];
  try {
    const parts = path.slice(1).split('/').map(decodeURIComponent);
    return path[0] === '/' && parts.every((part) => part !== '' && part !== '.' && part !== '..') ? parts : null;
  } catch (error) {
    return null;
  }
}

function reads(method, [database, first, , kind], count) {
  const looks = method === 'GET' || method === 'HEAD';
  if (count === 0) return looks;
  if (database.startsWith('_')) return looks && count === 1 && SERVER_READS.has(database);
  if (looks) return true;
  if (method !== 'POST') return false;
  return (count === 2 && ASKED_BY_POST.has(first)) || (count === 5 && first === '_design' && kind === '_view');
}

function writes(method, [database, first], count) {
  if (count === 0 || database.startsWith('_')) return false;
  if (method === 'POST') return count === 1 || (count === 2 && first === '_bulk_docs');
  return (method === 'PUT' || method === 'DELETE') && count >= 2 && !first.startsWith('_');
}

const either = (...rules) => (...request) => rules.some((rule) => rule(...request));
const env = process.env;
const administrator = basic(env.COUCHDB_USER, env.COUCHDB_PASSWORD);
const people = [
  {login: digest(administrator), may: () => true, anywhere: true},
  {login: digest(basic(env.COUCHDB_WRITER, env.COUCHDB_WRITER_PASSWORD)), may: either(reads, writes)},
  {login: digest(basic(env.COUCHDB_READER, env.COUCHDB_READER_PASSWORD)), may: reads},
];
const emit = http.Server.prototype.emit;

function refuse(request, response, status, headers, body) {
  response.writeHead(status, {'Content-Type': 'application/json', ...headers});
  response.end(JSON.stringify(body) + '\n');
  request.resume();
  return true;
}

http.Server.prototype.emit = function (event, request, response) {
  if (event !== 'request') return emit.apply(this, arguments);
  const given = digest(request.headers.authorization || '');
  const person = people.filter(({login}) => crypto.timingSafeEqual(given, login))[0];
  if (!person) {
    const reason = 'You are not authorized to access this server.';
    const asked = {'WWW-Authenticate': 'Basic realm="couchdb"'};
    return refuse(request, response, 401, asked, {error: 'unauthorized', reason});
  }
  const parts = segments(request.url);
  // Another method in a header would be carried out instead of the one that was looked at.
  const disguised = 'x-http-method-override' in request.headers;
  if (!person.anywhere && (parts === null || disguised || !person.may(request.method, parts, parts.length))) {
    const reason = 'You are not allowed to do this.';
    return refuse(request, response, 403, {}, {error: 'forbidden', reason});
  }
  request.headers.authorization = administrator;
  return emit.apply(this, arguments);
};
