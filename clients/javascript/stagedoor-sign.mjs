/**
 * Sign subscribe tokens of your own from a parent token, without calling the authority.
 *
 * One file for Node 18 and newer and for browsers (on a secure page); it needs nothing but WebCrypto. src/stagedoor/sign.py
 * does the same in Python, and both write the same bytes. A child is a compact JWS (RFC 7515) signed with HMAC (RFC 7518
 * section 3.2); its key is the text of its parent as it was issued. A child adds restrictions to its parent's and cannot
 * remove one: the authority holds it to all of them.
 *
 * Who has a parent token can make any child of it: sign on a server, and give browsers the children.
 */

const HASHES = { HS256: 'SHA-256', HS384: 'SHA-384', HS512: 'SHA-512' };
const LATEST = 253402300799;
const LARGEST = Number.MAX_SAFE_INTEGER;
const DAYS = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'];
const PROTOCOLS = ['webrtc', 'rtmp', 'rtsp', 'srt', 'hls', 'moq', 'unknown'];
/** How many characters there are, which of them stand around a token, and whether the stream's name is among them. */
const ROOM = {
  rtmp: [255, '?token=', true],
  srt: [512, '#!::m=publish,r=,t=', true],
  camera: [128, '?token=', true],
  httpHeader: [8192, 'Bearer ', false],
  url: [2048, '?token=', true],
};
const CARRIED_BY = { rtmp: 'rtmp', srt: 'srt', webrtc: 'httpHeader' };
const ORIGIN =
  /^(?:[a-z][a-z0-9+.-]{0,31}:\/\/)?(\*\.)?(\[[0-9a-f:.]{2,45}\]|[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*)(?::([1-9][0-9]{0,4}))?$/;
const CLOCK = /^(?:(?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00)$/;

/** What cannot be signed, with words that say why. They never hold the parent. */
export class SignError extends Error {
  /** @param {string} message */
  constructor(message) {
    super(message);
    this.name = 'SignError';
  }
}

/**
 * @typedef {object} Window
 * @property {('mon'|'tue'|'wed'|'thu'|'fri'|'sat'|'sun')[]} days
 * @property {string} from `HH:MM`
 * @property {string} to `HH:MM`, up to `24:00`; before `from` it is over midnight
 */

/**
 * @typedef {object} Child
 * @property {number} [tokenId] the id of the parent; left out when the parent is a child itself
 * @property {string} streamName one stream
 * @property {number} expiresAt whole seconds since the epoch; good until before it
 * @property {number} [issuedAt] whole seconds since the epoch
 * @property {number} [notBefore] whole seconds since the epoch; good from it on
 * @property {string} [jti] the token's own name, for the authority to revoke it alone; left out it is random, empty there is none
 * @property {'HS256'|'HS384'|'HS512'} [algorithm]
 * @property {string[]} [allowedOrigins]
 * @property {string[]} [allowedIpAddresses]
 * @property {string} [originCluster]
 * @property {{trackingId: string}|null} [tracking]
 * @property {string} [customViewerData] at most 1024 characters
 * @property {number} [bindIpsOnUsage]
 * @property {{ipv4Prefix?: number, ipv6Prefix?: number, rebindsPerHour?: number}} [bindTolerance]
 * @property {string[]} [allowedCountries]
 * @property {string[]} [deniedCountries]
 * @property {('webrtc'|'rtmp'|'rtsp'|'srt'|'hls'|'moq'|'unknown')[]} [allowedProtocols]
 * @property {string[]} [allowedUserAgents]
 * @property {string[]} [allowedReferrers]
 * @property {boolean} [allowWithoutOrigin]
 * @property {{timeZone: string, windows: Window[]}} [hours]
 * @property {boolean} [endSessionsAtExpiry]
 * @property {string} [subject]
 * @property {{most: number, per?: 'token'|'subject', over?: 'refuse'|'end_oldest'|'grace', graceSeconds?: number}} [sessionLimit]
 * @property {{graceSeconds?: number}} [singleUse]
 * @property {{sessionSeconds?: number, watchSeconds?: number, bytes?: number, starts?: number}} [budgets]
 */

/**
 * Return a subscribe token for one stream, signed with its parent.
 *
 * A restriction that is `undefined` is refused, not left out: one that gets lost is a door left open.
 *
 * @param {string} parent the text of a subscribe token, or of a child made of one
 * @param {Child} child
 * @returns {Promise<string>}
 * @throws {SignError} for whatever the authority would refuse, and for a protocol that has no room for the token
 */
export async function signChild(parent, child) {
  if (!isObject(child)) throw new SignError('the second argument has the fields of the token');
  const { algorithm = 'HS256', tokenId, streamName, issuedAt, notBefore, expiresAt, jti, ...restrictions } = child;
  if (!Object.hasOwn(HASHES, algorithm)) throw new SignError('algorithm is HS256, HS384 or HS512');
  const above = readParent(parent);
  const streaming = { tokenId: idOf(tokenId, above), tokenType: 'Subscribe', streamName: stream(streamName) };
  if (above !== null) streaming.parent = parent.slice(0, parent.lastIndexOf('.'));
  Object.assign(streaming, checkFields(restrictions, RESTRICTIONS, 'a restriction', ''));
  checkTogether(streaming);
  if (above !== null) checkAbove(streaming, above);
  const payload = { streaming, ...times(issuedAt, notBefore, expiresAt) };
  const crypto = await webCrypto();
  const name = jti === undefined ? encode(crypto.getRandomValues(new Uint8Array(12))) : jti;
  if (name !== '') payload.jti = text(1, 128)(name, 'jti');
  const signed = `${encodeJson({ alg: algorithm, typ: 'JWT' })}.${encodeJson(payload)}`;
  const hash = { name: 'HMAC', hash: HASHES[algorithm] };
  const bytes = new TextEncoder();
  const key = await crypto.subtle.importKey('raw', bytes.encode(parent), hash, false, ['sign']);
  const signature = await crypto.subtle.sign('HMAC', key, bytes.encode(signed));
  const token = `${signed}.${encode(new Uint8Array(signature))}`;
  checkFits(token, streaming);
  return token;
}

/**
 * Return what has room for a token beside the name of its stream.
 *
 * @param {string} token
 * @param {string} streamName
 * @returns {('rtmp'|'srt'|'camera'|'httpHeader'|'url')[]}
 */
export function carriers(token, streamName) {
  const fits = ([limit, around, named]) => token.length + around.length + (named ? streamName.length : 0) <= limit;
  return Object.keys(ROOM).filter((carrier) => fits(ROOM[carrier]));
}

/** @returns {Record<string, any> | null} the `streaming` of a parent that is a child itself; null for one that was issued */
function readParent(parent) {
  const wrong = new SignError(
    'parent is a subscribe token as it was issued (64 lower-case hexadecimal characters), or a child of one',
  );
  if (typeof parent !== 'string') throw wrong;
  if (/^[0-9a-f]{64}$/.test(parent)) return null;
  if (!/^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/.test(parent)) throw wrong;
  let streaming;
  try {
    const letters = atob(parent.split('.')[1].replaceAll('-', '+').replaceAll('_', '/'));
    const payload = new TextDecoder('utf-8', { fatal: true }).decode(Uint8Array.from(letters, (c) => c.charCodeAt(0)));
    ({ streaming } = JSON.parse(payload));
  } catch {
    throw wrong;
  }
  if (!isObject(streaming) || !Number.isSafeInteger(streaming.tokenId)) throw wrong;
  return streaming;
}

function idOf(tokenId, above) {
  if (above === null) return integer(1)(tokenId, 'tokenId');
  if (tokenId !== undefined && tokenId !== above.tokenId) {
    throw new SignError('tokenId is not that of the parent; leave it out for a child of a child');
  }
  return integer(1)(above.tokenId, 'tokenId');
}

function times(issuedAt, notBefore, expiresAt) {
  const found = {};
  if (issuedAt !== undefined) found.iat = integer(0, LATEST)(issuedAt, 'issuedAt');
  if (notBefore !== undefined) found.nbf = integer(0, LATEST)(notBefore, 'notBefore');
  const exp = integer(0, LATEST)(expiresAt, 'expiresAt');
  if (Object.values(found).some((at) => at >= exp)) {
    throw new SignError('expiresAt is not after issuedAt and notBefore, so the token would never be good');
  }
  return { ...found, exp };
}

function checkTogether(streaming) {
  for (const [one, other] of [
    ['allowedIpAddresses', 'bindIpsOnUsage'],
    ['allowedCountries', 'deniedCountries'],
  ]) {
    if (one in streaming && other in streaming) throw new SignError(`set ${one} or ${other}, not both`);
  }
}

function checkAbove(streaming, above) {
  if (streaming.streamName !== above.streamName) {
    throw new SignError('streamName is not that of the parent, which is good for one stream only');
  }
  if (above.tracking && streaming.tracking?.trackingId !== above.tracking.trackingId) {
    throw new SignError('tracking is not that of the parent, which every child has to carry');
  }
}

function checkFits(token, streaming) {
  const fits = carriers(token, streaming.streamName);
  for (const protocol of streaming.allowedProtocols ?? []) {
    if (!fits.includes(CARRIED_BY[protocol] ?? 'url')) {
      throw new SignError(
        `the token has ${token.length} characters, for which ${protocol} has no room beside the stream's name: leave it out of` +
          ' allowedProtocols, or let the authority make a token in its short form (43 characters)',
      );
    }
  }
}

// -- single values

const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);

const integer =
  (least, most = LARGEST) =>
  (value, name) => {
    if (!Number.isSafeInteger(value) || value < least || value > most) {
      throw new SignError(`${name} is a whole number from ${least} to ${most}`);
    }
    return value;
  };

const text = (least, most) => (value, name) => {
  const length = typeof value === 'string' ? [...value].length : -1;
  if (length < least || length > most || value.includes('\0')) {
    throw new SignError(`${name} is a text of ${least} to ${most} characters, none of them NUL`);
  }
  if (/\p{Surrogate}/u.test(value)) throw new SignError(`${name} holds half a character, which UTF-8 cannot write`);
  return value;
};

function stream(value) {
  const good = typeof value === 'string' && /^[A-Za-z0-9_~+=@:,-][A-Za-z0-9_.~+=@:,/-]{0,127}$/.test(value);
  if (!good || value.includes('//') || value.includes('/.') || value.endsWith('/')) {
    throw new SignError(
      'streamName is one name of 1 to 128 of A-Z a-z 0-9 _ . ~ + = @ : , - in parts separated by /, none of which begins' +
        ' with a dot',
    );
  }
  return value;
}

function flag(value, name) {
  if (typeof value !== 'boolean') throw new SignError(`${name} is true or false`);
  return value;
}

const matching = (pattern, words) => (value, name) => {
  if (typeof value !== 'string' || !pattern.test(value)) throw new SignError(`${name} ${words}`);
  return value;
};

const oneOf = (known) => (value, name) => {
  if (!known.includes(value)) throw new SignError(`${name} is one of ${known.join(', ')}`);
  return value;
};

const list = (check, most) => (value, name) => {
  if (!Array.isArray(value) || value.length < 1 || value.length > most) {
    throw new SignError(`${name} is a list of 1 to ${most} entries`);
  }
  return Array.from(value, (each) => check(each, name));
};

function wildcard(value, name) {
  if (text(1, 256)(value, name).split('*').length > 11) {
    throw new SignError(`${name} has at most 10 asterisks in an entry`);
  }
  return value;
}

function origin(value, name) {
  // Only ASCII is made lower case: some other letters become ASCII by it.
  const good = typeof value === 'string' && value.length <= 400 && /^[\x00-\x7f]*$/.test(value);
  const match = good ? ORIGIN.exec(value.toLowerCase()) : null;
  if (match === null || Number(match[3] ?? 0) > 65535 || (match[1] && match[2][0] === '[')) {
    throw new SignError(
      `${name} has hosts such as example.com or *.example.com, with a scheme and a port if they matter`,
    );
  }
  return value;
}

function network(value, name) {
  if (typeof value !== 'string' || !isNetwork(value)) {
    throw new SignError(
      `${name} has addresses and networks such as 192.0.2.1, 192.0.2.0/24 and 2001:db8::/32, without host bits`,
    );
  }
  return value;
}

function isNetwork(value) {
  const [base, prefix, ...more] = value.split('/');
  const bytes = ipv4(base) ?? ipv6(base);
  if (bytes === null || more.length > 0) return false;
  if (prefix === undefined) return true;
  if (!/^(?:0|[1-9][0-9]{0,2})$/.test(prefix) || Number(prefix) > bytes.length * 8) return false;
  return bytes.every((byte, at) => (byte & (0xff >> Math.min(8, Math.max(0, Number(prefix) - at * 8)))) === 0);
}

function ipv4(written) {
  const parts = written.split('.');
  const good = parts.length === 4 && parts.every((part) => /^(?:0|[1-9][0-9]{0,2})$/.test(part) && Number(part) < 256);
  return good ? parts.map(Number) : null;
}

function ipv6(written) {
  const halves = written.split('::');
  if (halves.length > 2) return null;
  const sides = halves.map((half, at) => groups(half, at === halves.length - 1));
  if (sides.includes(null)) return null;
  const [front, back = []] = sides;
  const missing = 16 - front.length - back.length;
  if (halves.length === 1 ? missing !== 0 : missing < 2) return null;
  return [...front, ...new Array(missing).fill(0), ...back];
}

function groups(half, isLast) {
  if (half === '') return [];
  const bytes = [];
  const parts = half.split(':');
  for (const [at, part] of parts.entries()) {
    const quad = isLast && at === parts.length - 1 && part.includes('.') ? ipv4(part) : null;
    if (quad === null && !/^[0-9A-Fa-f]{1,4}$/.test(part)) return null;
    bytes.push(...(quad ?? [parseInt(part, 16) >> 8, parseInt(part, 16) & 0xff]));
  }
  return bytes;
}

// -- values that have fields

/** Return the fields that are given, checked, in the order in which they are known. */
function checkFields(given, known, what, prefix) {
  for (const name of Object.keys(given)) {
    if (!Object.hasOwn(known, name)) {
      throw new SignError(`'${name.slice(0, 64)}' is not ${what}; there are ${Object.keys(known).join(', ')}`);
    }
  }
  const found = {};
  for (const [name, check] of Object.entries(known)) {
    if (Object.hasOwn(given, name)) found[name] = check(given[name], prefix + name);
  }
  return found;
}

const fields =
  (known, { required = [], least = 0 } = {}) =>
  (value, name) => {
    if (!isObject(value)) throw new SignError(`${name} has the fields ${Object.keys(known).join(', ')}`);
    const found = checkFields(value, known, `a field of ${name}`, `${name}.`);
    if (Object.keys(found).length < least || required.some((field) => !(field in found))) {
      throw new SignError(`${name} needs ${required.join(', ') || `one of ${Object.keys(known).join(', ')}`}`);
    }
    return found;
  };

const checkWindow = fields(
  {
    days: list(oneOf(DAYS), 7),
    from: matching(CLOCK, 'is a time such as 09:30'),
    to: matching(CLOCK, 'is a time such as 09:30, up to 24:00'),
  },
  { required: ['days', 'from', 'to'] },
);

function week(value, name) {
  const found = checkWindow(value, name);
  if (found.from === '24:00' || found.from === found.to) {
    throw new SignError(`${name} goes from 00:00 to at most 24:00, and is not empty`);
  }
  return found;
}

const checkLimit = fields(
  {
    most: integer(1),
    per: oneOf(['token', 'subject']),
    over: oneOf(['refuse', 'end_oldest', 'grace']),
    graceSeconds: integer(0, 3600),
  },
  { required: ['most'] },
);

function sessionLimit(value, name) {
  const limit = checkLimit(value, name);
  if ((limit.over === 'grace') !== (limit.graceSeconds ?? 0) > 0) {
    throw new SignError(`${name}.graceSeconds goes with over: grace, and with nothing else`);
  }
  return limit;
}

const checkTracking = fields({ trackingId: text(1, 128) }, { required: ['trackingId'] });

/** The restrictions there are, by their names in the token and in its order. */
const RESTRICTIONS = {
  allowedOrigins: list(origin, 1000),
  allowedIpAddresses: list(network, 1000),
  originCluster: text(1, 64),
  tracking: (value, name) => (value === null ? null : checkTracking(value, name)),
  customViewerData: text(0, 1024),
  bindIpsOnUsage: integer(1, 2 ** 32 - 1),
  bindTolerance: fields(
    { ipv4Prefix: integer(8, 32), ipv6Prefix: integer(16, 128), rebindsPerHour: integer(0, 1000) },
    { least: 1 },
  ),
  allowedCountries: list(matching(/^[A-Z]{2}$/, 'has ISO 3166-1 alpha-2 codes such as PL'), 1000),
  deniedCountries: list(matching(/^[A-Z]{2}$/, 'has ISO 3166-1 alpha-2 codes such as PL'), 1000),
  allowedProtocols: list(oneOf(PROTOCOLS), 1000),
  allowedUserAgents: list(wildcard, 50),
  allowedReferrers: list(wildcard, 50),
  allowWithoutOrigin: flag,
  hours: fields({ timeZone: text(1, 64), windows: list(week, 50) }, { required: ['timeZone', 'windows'] }),
  endSessionsAtExpiry: flag,
  subject: text(1, 128),
  sessionLimit,
  singleUse: fields({ graceSeconds: integer(0, 3600) }),
  budgets: fields(
    { sessionSeconds: integer(1), watchSeconds: integer(1), bytes: integer(1), starts: integer(1) },
    { least: 1 },
  ),
};

// -- as bytes

/** Node 18 has it, and not as a global; a page that is not secure has half of it. */
async function webCrypto() {
  const crypto = globalThis.crypto ?? (await import('node:crypto')).webcrypto;
  if (crypto.subtle === undefined) throw new Error('WebCrypto is missing: the page has to come over HTTPS');
  return crypto;
}

const encodeJson = (value) => encode(new TextEncoder().encode(JSON.stringify(value)));

function encode(bytes) {
  const letters = Array.from(bytes, (byte) => String.fromCharCode(byte)).join('');
  return btoa(letters).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
}
