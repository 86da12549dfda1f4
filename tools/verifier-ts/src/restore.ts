/** The checks before a restore. Age only warns: nobody's way home ends because a phone was offline. */

import { sha256 } from "@noble/hashes/sha2.js";

import { toHex } from "./bytes.js";
import { openEnvelope, type Envelope } from "./envelope.js";
import { Refused, refusing, type Verdict, type Warning } from "./errors.js";
import { decodeImage, type Format } from "./image.js";
import { integer, moment, object, parseMoment, text, type JsonObject } from "./json.js";
import { walkRoots } from "./root.js";
import { checkIdentity, readIdentity, type Readout } from "./vehicle.js";

export interface RestoreQuestion {
  readonly pinnedRoot: Envelope;
  readonly laterRoots?: readonly Envelope[];
  /** `restore_ticket` of the stock file, as the phone kept it. */
  readonly restoreTicket: Envelope;
  readonly file: Uint8Array;
  readonly format: Format;
  readonly readout: Readout;
  /** Now, as YYYY-MM-DDTHH:MM:SSZ. */
  readonly at: string;
}

/** The payload of the restore ticket. */
export interface RestoreDocuments {
  readonly restoreTicket: JsonObject;
}

/** Whether the stock image may be written back. Never throws for what is in the documents or the file. */
export function verifyRestore(question: RestoreQuestion): Verdict<RestoreDocuments> {
  const now = parseMoment(question.at);
  const warnings: Warning[] = [];
  try {
    const root = walkRoots(question.pinnedRoot, question.laterRoots ?? []);
    if (now >= root.expiresAt) warnings.push("expired_root");
    const ticket = refusing("bad_signature", "restore ticket", () => {
      const { payload } = openEnvelope(question.restoreTicket, "restore-ticket", root, "restore");
      return {
        payload,
        expiresAt: moment(payload, "expires_at"),
        hardwareNumber: text(payload, "hardware_number"),
        imageSha256: text(payload, "image_sha256"),
        imageSizeBytes: integer(payload, "image_size_bytes"),
        identity: readIdentity(object(payload, "identity")),
      };
    });
    if (now >= ticket.expiresAt) warnings.push("expired_ticket");
    const { bytes } = refusing("tampered", "file", () => decodeImage(question.file, question.format));
    if (bytes.length !== ticket.imageSizeBytes || toHex(sha256(bytes)) !== ticket.imageSha256) {
      throw new Refused("tampered", "this is not the stock image that was saved");
    }
    const { readout } = question;
    if (readout.hardware_number !== ticket.hardwareNumber) throw new Refused("wrong_ecu", "the image is another ECU's");
    const size = readout.image_size_bytes ?? null;
    if (size !== null && size !== ticket.imageSizeBytes) throw new Refused("wrong_ecu", "the image is not as large as the ECU's");
    // What is in the ECU now is no stock image: an identity by it can't be compared, and must not stop the way back.
    checkIdentity({ ...readout, stock_image_sha256: null }, ticket.identity, false);
    return { code: "ok", image: bytes, documents: { restoreTicket: ticket.payload }, warnings };
  } catch (refusal) {
    if (refusal instanceof Refused) return { code: refusal.code, why: refusal.why, warnings };
    throw refusal;
  }
}
