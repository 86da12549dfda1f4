// The readers that take the place of what the platform would do more loosely.

import assert from "node:assert/strict";
import { test } from "node:test";

import { decodeBase64, decodeUtf8, encodeUtf8 } from "../dist/bytes.js";
import { Malformed } from "../dist/errors.js";
import { parseMoment, parseObject } from "../dist/json.js";

const parse = (text) => parseObject(new TextEncoder().encode(text));

test("objects are read as JSON.parse reads them", () => {
  for (const text of ['{}', ' { "a" : [ 1 , -2 , true , false , null , "\\u00e9\\n\\"" ] } ', '{"a":{"b":[[],{}]}}', '{"é":"日本 🏍"}', '{"n":9007199254740991}']) {
    assert.deepEqual(JSON.parse(JSON.stringify(parse(text))), JSON.parse(text));
  }
});

test("what two readers could understand differently is refused", () => {
  const refused = [
    '{"a":1,"a":1}', '{"a":1.0}', '{"a":1e2}', '{"a":9007199254740992}', '{"a":NaN}', '{"a":01}', '{"a":+1}', '{"a":1,}', '[1]', '1', '',
    '{"a":"\t"}', "{'a':1}", '{"a":1}{}', '{"a":"\\x"}', '{"a"', '{a:1}', '\ufeff{}', `{"a":${"[".repeat(100)}${"]".repeat(100)}}`,
  ];
  for (const text of refused) assert.throws(() => parse(text), Malformed, text);
});

test("a member called __proto__ is a member", () => {
  assert.equal(Object.getPrototypeOf(parse('{"__proto__":{"x":1}}')), null);
  assert.throws(() => parse('{"__proto__":1,"__proto__":2}'), Malformed);
});

test("UTF-8 goes there and back, and nothing else does", () => {
  for (const text of ["", "abc", "é", "日本", "🏍", "\u0000\u007f\u0080\u07ff\u0800\uffff"]) {
    assert.deepEqual(encodeUtf8(text), new TextEncoder().encode(text));
    assert.equal(decodeUtf8(encodeUtf8(text)), text);
  }
  for (const bytes of [[0xff], [0xc0, 0x80], [0xe0, 0x80, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xc3], [0x80]]) {
    assert.throws(() => decodeUtf8(Uint8Array.from(bytes)), Malformed);
  }
});

test("base64 has one spelling", () => {
  for (let length = 0; length < 40; length += 1) {
    const bytes = Uint8Array.from({ length }, (_, index) => (index * 37 + length) & 0xff);
    assert.deepEqual(decodeBase64(Buffer.from(bytes).toString("base64")), bytes);
  }
  for (const text of ["A", "AA", "AAA", "AB==", "AAB=", "A A=", "AA==\n", "-_==", "====", "AA=A", 7, null]) {
    assert.throws(() => decodeBase64(text), Malformed, String(text));
  }
});

test("times are those that exist", () => {
  assert.equal(parseMoment("2026-06-01T12:00:00Z"), 1_780_315_200);
  assert.equal(parseMoment("2028-02-29T23:59:59Z"), Date.UTC(2028, 1, 29, 23, 59, 59) / 1000);
  for (const text of ["2026-02-29T00:00:00Z", "2026-06-01T24:00:00Z", "2026-06-01T12:00:60Z", "2026-6-1T12:00:00Z", "2026-06-01 12:00:00Z"]) {
    assert.throws(() => parseMoment(text), Malformed, text);
  }
});
