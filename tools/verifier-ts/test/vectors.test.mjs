// Every vector of docs/vectors, and what must hold whatever the vector.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { verifyFlash, verifyRestore } from "../dist/index.js";

const directory = fileURLToPath(new URL("../../../docs/vectors/", import.meta.url));
const vectors = readdirSync(directory)
  .filter((name) => /^\d+.*\.json$/.test(name))
  .map((name) => [name, JSON.parse(readFileSync(directory + name, "utf8"))]);

function* chunks(data) {
  for (let start = 0; start < data.length; start += 1000) yield new Uint8Array(data.subarray(start, start + 1000));
}

export async function judge({ check, input }) {
  const common = { pinnedRoot: input.pinned_root, laterRoots: input.later_roots, readout: input.readout, at: input.at };
  const file = Buffer.from(input.file, "base64");
  if (check === "restore") {
    return verifyRestore({ ...common, restoreTicket: input.restore_ticket, file: new Uint8Array(file), format: input.format });
  }
  return verifyFlash({
    ...common,
    status: input.status,
    seenStatusVersion: input.seen_status_version,
    appVersion: input.app_version,
    release: input.release,
    ticket: input.ticket,
    deviceKey: input.device_key,
    hasWayBack: input.has_way_back,
    file: chunks(file),
  });
}

for (const [name, vector] of vectors) {
  test(name, async () => {
    const { code, warnings, why } = await judge(vector);
    assert.deepEqual({ code, warnings }, vector.expected, `${vector.why} (${why})`);
  });
}

test("a good verdict brings the image and the documents that were verified, any other nothing", async () => {
  for (const [name, vector] of vectors) {
    const { code, image, documents } = await judge(vector);
    if (code !== "ok") {
      assert.ok(image === undefined && documents === undefined, name);
      continue;
    }
    const signed = vector.check === "restore" ? documents.restoreTicket.image_sha256 : documents.release.image.sha256;
    assert.equal(createHash("sha256").update(image).digest("hex"), signed, name);
    if (vector.check !== "restore") assert.equal(documents.ticket.file_sha256, documents.release.file.sha256, name);
  }
});

test("there are vectors at all", () => assert.ok(vectors.length >= 100));

test("garbage in the place of any document is a code, never a crash", async () => {
  const [, good] = vectors[0];
  for (const garbage of [null, undefined, 7, "", [], {}, { payloadType: 1, payload: 2, signatures: 3 }, { signatures: [null] }]) {
    for (const name of ["pinned_root", "status", "release", "ticket"]) {
      const { code } = await judge({ check: "flash", input: { ...good.input, [name]: garbage } });
      assert.equal(code, name === "pinned_root" ? "bad_root" : "bad_signature");
    }
  }
});

test("the status that was seen is told whatever the answer, and only when it was believed", async () => {
  for (const [name, version] of [["good", 1780313000], ["recalled", 1780313000], ["status-edited", 0], ["root-one-signature", 0]]) {
    const vector = vectors.find(([, { name: own }]) => own === name)[1];
    assert.equal((await judge(vector)).seenStatusVersion, version, name);
  }
});

test("a file that never ends is not read to its end", async () => {
  const [, good] = vectors[0];
  let given = 0;
  function* endless() {
    while (given < 1e9) {
      given += 65_536;
      yield new Uint8Array(65_536);
    }
  }
  const input = good.input;
  const { code } = await verifyFlash({
    pinnedRoot: input.pinned_root,
    status: input.status,
    seenStatusVersion: 0,
    appVersion: input.app_version,
    release: input.release,
    ticket: input.ticket,
    hasWayBack: true,
    file: endless(),
    readout: input.readout,
    at: input.at,
  });
  assert.equal(code, "tampered");
  assert.ok(given <= 65_536);
});
