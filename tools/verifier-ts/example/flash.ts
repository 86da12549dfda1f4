/**
 * How an app uses it. `api` is your own client of our API, `ecu` your own link to the ECU, `store` what the phone keeps.
 * Compiled with the tests, so that it stays true.
 */

import { verifyFlash, verifyRestore, type Envelope, type Readout, type RefusalCode } from "@revsync/verifier";

interface Api {
  status(): Promise<Envelope>;
  root(version: number): Promise<Envelope | null>; // GET trust/root/{n}/, null for 404
  open(url: string): AsyncIterable<Uint8Array>;
}
interface Ecu {
  read(): Promise<Readout>;
  write(image: Uint8Array): Promise<void>;
}
interface Store {
  readonly shippedRoot: Envelope;
  readonly shippedRootVersion: number;
  seenStatusVersion: number;
  newestStatus: Envelope | null;
}
interface Grant {
  readonly url: string;
  readonly release: Envelope;
  readonly ticket: Envelope;
}

/** The roots after the one that the app ships with. Offline there are none, and the shipped one has to do. */
export async function laterRoots(api: Api, store: Store): Promise<Envelope[]> {
  const found: Envelope[] = [];
  for (let version = store.shippedRootVersion + 1; ; version += 1) {
    const root = await api.root(version).catch(() => null);
    if (root === null) return found;
    found.push(root);
  }
}

/** Writes what was verified, and nothing when a check says no. */
export async function flash(
  api: Api,
  ecu: Ecu,
  store: Store,
  grant: Grant,
  appVersion: string,
  hasWayBack: boolean,
): Promise<"ok" | RefusalCode> {
  store.newestStatus = await api.status().catch(() => store.newestStatus);
  const verdict = await verifyFlash({
    pinnedRoot: store.shippedRoot,
    laterRoots: await laterRoots(api, store),
    status: store.newestStatus,
    seenStatusVersion: store.seenStatusVersion,
    appVersion,
    release: grant.release,
    ticket: grant.ticket,
    file: api.open(grant.url),
    readout: await ecu.read(),
    hasWayBack,
    at: now(),
  });
  store.seenStatusVersion = verdict.seenStatusVersion;
  if (verdict.code === "ok") await ecu.write(verdict.image);
  return verdict.code;
}

/** Works without a network: everything it needs is on the phone. */
export async function restore(ecu: Ecu, store: Store, restoreTicket: Envelope, file: Uint8Array): Promise<"ok" | RefusalCode> {
  const readout = await ecu.read();
  const verdict = verifyRestore({ pinnedRoot: store.shippedRoot, restoreTicket, file, format: "BIN", readout, at: now() });
  if (verdict.code === "ok") await ecu.write(verdict.image);
  return verdict.code;
}

function now(): string {
  return `${new Date().toISOString().slice(0, 19)}Z`;
}
