// Verify a token with a version of `jose`, by the keys at an address: `verify.mjs NAME URL ISSUER`, the token on standard input.
// Prints the header and the claims, or the code of the error.
import { readFileSync } from "node:fs";
import { webcrypto } from "node:crypto";

globalThis.crypto ??= webcrypto;
const [name, url, issuer] = process.argv.slice(2);
const { createRemoteJWKSet, jwtVerify } = await import(name);
try {
  const { payload, protectedHeader } = await jwtVerify(
    readFileSync(0, "utf8"),
    createRemoteJWKSet(new URL(url)),
    { issuer, audience: issuer, typ: "at+jwt", algorithms: ["ES256"] },
  );
  console.log(JSON.stringify({ header: protectedHeader, claims: payload }));
} catch (error) {
  console.log(JSON.stringify({ error: error.code }));
}
