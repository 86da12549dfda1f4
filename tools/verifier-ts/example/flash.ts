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
  laterRoots: readonly Envelope[]; // those that held, kept: without a network, what a newer key signed needs them
  seenStatusVersion: number;
  newestStatus: Envelope | null;
}
interface Grant {
  readonly url: string;
  readonly release: Envelope;
  readonly ticket: Envelope;
}

/** The roots after the one that the app ships with: those that the phone has, and what came since. */
export async function laterRoots(api: Api, store: Store): Promise<Envelope[]> {
  const found = [...store.laterRoots];
  for (let version = store.shippedRootVersion + found.length + 1; ; version += 1) {
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
  const roots = await laterRoots(api, store);
  const verdict = await verifyFlash({
    pinnedRoot: store.shippedRoot,
    laterRoots: roots,
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
  if (verdict.code !== "bad_root") store.laterRoots = roots;
  store.seenStatusVersion = verdict.seenStatusVersion;
  if (verdict.code === "ok") await ecu.write(verdict.image);
  return verdict.code;
}

/** Works without a network: everything it needs is on the phone. */
export async function restore(ecu: Ecu, store: Store, restoreTicket: Envelope, file: Uint8Array): Promise<"ok" | RefusalCode> {
  const readout = await ecu.read();
  const { shippedRoot: pinnedRoot, laterRoots } = store;
  const verdict = verifyRestore({ pinnedRoot, laterRoots, restoreTicket, file, format: "BIN", readout, at: now() });
  if (verdict.code === "ok") await ecu.write(verdict.image);
  return verdict.code;
}

function now(): string {
  return `${new Date().toISOString().slice(0, 19)}Z`;
}
