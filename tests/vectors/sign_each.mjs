// Sign what stands on standard input, a list of [parent, child], and write a list of tokens; null where it was refused.
import { readFileSync } from 'node:fs';

import { SignError, signChild } from '../../clients/javascript/stagedoor-sign.mjs';

const signed = [];
for (const [parent, child] of JSON.parse(readFileSync(0, 'utf-8'))) {
  try {
    signed.push(await signChild(parent, child));
  } catch (error) {
    if (!(error instanceof SignError) || (parent && error.message.includes(parent))) throw error;
    signed.push(null);
  }
}
process.stdout.write(JSON.stringify(signed));
