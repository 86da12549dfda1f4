/** May this file be flashed, or put back? The check of docs/trust.md. */

export { verifyFlash, type FlashDocuments, type FlashQuestion, type FlashVerdict } from "./flash.js";
export { verifyRestore, type RestoreDocuments, type RestoreQuestion } from "./restore.js";
export type { Envelope } from "./envelope.js";
export type { RefusalCode, Verdict, Warning } from "./errors.js";
export type { Json, JsonObject } from "./json.js";
export type { Format } from "./image.js";
export type { Readout } from "./vehicle.js";
