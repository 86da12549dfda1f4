// The package must go into a phone: it bundles for a platform that has neither Node's modules nor a browser's, and works from there.

import assert from "node:assert/strict";
import vm from "node:vm";

import { build } from "esbuild";

const { outputFiles } = await build({
  entryPoints: ["dist/index.js"],
  bundle: true,
  minify: true,
  write: false,
  platform: "neutral",
  format: "iife",
  globalName: "revsync",
  target: "es2020",
  mainFields: ["module", "main"],
});
const [{ text }] = outputFiles;
const context = vm.createContext({ Uint8Array, crypto: undefined });
vm.runInContext(text, context);
assert.equal(vm.runInContext("typeof revsync.verifyFlash + typeof revsync.verifyRestore", context), "functionfunction");
const answer = await vm.runInContext('revsync.verifyFlash({ at: "2026-06-01T12:00:00Z", pinnedRoot: null, laterRoots: [] })', context);
assert.equal(answer.code, "bad_root");
console.log(`bundle: ${(text.length / 1024).toFixed(1)} KiB, works without Node's and the browser's globals`);
