/** The checks before a flash, in the order of docs/trust.md. */

import { sha256 } from "@noble/hashes/sha2.js";

import { concat, toHex } from "./bytes.js";
import { openEnvelope, type Envelope } from "./envelope.js";
import { Malformed, Refused, refusing, type Verdict } from "./errors.js";
import { decodeImage } from "./image.js";
import { integer, list, moment, object, orNull, parseMoment, text, texts, type JsonObject } from "./json.js";
import { walkRoots, type Root } from "./root.js";
import { checkIdentity, readIdentity, type Identity, type Readout } from "./vehicle.js";

const LARGEST_FILE_BYTES = 16 * 1024 * 1024;
const CHANNEL_OF_ROLE = { release: "public", test_release: "test" } as const;

export interface FlashQuestion {
  /** The root that the app ships with, and its successors from `trust/root/{n}/`, in their order. */
  readonly pinnedRoot: Envelope;
  readonly laterRoots?: readonly Envelope[];
  /** The newest status document that could be reached, and the highest version that this phone ever saw. */
  readonly status: Envelope;
  readonly seenStatusVersion: number;
  readonly appVersion: string;
  /** `release` and `ticket` of the download grant. */
  readonly release: Envelope;
  readonly ticket: Envelope;
  /** Thumbprint of the phone's own key, if it has one. */
  readonly deviceKey?: string | null;
  /** The file as it comes in. Reading stops as soon as it is longer than was signed. */
  readonly file: Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
  readonly readout: Readout;
  /** The stock image is saved, or its owner accepted that there is none. */
  readonly hasWayBack: boolean;
  /** Now, as YYYY-MM-DDTHH:MM:SSZ. */
  readonly at: string;
}

/** The payloads of release and ticket, for the report and what is shown. */
export interface FlashDocuments {
  readonly release: JsonObject;
  readonly ticket: JsonObject;
}

/** `seenStatusVersion` is the highest one that is known now, whatever the answer: keep it for the next question. */
export type FlashVerdict = Verdict<FlashDocuments> & { readonly seenStatusVersion: number };

/** Whether the file may be written to the ECU. Never throws for what is in the documents or the file. */
export async function verifyFlash(question: FlashQuestion): Promise<FlashVerdict> {
  const now = parseMoment(question.at);
  let { seenStatusVersion } = question;
  try {
    const root = walkRoots(question.pinnedRoot, question.laterRoots ?? []);
    if (now >= root.expiresAt) throw new Refused("expired_root", "a newer root is needed");
    const status = readStatus(question.status, root);
    if (status.version < seenStatusVersion) throw new Refused("rollback", "a newer status document was seen");
    if (now >= status.expiresAt) throw new Refused("expired_status", "a newer status document is needed");
    seenStatusVersion = status.version;
    checkApp(question.appVersion, status);
    const release = readRelease(question.release, root, status);
    checkStops(release, status);
    const ticket = readTicket(question.ticket, root, status);
    checkTicket(ticket, release, status, question.deviceKey ?? null, now);
    const image = await checkFile(question.file, release);
    checkEcu(question.readout, release, ticket);
    checkIdentity(question.readout, ticket.identity, true);
    if (!question.hasWayBack) throw new Refused("stock_backup_required", "save the stock image first, or accept that there is none");
    const documents = { release: release.payload, ticket: ticket.payload };
    return { code: "ok", image, documents, warnings: [], seenStatusVersion };
  } catch (refusal) {
    if (refusal instanceof Refused) return { code: refusal.code, why: refusal.why, warnings: [], seenStatusVersion };
    throw refusal;
  }
}

interface Status {
  readonly version: number;
  readonly expiresAt: number;
  readonly stopped: readonly { readonly id: string; readonly sha256: string; readonly state: string }[];
  readonly floorOf: (tune: string) => number;
  readonly minApp: string;
  readonly blockedAppVersions: readonly string[];
  readonly revokedKeyids: readonly string[];
}

function readStatus(envelope: Envelope, root: Root): Status {
  return refusing("bad_signature", "status", () => {
    const { payload } = openEnvelope(envelope, "status", root, "status");
    const floors = object(payload, "counter_floors");
    return {
      version: integer(payload, "version"),
      expiresAt: moment(payload, "expires_at"),
      stopped: list(payload, "stopped").map((stop) => ({ id: text(stop, "id"), sha256: text(stop, "sha256"), state: text(stop, "state") })),
      floorOf: (tune) => (Object.prototype.hasOwnProperty.call(floors, tune) ? integer(floors, tune) : 0),
      minApp: text(payload, "min_app"),
      blockedAppVersions: texts(payload, "blocked_app_versions"),
      revokedKeyids: texts(payload, "revoked_keyids"),
    };
  });
}

