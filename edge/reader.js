// What CloudFront runs before each request, for the runtime cloudfront-js-2.0. template.yaml holds a copy, in which
// `reading` is the stack's parameter; a test compares the two. Only what ECMAScript 5.1 has, and `const`, `let` and
// `async`: the runtime knows little more.
import cf from 'cloudfront';
import crypto from 'crypto';

const reading = 'private';

// No key of S3 is longer, and each byte may be escaped.
const LONGEST_URI = 3 * 1024 + 1;
// Longer than any user name and token in Base64.
const LONGEST_AUTHORIZATION = 256;

const CREDENTIALS = /^([A-Za-z0-9][A-Za-z0-9._-]{0,63}):(alp_[A-Za-z0-9_-]{43})$/;
const PUBLIC_KEY = /^[A-Za-z0-9@_+-][A-Za-z0-9@._+-]*\.(pub|pem)$/;
const PAGE = /^(index\.html|repositories\.json)$/;
// A package or an index, in <repository>/<architecture>/. Anything else in the bucket is internal.
const OF_REPOSITORY =
    /^([A-Za-z0-9][A-Za-z0-9._-]*\/)+[a-z0-9_-]+\/([A-Za-z0-9][A-Za-z0-9._+~-]*\.apk|APKINDEX\.tar\.gz|[Pp]ackages\.adb|index\.json)$/;

const readers = reading === 'private' ? cf.kvs() : null;

async function handler(event) {
    const request = event.request;
    if (request.uri === '/') {
        // The page has headers of its own, which are chosen by the path that the client asks for.
        return { statusCode: 302, statusDescription: 'Found', headers: { location: { value: '/index.html' } } };
    }
    const key = keyOf(request.uri);
    if (key === null) return refuse(404, 'Not Found', 'There is nothing to read here.\n');
    if (reading === 'private' && !PUBLIC_KEY.test(key)) {
        const reader = await readerOf(request.headers.authorization);
        if (reader === null) {
            return refuse(401, 'Unauthorized', 'Reading needs the name and the token of a reader.\n');
        }
        if (reader.until !== undefined && Date.now() >= reader.until * 1000) {
            return refuse(401, 'Unauthorized', 'This token has expired.\n');
        }
        if (!PAGE.test(key) && !reader.in.some(covers(key))) {
            return refuse(403, 'Forbidden', 'This token does not open this repository.\n');
        }
    }
    // As S3 has to be asked: it reads a raw `+`, which apk sends, as a space. So each object also has one cache entry.
    request.uri = '/' + key.split('/').map(encodeURIComponent).join('/');
    request.querystring = {};
    return request;
}

// The key that a client means, or null if there is nothing for clients.
function keyOf(uri) {
    if (uri.length > LONGEST_URI) return null;
    let key;
    try {
        key = decodeURIComponent(uri.slice(1));
    } catch (_) {
        return null;
    }
    // Before the patterns, since in njs `$` also matches before a last newline.
    if (/[^!-~]/.test(key)) return null;
    return PUBLIC_KEY.test(key) || PAGE.test(key) || OF_REPOSITORY.test(key) ? key : null;
}

// What is stored of the reader with these credentials, or null for a stranger. Tokens are random and long, so their
// digests need no salt.
async function readerOf(header) {
    if (header === undefined || header.value.length > LONGEST_AUTHORIZATION) return null;
    const basic = /^Basic +([A-Za-z0-9+\/]+=*)$/i.exec(header.value);
    if (basic === null) return null;
    const text = Buffer.from(basic[1], 'base64').toString();
    const pair = /[^!-~]/.test(text) ? null : CREDENTIALS.exec(text);
    if (pair === null) return null;
    const digest = crypto.createHash('sha256').update(pair[2]).digest('hex');
    const reader = await readers.get(pair[1]).then(JSON.parse).catch(function () { return null; });
    return reader !== null && reader.sha256 === digest ? reader : null;
}

// Whether a prefix covers a key: the empty one covers all, others by whole directories.
function covers(key) {
    return function (prefix) { return prefix === '' || key.indexOf(prefix + '/') === 0; };
}

function refuse(status, description, text) {
    const headers = { 'cache-control': { value: 'no-store' }, 'content-type': { value: 'text/plain' } };
    if (status === 401) headers['www-authenticate'] = { value: 'Basic realm="packages", charset="UTF-8"' };
    return { statusCode: status, statusDescription: description, headers: headers, body: text };
}
