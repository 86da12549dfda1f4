/** The vehicle in front of the phone. */

import { sha256 } from "@noble/hashes/sha2.js";

import { encodeUtf8, toHex } from "./bytes.js";
import { Refused } from "./errors.js";
import { text, type JsonObject } from "./json.js";

/** What the app read from the ECU just now, and what it knows of the vehicle. Missing and null: not known. */
export interface Readout {
  readonly hardware_number?: string | null;
  readonly calibration_id?: string | null;
  readonly image_size_bytes?: number | null;
  readonly vin?: string | null;
  readonly serial?: string | null;
  readonly frame_number?: string | null;
  /** What the maker gave the ECU: read before the first flash, and kept. */
  readonly stock_calibration_id?: string | null;
  /** Hexadecimal SHA-256 of the vehicle's own decoded stock image. */
  readonly stock_image_sha256?: string | null;
  readonly market?: string | null;
  readonly year?: number | null;
}

export interface Identity {
  readonly kind: string;
  readonly salt: string;
  readonly tag: string;
}

export function readIdentity(identity: JsonObject): Identity {
  return { kind: text(identity, "kind"), salt: text(identity, "salt"), tag: text(identity, "tag") };
}

/** Throws Refused (wrong_vehicle). With `mustReport` a serial or a stock image that the ticket goes by has to be there. */
export function checkIdentity(readout: Readout, identity: Identity, mustReport: boolean): void {
  const known = new Map([
    ["VIN", readout.vin],
    ["FRAME_NUMBER", readout.frame_number],
    ["ECU_SERIAL", readout.serial],
    ["STOCK_IMAGE", readout.stock_image_sha256],
  ]);
  if (!known.has(identity.kind)) throw new Refused("wrong_vehicle", "the kind of identity is not known");
  const value = known.get(identity.kind) ?? null;
  if (value === null) {
    if (mustReport && (identity.kind === "ECU_SERIAL" || identity.kind === "STOCK_IMAGE")) {
      throw new Refused("wrong_vehicle", `${identity.kind} was not reported`);
    }
    return;
  }
  if (toHex(sha256(encodeUtf8(identity.salt + value))) !== identity.tag) throw new Refused("wrong_vehicle", "this is another vehicle");
}
