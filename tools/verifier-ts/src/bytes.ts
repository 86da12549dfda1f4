/** Bytes and text without help from Node, a browser or the phone: only what the language itself has. */

import { Malformed } from "./errors.js";

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const SIX_BITS = new Map([...ALPHABET].map((letter, value) => [letter, value]));

/** Bytes from base64 as RFC 4648 writes it: padded, no blanks, unused bits zero. Throws Malformed. */
export function decodeBase64(text: unknown): Uint8Array {
  if (typeof text !== "string" || text.length % 4 !== 0) throw new Malformed("this is not base64");
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  const bytes = new Uint8Array((text.length / 4) * 3 - padding);
  let bits = 0;
  let held = 0;
  let at = 0;
  for (let index = 0; index < text.length - padding; index += 1) {
    const value = SIX_BITS.get(text.charAt(index));
    if (value === undefined) throw new Malformed("this is not base64");
    held = (held << 6) | value;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes[at] = (held >> bits) & 0xff;
      at += 1;
      held &= (1 << bits) - 1;
    }
  }
  if (held !== 0) throw new Malformed("this base64 is not canonical");
  return bytes;
}

/** UTF-8 bytes of a text; a lone surrogate becomes U+FFFD, as everywhere else. */
export function encodeUtf8(text: string): Uint8Array {
  const bytes: number[] = [];
  for (const character of text) {
    let point = character.codePointAt(0) ?? 0xfffd;
    if (point >= 0xd800 && point <= 0xdfff) point = 0xfffd;
    if (point < 0x80) bytes.push(point);
    else if (point < 0x800) bytes.push(0xc0 | (point >> 6), 0x80 | (point & 0x3f));
    else if (point < 0x10000) bytes.push(0xe0 | (point >> 12), 0x80 | ((point >> 6) & 0x3f), 0x80 | (point & 0x3f));
    else bytes.push(0xf0 | (point >> 18), 0x80 | ((point >> 12) & 0x3f), 0x80 | ((point >> 6) & 0x3f), 0x80 | (point & 0x3f));
  }
  return Uint8Array.from(bytes);
}

/** The text of UTF-8 bytes: no over-long forms, no surrogates, nothing cut off. Throws Malformed. */
export function decodeUtf8(bytes: Uint8Array): string {
  const parts: string[] = [];
  let index = 0;
  while (index < bytes.length) {
    const first = bytes[index] ?? 0;
    const more = first < 0x80 ? 0 : first >= 0xc2 && first < 0xe0 ? 1 : first >= 0xe0 && first < 0xf0 ? 2 : first >= 0xf0 && first < 0xf5 ? 3 : -1;
    if (more < 0 || index + more >= bytes.length) throw new Malformed("this is not UTF-8");
    let point = more === 0 ? first : first & (0x3f >> more);
    for (let step = 1; step <= more; step += 1) {
      const next = bytes[index + step] ?? 0;
      if ((next & 0xc0) !== 0x80) throw new Malformed("this is not UTF-8");
      point = (point << 6) | (next & 0x3f);
    }
    const least = [0, 0x80, 0x800, 0x10000][more] ?? 0;
    if (point < least || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) throw new Malformed("this is not UTF-8");
    parts.push(String.fromCodePoint(point));
    index += more + 1;
  }
  return parts.join("");
}

/** Lower-case hexadecimal. */
export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
