/**
 * JSON, read strictly. `JSON.parse` takes the last of two members of one name and turns 2^53+1 into 2^53; two readers that
 * understand one signed document differently are a hole.
 */

import { decodeUtf8 } from "./bytes.js";
import { Malformed } from "./errors.js";

export type Json = null | boolean | number | string | readonly Json[] | JsonObject;
export type JsonObject = { readonly [name: string]: Json };

const DEEPEST = 64;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const BLANKS = /[ \t\n\r]*/y;
// One string, as RFC 8259 has it; its escapes are left to JSON.parse, which knows them.
// eslint-disable-next-line no-control-regex
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;

/** The one object in these bytes. Throws Malformed. */
export function parseObject(bytes: Uint8Array): JsonObject {
  const reader = new Reader(decodeUtf8(bytes));
  const value = reader.whole();
  if (!isObject(value)) throw new Malformed("this is no JSON object");
  return value;
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

class Reader {
  private at = 0;

  constructor(private readonly text: string) {}

  whole(): Json {
    const value = this.value(0);
    this.blanks();
    if (this.at !== this.text.length) throw new Malformed("something follows the JSON");
    return value;
  }

  private value(depth: number): Json {
    if (depth > DEEPEST) throw new Malformed("this is nested too deeply");
    this.blanks();
    switch (this.text.charAt(this.at)) {
      case "{":
        return this.object(depth);
      case "[":
        return this.list(depth);
      case '"':
        return this.string();
      default:
        return this.word();
    }
  }

  private object(depth: number): JsonObject {
    // Without a prototype: a member called __proto__ is a member like any other.
    const found = Object.create(null) as { [name: string]: Json };
    this.at += 1;
    this.blanks();
    if (this.takes("}")) return found;
    do {
      this.blanks();
      const name = this.string();
      if (name in found) throw new Malformed("a member occurs twice");
      this.blanks();
      this.must(":");
      found[name] = this.value(depth + 1);
      this.blanks();
    } while (this.takes(","));
    this.must("}");
    return found;
  }

  private list(depth: number): readonly Json[] {
    const found: Json[] = [];
    this.at += 1;
    this.blanks();
    if (this.takes("]")) return found;
    do {
      found.push(this.value(depth + 1));
      this.blanks();
    } while (this.takes(","));
    this.must("]");
    return found;
  }

  private string(): string {
    return JSON.parse(this.match(STRING)) as string;
  }

  private word(): Json {
    for (const [word, value] of [
      ["null", null],
      ["true", true],
      ["false", false],
    ] as const) {
      if (this.text.startsWith(word, this.at)) {
        this.at += word.length;
        return value;
      }
    }
    const digits = this.match(NUMBER);
    const value = Number(digits);
    if (/[.eE]/.test(digits) || !Number.isSafeInteger(value)) throw new Malformed(`${digits} is no integer that every reader keeps`);
    return value === 0 ? 0 : value;
  }

  private match(pattern: RegExp): string {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (found === null) throw new Malformed("this is not JSON");
    this.at += found[0].length;
    return found[0];
  }

  private blanks(): void {
    BLANKS.lastIndex = this.at;
    this.at += BLANKS.exec(this.text)?.[0].length ?? 0;
  }

  private takes(character: string): boolean {
    if (this.text.charAt(this.at) !== character) return false;
    this.at += 1;
    return true;
  }

  private must(character: string): void {
    if (!this.takes(character)) throw new Malformed("this is not JSON");
  }
}

// Members of a known kind. All throw Malformed.

function member(holder: unknown, name: string): Json | undefined {
  return isObject(holder) && Object.prototype.hasOwnProperty.call(holder, name) ? holder[name] : undefined;
}

export function text(holder: unknown, name: string): string {
  const value = member(holder, name);
  if (typeof value !== "string") throw new Malformed(`${name} is no text`);
  return value;
}

export function integer(holder: unknown, name: string): number {
  const value = member(holder, name);
  if (typeof value !== "number") throw new Malformed(`${name} is no integer`);
  return value;
}

export function object(holder: unknown, name: string): JsonObject {
  const value = member(holder, name);
  if (!isObject(value)) throw new Malformed(`${name} is no object`);
  return value;
}

export function list(holder: unknown, name: string): readonly Json[] {
  const value = member(holder, name);
  if (!Array.isArray(value)) throw new Malformed(`${name} is no list`);
  return value as readonly Json[];
}

export function texts(holder: unknown, name: string): readonly string[] {
  return list(holder, name).map((value) => {
    if (typeof value !== "string") throw new Malformed(`${name} holds something else than text`);
    return value;
  });
}

/** The value, or null where it is null; it has to be there. */
export function orNull<T>(holder: unknown, name: string, read: (holder: unknown, name: string) => T): T | null {
  return member(holder, name) === null ? null : read(holder, name);
}

/** Seconds since 1970 of a time that is written YYYY-MM-DDTHH:MM:SSZ. */
export function moment(holder: unknown, name: string): number {
  return parseMoment(text(holder, name));
}

export function parseMoment(written: string): number {
  const parts = /^(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2}):(\d{2})Z$/.exec(written);
  if (parts === null) throw new Malformed("a time is not written as YYYY-MM-DDTHH:MM:SSZ");
  const [year, month, day, hour, minute, second] = parts.slice(1).map(Number) as [number, number, number, number, number, number];
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  date.setUTCHours(hour, minute, second);
  if (date.toISOString().slice(0, 19) !== written.slice(0, 19)) throw new Malformed("there is no such time");
  return date.getTime() / 1000;
}
