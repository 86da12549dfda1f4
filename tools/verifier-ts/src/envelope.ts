/** The DSSE envelope, read once: what is parsed is what was verified. */

import { ed25519 } from "@noble/curves/ed25519.js";

import { concat, decodeBase64, encodeUtf8 } from "./bytes.js";
import { Malformed } from "./errors.js";
import { isObject, list, moment, parseObject, text, type JsonObject } from "./json.js";
import type { Role, Root } from "./root.js";

/** An envelope as the API answers it. It comes from outside: nothing of it is believed before it is verified. */
export type Envelope = unknown;

export type Kind = "root" | "tune-release" | "flash-ticket" | "status" | "restore-ticket";

export interface Opened {
  readonly body: Uint8Array;
  readonly payload: JsonObject;
}

/** The payload, if enough distinct keys of `role` signed it; keys in `without` don't count. Throws Malformed. */
export function openEnvelope(envelope: Envelope, kind: Kind, root: Root, role: Role, without: readonly string[] = []): Opened {
  const mediaType = `application/vnd.revsync.${kind}.v1+json`;
  if (text(envelope, "payloadType") !== mediaType) throw new Malformed(`this is no ${kind}`);
  const body = decodeBase64(text(envelope, "payload"));
  const message = concat([encodeUtf8(`DSSEv1 ${mediaType.length} ${mediaType} ${body.length} `), body]);
  const { keyids, threshold } = root.roles[role];
  const signers = new Set<string>();
  for (const signature of list(envelope, "signatures")) {
    const keyid = text(signature, "keyid");
    const key = keyids.includes(keyid) && !without.includes(keyid) ? root.keys.get(keyid) : undefined;
    if (key !== undefined && isSigned(key, isObject(signature) ? signature["sig"] : undefined, message)) signers.add(keyid);
  }
  if (signers.size < threshold) throw new Malformed(`${signers.size} of ${threshold} signatures of the role ${role} hold`);
  const payload = parseObject(body);
  if (text(payload, "_type") !== kind || text(payload, "schema").split(".")[0] !== "1") {
    throw new Malformed("the payload is another document, or of a later format");
  }
  if (text(payload, "env") !== root.env) throw new Malformed("the document belongs to another environment");
  moment(payload, "issued_at");
  return { body, payload };
}

function isSigned(key: Uint8Array, signature: unknown, message: Uint8Array): boolean {
  try {
    // zip215 off: signatures as RFC 8032 has them, one spelling each
    return ed25519.verify(decodeBase64(signature), message, key, { zip215: false });
  } catch {
    return false;
  }
}
