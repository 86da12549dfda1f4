/** Where a check said no. `ok` is no refusal. An app shows its own text for each. */
export type RefusalCode =
  | "bad_root"
  | "expired_root"
  | "bad_signature"
  | "rollback"
  | "expired_status"
  | "app_version_blocked"
  | "recalled"
  | "on_hold"
  | "expired_ticket"
  | "wrong_channel"
  | "wrong_device"
  | "tampered"
  | "wrong_ecu"
  | "wrong_vehicle"
  | "stock_backup_required";

export type Warning = "expired_root" | "expired_ticket";

/**
 * What came out. `why` is for a log, in English; warnings stop nothing. With "ok" comes what was verified: write `image` and no other
 * bytes, and take what you need from `documents`, instead of decoding file or envelopes a second time.
 */
export type Verdict<Documents> =
  | { readonly code: "ok"; readonly image: Uint8Array; readonly documents: Documents; readonly warnings: readonly Warning[] }
  | { readonly code: RefusalCode; readonly why: string; readonly warnings: readonly Warning[] };

/** The answer is no. Never leaves this package: the two functions that are public return a verdict. */
export class Refused extends Error {
  constructor(
    readonly code: RefusalCode,
    readonly why: string,
  ) {
    super(`${code}: ${why}`);
  }
}

/** A document is not what the format allows; the check that reads it turns this into its own code. */
export class Malformed extends Error {}

/** Run a reader; what is malformed in it is refused with this code. */
export function refusing<T>(code: RefusalCode, document: string, read: () => T): T {
  try {
    return read();
  } catch (trouble) {
    if (trouble instanceof Malformed) throw new Refused(code, `${document}: ${trouble.message}`);
    throw trouble;
  }
}