function checkApp(version: string, status: Status): void {
  const mine = numbersOf(version);
  const needed = numbersOf(status.minApp);
  if (mine === undefined || needed === undefined || isBelow(mine, needed) || status.blockedAppVersions.includes(version)) {
    throw new Refused("app_version_blocked", `at least ${status.minApp} is needed`);
  }
}

/** [1, 4, 0] of "1.4.0" and "1.4"; what follows a hyphen or a plus does not count. */
function numbersOf(version: string): readonly number[] | undefined {
  const core = version.split(/[-+]/, 1)[0] ?? "";
  if (!/^[0-9]{1,6}(\.[0-9]{1,6}){0,2}$/.test(core)) return undefined;
  return `${core}.0.0`.split(".").slice(0, 3).map(Number);
}

function isBelow(one: readonly number[], other: readonly number[]): boolean {
  const first = one.findIndex((value, index) => value !== other[index]);
  return first >= 0 && (one[first] ?? 0) < (other[first] ?? 0);
}

interface Fitment {
  readonly markets: readonly string[];
  readonly hardwareNumbers: readonly string[];
  readonly calibrationIds: readonly string[];
  readonly imageSizeBytes: number;
  readonly yearFrom: number;
  readonly yearTo: number;
}

interface Release {
  readonly payload: JsonObject;
  readonly body: Uint8Array;
  readonly role: "release" | "test_release";
  readonly channel: string;
  readonly tuneFileId: string;
  readonly counter: number | null;
  readonly floor: number;
  readonly file: { readonly sizeBytes: number; readonly sha256: string; readonly format: string };
  readonly image: { readonly base: number; readonly sizeBytes: number; readonly sha256: string };
  readonly fitments: readonly Fitment[];
  readonly replacesCalibrationIds: readonly string[];
}

function readRelease(envelope: Envelope, root: Root, status: Status): Release {
  return refusing("bad_signature", "release", () => {
    let role: Release["role"] = "release";
    let opened;
    try {
      opened = openEnvelope(envelope, "tune-release", root, role, status.revokedKeyids);
    } catch (trouble) {
      if (!(trouble instanceof Malformed)) throw trouble;
      role = "test_release";
      opened = openEnvelope(envelope, "tune-release", root, role, status.revokedKeyids);
    }
    const { body, payload } = opened;
    const file = object(payload, "file");
    const image = object(payload, "image");
    const counter = orNull(payload, "release_counter", integer);
    if (role === "release" && counter === null) throw new Malformed("the counter is missing");
    return {
      payload,
      body,
      role,
      channel: text(payload, "channel"),
      tuneFileId: text(payload, "tune_file_id"),
      counter,
      floor: status.floorOf(text(payload, "tune_id")),
      file: { sizeBytes: integer(file, "size_bytes"), sha256: text(file, "sha256"), format: text(file, "format") },
      image: { base: integer(image, "base"), sizeBytes: integer(image, "size_bytes"), sha256: text(image, "sha256") },
      fitments: list(payload, "fitments").map((row) => ({
        markets: texts(row, "markets"),
        hardwareNumbers: texts(row, "hardware_numbers"),
        calibrationIds: texts(row, "calibration_ids"),
        imageSizeBytes: integer(row, "image_size_bytes"),
        yearFrom: integer(row, "year_from"),
        yearTo: integer(row, "year_to"),
      })),
      replacesCalibrationIds: texts(payload, "replaces_calibration_ids"),
    };
  });
}

function checkStops(release: Release, status: Status): void {
  const states = status.stopped.filter((stop) => stop.id === release.tuneFileId || stop.sha256 === release.file.sha256).map((stop) => stop.state);
  // a state of a later format is worse than a hold until it is known
  if (states.some((state) => state !== "on_hold")) throw new Refused("recalled", "this release must not be flashed any more");
  if (states.length > 0) throw new Refused("on_hold", "this release must not be flashed for now");
  if (release.counter !== null && release.counter < release.floor) {
    throw new Refused("rollback", `releases of this tune below ${release.floor} are no longer flashed`);
  }
}

interface Ticket {
  readonly payload: JsonObject;
  readonly expiresAt: number;
  readonly channel: string;
  readonly deviceKey: string | null;
  readonly statusVersionMin: number;
  readonly releasePayloadSha256: string;
  readonly fileSha256: string;
  readonly fileSizeBytes: number;
  readonly ecu: { readonly hardwareNumber: string; readonly calibrationId: string; readonly imageSizeBytes: number };
  readonly identity: Identity;
}

