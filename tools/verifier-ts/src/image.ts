/** From a file to the bytes that are written: raw, Intel HEX or S-record. Gaps read as erased memory. */

import { Malformed } from "./errors.js";

const LARGEST_IMAGE_BYTES = 4 * 1024 * 1024;
const GAP_BYTE = 0xff;
const NEWLINE = 0x0a;
const S_ADDRESS_BYTES: { readonly [kind: string]: number } = { 0: 2, 1: 2, 2: 3, 3: 4, 5: 2, 6: 3, 7: 4, 8: 3, 9: 2 };

export type Format = "BIN" | "INTEL_HEX" | "S_RECORD";

export interface Image {
  readonly base: number;
  readonly bytes: Uint8Array;
}

interface Piece {
  readonly start: number;
  readonly bytes: Uint8Array;
}

/** Throws Malformed. */
export function decodeImage(file: Uint8Array, format: string): Image {
  switch (format) {
    case "BIN":
      return { base: 0, bytes: file };
    case "INTEL_HEX":
      return assemble(readIntelHex(file));
    case "S_RECORD":
      return assemble(readSRecords(file));
    default:
      throw new Malformed("the file is of an unknown format");
  }
}

function assemble(pieces: Piece[]): Image {
  pieces.sort((one, other) => one.start - other.start);
  const base = pieces[0]?.start;
  if (base === undefined) throw new Malformed("the file has no data");
  const end = pieces.reduce((furthest, { start, bytes }) => Math.max(furthest, start + bytes.length), base);
  if (end - base > LARGEST_IMAGE_BYTES) throw new Malformed("the records are too far apart");
  const image = new Uint8Array(end - base).fill(GAP_BYTE);
  let reached = base;
  for (const { start, bytes } of pieces) {
    if (start < reached) throw new Malformed("two records write one address");
    image.set(bytes, start - base);
    reached = start + bytes.length;
  }
  return { base, bytes: image };
}

function readIntelHex(file: Uint8Array): Piece[] {
  const pieces: Piece[] = [];
  let offset = 0;
  let ended = false;
  for (const line of lines(file)) {
    const record = line.startsWith(":") && !ended ? unhex(line.slice(1)) : undefined;
    if (record === undefined || record.length < 5 || record[0] !== record.length - 5 || (sum(record) & 0xff) !== 0) {
      throw new Malformed("a record is damaged");
    }
    const kind = record[3];
    const body = record.slice(4, -1);
    if (kind === 0) {
      if (body.length > 0) pieces.push({ start: offset + number(record.slice(1, 3)), bytes: body });
    } else if (kind === 1) ended = true;
    else if ((kind === 2 || kind === 4) && body.length === 2) offset = number(body) * (kind === 2 ? 16 : 65_536);
    else if (kind !== 3 && kind !== 5) throw new Malformed("a record is of no known kind");
  }
  if (!ended) throw new Malformed("the end record is missing");
  return pieces;
}

function readSRecords(file: Uint8Array): Piece[] {
  const pieces: Piece[] = [];
  let ended = false;
  for (const line of lines(file)) {
    const kind = line.charAt(1);
    const width = line.startsWith("S") && !ended ? S_ADDRESS_BYTES[kind] : undefined;
    const record = width === undefined ? undefined : unhex(line.slice(2));
    if (width === undefined || record === undefined || record.length < width + 2 || record[0] !== record.length - 1 || (sum(record) & 0xff) !== 0xff) {
      throw new Malformed("a record is damaged");
    }
    const body = record.slice(1 + width, -1);
    if ("123".includes(kind)) {
      if (body.length > 0) pieces.push({ start: number(record.slice(1, 1 + width)), bytes: body });
    } else if ("789".includes(kind)) ended = true;
  }
  if (!ended) throw new Malformed("the end record is missing");
  return pieces;
}

/** The lines of a text that is plain ASCII, without blanks around them; empty ones are left out. */
function* lines(file: Uint8Array): Generator<string> {
  let start = file[0] === 0xef && file[1] === 0xbb && file[2] === 0xbf ? 3 : 0;
  while (start < file.length) {
    let end = file.indexOf(NEWLINE, start);
    if (end < 0) end = file.length;
    if (end - start > 600) throw new Malformed("a line is longer than any record");
    const line = String.fromCharCode(...file.subarray(start, end)).replace(/^[\t\v\f\r ]+|[\t\v\f\r ]+$/g, "");
    if (line !== "") yield line;
    start = end + 1;
  }
}

function unhex(digits: string): Uint8Array | undefined {
  if (digits.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(digits)) return undefined;
  return Uint8Array.from({ length: digits.length / 2 }, (_, index) => Number.parseInt(digits.slice(2 * index, 2 * index + 2), 16));
}

function sum(bytes: Uint8Array): number {
  return bytes.reduce((total, byte) => total + byte, 0);
}

function number(bytes: Uint8Array): number {
  return bytes.reduce((total, byte) => total * 256 + byte, 0);
}
