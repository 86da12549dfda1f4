/** The root document: whose word counts for what, and how one follows the other. */

import { decodeBase64 } from "./bytes.js";
import { openEnvelope, type Envelope } from "./envelope.js";
import { Malformed, refusing } from "./errors.js";
import { integer, moment, object, parseObject, text, texts, type JsonObject } from "./json.js";

export const ROLES = ["root", "release", "test_release", "ticket", "restore", "status"] as const;
export type Role = (typeof ROLES)[number];

export interface Root {
  readonly version: number;
  readonly env: string;
  readonly expiresAt: number;
  readonly keys: ReadonlyMap<string, Uint8Array>;
  readonly roles: Readonly<Record<Role, { readonly keyids: readonly string[]; readonly threshold: number }>>;
}

/** The newest root, from the one that the app ships with over each successor. Throws Refused (bad_root). */
export function walkRoots(pinned: Envelope, later: readonly Envelope[]): Root {
  return refusing("bad_root", "root", () => {
    let root = selfSigned(pinned);
    for (const envelope of later) {
      const successor = selfSigned(envelope);
      openEnvelope(envelope, "root", root, "root");
      if (successor.version !== root.version + 1) throw new Malformed("a root was left out");
      root = successor;
    }
    return root;
  });
}

function selfSigned(envelope: Envelope): Root {
  const root = readRoot(parseObject(decodeBase64(text(envelope, "payload"))));
  openEnvelope(envelope, "root", root, "root");
  return root;
}

function readRoot(payload: JsonObject): Root {
  const keys = new Map<string, Uint8Array>();
  const stated = object(payload, "keys");
  const spellings = new Set<string>();
  for (const keyid of Object.keys(stated)) {
    if (text(stated[keyid], "scheme") !== "ed25519") throw new Malformed("a key is of another scheme");
    const written = text(stated[keyid], "public");
    const key = decodeBase64(written);
    if (key.length !== 32) throw new Malformed("a public key has 32 bytes");
    spellings.add(written);
    keys.set(keyid, key);
  }
  const version = integer(payload, "version");
  if (version < 1 || spellings.size !== keys.size) throw new Malformed("the version is below 1, or one key has two names");
  const roles = Object.fromEntries(
    ROLES.map((role) => {
      const entry = object(object(payload, "roles"), role);
      const keyids = texts(entry, "keyids");
      const threshold = integer(entry, "threshold");
      if (new Set(keyids).size !== keyids.length || threshold < 1 || threshold > keyids.length || !keyids.every((keyid) => keys.has(keyid))) {
        throw new Malformed(`the role ${role} can't be fulfilled`);
      }
      return [role, { keyids, threshold }];
    }),
  ) as unknown as Root["roles"];
  const named = ROLES.flatMap((role) => roles[role].keyids);
  if (new Set(named).size !== named.length) throw new Malformed("a key serves two roles");
  return { version, env: text(payload, "env"), expiresAt: moment(payload, "expires_at"), keys, roles };
}