function readTicket(envelope: Envelope, root: Root, status: Status): Ticket {
  return refusing("bad_signature", "ticket", () => {
    const { payload } = openEnvelope(envelope, "flash-ticket", root, "ticket", status.revokedKeyids);
    const ecu = object(payload, "ecu");
    return {
      payload,
      expiresAt: moment(payload, "expires_at"),
      channel: text(payload, "channel"),
      deviceKey: orNull(payload, "device_key", text),
      statusVersionMin: integer(payload, "status_version_min"),
      releasePayloadSha256: text(payload, "release_payload_sha256"),
      fileSha256: text(payload, "file_sha256"),
      fileSizeBytes: integer(payload, "file_size_bytes"),
      ecu: {
        hardwareNumber: text(ecu, "hardware_number"),
        calibrationId: text(ecu, "calibration_id"),
        imageSizeBytes: integer(ecu, "image_size_bytes"),
      },
      identity: readIdentity(object(payload, "identity")),
    };
  });
}

function checkTicket(ticket: Ticket, release: Release, status: Status, deviceKey: string | null, now: number): void {
  if (now >= ticket.expiresAt) throw new Refused("expired_ticket", "ask for a new ticket");
  if (status.version < ticket.statusVersionMin) throw new Refused("rollback", "the ticket wants a newer status document");
  if (ticket.channel !== release.channel || release.channel !== CHANNEL_OF_ROLE[release.role]) {
    throw new Refused("wrong_channel", "release, ticket and the role that signed must be of one channel");
  }
  if (ticket.deviceKey !== null && ticket.deviceKey !== deviceKey) throw new Refused("wrong_device", "this ticket is for another phone");
  if (
    ticket.releasePayloadSha256 !== toHex(sha256(release.body)) ||
    ticket.fileSha256 !== release.file.sha256 ||
    ticket.fileSizeBytes !== release.file.sizeBytes
  ) {
    throw new Refused("tampered", "release and ticket speak of different files");
  }
}

async function checkFile(chunks: FlashQuestion["file"], release: Release): Promise<Uint8Array> {
  const { sizeBytes, sha256: expected, format } = release.file;
  const hash = sha256.create();
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of chunks) {
    length += chunk.length;
    if (length > Math.min(sizeBytes, LARGEST_FILE_BYTES)) throw new Refused("tampered", "the file is longer than it was signed");
    hash.update(chunk);
    parts.push(chunk);
  }
  if (length !== sizeBytes || toHex(hash.digest()) !== expected) throw new Refused("tampered", "the file is not the one that was signed");
  const image = refusing("tampered", "file", () => decodeImage(concat(parts), format));
  const signed = release.image;
  if (image.base !== signed.base || image.bytes.length !== signed.sizeBytes || toHex(sha256(image.bytes)) !== signed.sha256) {
    throw new Refused("tampered", "the image in the file is not the one that was signed");
  }
  return image.bytes;
}

function checkEcu(readout: Readout, release: Release, ticket: Ticket): void {
  const { ecu } = ticket;
  if (
    readout.hardware_number !== ecu.hardwareNumber ||
    readout.calibration_id !== ecu.calibrationId ||
    readout.image_size_bytes !== ecu.imageSizeBytes
  ) {
    throw new Refused("wrong_ecu", "this is not the ECU, or not the software, that the ticket was given for: read it again");
  }
  if (!release.fitments.some((row) => fits(readout, row, release.replacesCalibrationIds))) {
    throw new Refused("wrong_ecu", "no single fitment has this hardware number, calibration and image size together");
  }
  if (release.image.sizeBytes !== ecu.imageSizeBytes) throw new Refused("wrong_ecu", "the image is not as large as the ECU's");
}

function fits(readout: Readout, row: Fitment, replaced: readonly string[]): boolean {
  const { hardware_number: hardware, calibration_id: calibration, stock_calibration_id: stock } = readout;
  if (!includes(row.hardwareNumbers, hardware) || readout.image_size_bytes !== row.imageSizeBytes) return false;
  const market = readout.market ?? null;
  if (market !== null && row.markets.length > 0 && !row.markets.includes(market)) return false;
  const year = readout.year ?? null;
  if (year !== null && (year < row.yearFrom || year > row.yearTo)) return false;
  if (includes(row.calibrationIds, calibration)) return true;
  // The ECU carries a version of this very tune: then the calibration that the maker gave it tells which file is right.
  return includes(replaced, calibration) && includes(row.calibrationIds, stock);
}

function includes(values: readonly string[], value: string | null | undefined): boolean {
  return typeof value === "string" && values.includes(value);
}
