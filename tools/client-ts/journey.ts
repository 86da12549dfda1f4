// A rider's journey, played with nothing but the generated client, the mails and `demo.json`:
//
//     node build/journey.js --base-url http://127.0.0.1:8000 --data-dir ../../.data
//
// Ends with status 1 at the first step that is not as promised.
import { createHash, randomUUID } from "node:crypto";
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

import { connect, need, refusal, type Tokens } from "./client.js";
import {
  addVehicle,
  changeMyProfile,
  completeUpload,
  createDownload,
  createPurchase,
  createTuneReview,
  getMeta,
  getPurchase,
  getPurchaseReceipt,
  getTune,
  getTuneFitment,
  getUpload,
  listDownloads,
  listModels,
  listTunerReviews,
  listTunes,
  listTuneVersions,
  recordEcuReadout,
  refreshTokens,
  register,
  reportFlash,
  saveStockFile,
  startUpload,
  updateVehicle,
  verifyEmail,
  type Grant,
  type Market,
  type Meta,
  type Purchase,
  type PurchaseInput,
  type TuneRow,
  type UploadPurpose,
  type Vehicle,
} from "./generated/index.js";

const WAIT_MS = 90_000;

/** What `demo/stock/index.json` says of an image: what the app would read out of the ECU. */
interface StockImage {
  file: string;
  make: string;
  model: string;
  year: number;
  market: Market;
  hardware_number: string;
  calibration_id: string;
  image_size_bytes: number;
  journey: boolean;
}

const { values: options } = parseArgs({
  options: { "base-url": { type: "string", default: "http://127.0.0.1:8000" }, "data-dir": { type: "string", default: "../../.data" } },
});
const baseUrl = options["base-url"] ?? "";
const dataDir = options["data-dir"] ?? "";

const tokens: Tokens = {};
let calls = 0;
connect(baseUrl, tokens, (call, status) => {
  calls += 1;
  console.log(`${call}  →  ${status}`);
});

function check(promise: string, kept: boolean): void {
  console.log(`       ${kept ? "✓" : "✗"} ${promise}`);
  if (!kept) throw new Error(promise);
}

/** Ask until there is an answer. */
async function waitFor<Found>(what: string, probe: () => Promise<Found | undefined>): Promise<Found> {
  const deadline = Date.now() + WAIT_MS;
  while (Date.now() < deadline) {
    const found = await probe();
    if (found !== undefined) return found;
    await sleep(300);
  }
  throw new Error(`${what} did not happen within ${WAIT_MS / 1000} s`);
}

function idempotent(): { "Idempotency-Key": string } {
  return { "Idempotency-Key": randomUUID() };
}

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

async function codeFromMail(address: string): Promise<string> {
  const directory = join(dataDir, "mail");
  return waitFor(`a mail with a code for ${address}`, async () => {
    for (const name of await readdir(directory)) {
      const text = await readFile(join(directory, name), "utf8");
      const code = text.includes(address) ? /^\s*([0-9]{6})\s*$/m.exec(text)?.[1] : undefined;
      if (code !== undefined) return code;
    }
    return undefined;
  });
}

async function signUp(): Promise<Meta> {
  const meta = await need(getMeta());
  const address = `journey.${randomUUID().slice(0, 12)}@revsync.example`;
  const challenge = await need(
    register({
      body: {
        email: address,
        password: `four calm words ${randomUUID().slice(0, 8)}`,
        display_name: "Typed Rider",
        terms_version: meta.texts.terms.version,
      },
    }),
  );
  const session = await need(
    verifyEmail({
      body: {
        challenge_id: challenge.challenge_id,
        code: await codeFromMail(address),
        device: { installation_id: randomUUID(), name: "Typed phone", platform: "android", app_version: "1.0.0" },
      },
    }),
  );
  Object.assign(tokens, { access: session.access, refresh: session.refresh });
  check("the account is mine, and a rider's", session.user.email === address && session.user.role === "RIDER");
  const renewed = await need(refreshTokens({ body: { refresh: session.refresh } }));
  Object.assign(tokens, renewed);
  const profile = await need(changeMyProfile({ body: { country: "DE", experience_level: "INTERMEDIATE" } }));
  check("the profile took both", profile.country === "DE" && profile.experience_level === "INTERMEDIATE");
  return meta;
}

async function chooseStockImage(): Promise<StockImage> {
  const index = JSON.parse(await readFile(join(dataDir, "demo", "stock", "index.json"), "utf8")) as StockImage[];
  const stock = index.find((image) => image.journey);
  if (stock === undefined) throw new Error("the demo data has no stock image for the journey");
  return stock;
}

async function fillGarage(stock: StockImage): Promise<Vehicle> {
  const models = await need(
    listModels({ query: { make: stock.make, q: stock.model.toLowerCase().replaceAll("-", "") } }),
  );
  check("the catalogue knows the model, however it is spelt", models.results.some((row) => row.model === stock.model));
  const vehicle = await need(
    addVehicle({
      headers: idempotent(),
      body: {
        id: randomUUID(),
        kind: "MOTORCYCLE",
        make: stock.make,
        model: stock.model,
        year: stock.year,
        market: stock.market,
        nickname: "Commuter",
        fuel: { octane: 98, scale: "RON" },
      },
    }),
  );
  check("it is found in the catalogue", vehicle.catalog_status === "MATCHED" && vehicle.ecu === null);
  const ecu = await need(
    recordEcuReadout({
      path: { vehicle: vehicle.id },
      body: {
        hardware_number: stock.hardware_number,
        calibration_id: stock.calibration_id,
        serial: `T${randomUUID().slice(0, 12).toUpperCase()}`,
        image_size_bytes: stock.image_size_bytes,
        read_at: new Date().toISOString(),
      },
    }),
  );
  check("the read-out is there, with nothing of ours installed", ecu.calibration_id === stock.calibration_id && ecu.installed === null);
  const stale = await refusal(
    updateVehicle({
      path: { vehicle: vehicle.id }, headers: { "If-Match": '"999"' },
      body: { nickname: "Too late" },
    }),
  );
  check("an edit of what has changed meanwhile is refused", stale.code === "stale_revision");
  return vehicle;
}

interface Offers {
  free: TuneRow;
  paid: TuneRow;
}

async function browse(vehicle: Vehicle, stock: StockImage): Promise<Offers> {
  const page = await need(
    listTunes({
      query: { make: stock.make, model: stock.model, year: stock.year, vehicle: vehicle.id, page_size: 100 },
    }),
  );
  const matching = page.results.filter((tune) => tune.fitment?.verdict === "match");
  const free = matching.find((tune) => tune.price_minor === 0);
  const paid = matching.find((tune) => tune.price_minor > 0);
  if (free === undefined || paid === undefined) throw new Error("there is no free and no paid tune that match");
  const detail = await need(getTune({ path: { tune: free.id } }));
  check("the detail says what I have of it: nothing", detail.viewer !== null && detail.viewer?.purchase_id === null);
  const verdict = await need(
    getTuneFitment({ path: { tune: paid.id }, query: { vehicle: vehicle.id } }),
  );
  check("the verdict has no reasons against it", verdict.verdict === "match" && verdict.reasons.length === 0);
  await need(listTuneVersions({ path: { tune: paid.id } }));
  await need(listTunerReviews({ path: { tuner: paid.tuner.id } }));
  return { free, paid };
}

function wish(tune: TuneRow, vehicle: Vehicle, meta: Meta): PurchaseInput {
  return {
    tune: tune.id,
    vehicle: vehicle.id,
    expected_price_minor: tune.price_minor,
    currency: tune.currency,
    attestation: { text_version: meta.texts.attestation.version, accepted: true },
  };
}

function buy(body: PurchaseInput) {
  return createPurchase({ headers: idempotent(), body });
}

async function download(purchase: Purchase, vehicle: Vehicle): Promise<Grant> {
  const grant = await need(
    createDownload({
      path: { purchase: purchase.id }, headers: idempotent(),
      body: { vehicle: vehicle.id },
    }),
  );
  const file = new Uint8Array(await (await fetch(grant.url)).arrayBuffer());
  check("the file has the size and the hash that were promised", file.length === grant.size_bytes && sha256(file) === grant.sha256);
  check("and they are the file's own", grant.file.sha256 === grant.sha256 && grant.file.size_bytes === grant.size_bytes);
  return grant;
}

async function upload(purpose: UploadPurpose, name: string, content: Uint8Array<ArrayBuffer>): Promise<string> {
  const begun = await need(
    startUpload({
      headers: idempotent(),
      body: { purpose, name, size_bytes: content.length, sha256: sha256(content), content_type: "application/octet-stream" },
    }),
  );
  if (begun.upload === null) throw new Error("the upload has no link");
  const put = await fetch(begun.upload.url, { method: begun.upload.method, headers: begun.upload.headers, body: content });
  check("the storage takes the bytes", put.status === 200);
  await need(completeUpload({ path: { upload: begun.id } }));
  await waitFor("the check of the upload", async () => {
    const seen = await need(getUpload({ path: { upload: begun.id } }));
    if (seen.status === "REFUSED") throw new Error(`the upload was refused: ${JSON.stringify(seen.reasons)}`);
    return seen.status === "READY" ? seen : undefined;
  });
  return begun.id;
}

/** Take the free tune, keep the stock file, flash. */
async function flash(meta: Meta, tune: TuneRow, vehicle: Vehicle, stock: StockImage): Promise<void> {
  const purchase = await need(buy(wish(tune, vehicle, meta)));
  check("a free tune is paid at once", purchase.status === "PAID" && purchase.payment === null && purchase.license?.state === "UNBOUND");
  const unsafe = await download(purchase, vehicle);
  check("no ticket without a saved stock file", unsafe.ticket === null && unsafe.ticket_blockers.includes("stock_backup_required"));

  const content = new Uint8Array(await readFile(join(dataDir, "demo", "stock", stock.file)));
  const stockFile = await need(
    saveStockFile({
      path: { vehicle: vehicle.id }, headers: idempotent(),
      body: { upload_id: await upload("STOCK_FILE", stock.file, content) },
    }),
  );
  check("the stock file has a way back: a restore ticket", stockFile.restore_ticket.signatures.length > 0);
  const again = await refusal(
    saveStockFile({
      path: { vehicle: vehicle.id }, headers: idempotent(),
      body: { upload_id: await upload("STOCK_FILE", stock.file, content) },
    }),
  );
  check("the same one again is refused, and says which", again.code === "stock_file_exists" && again.stock_file_id === stockFile.id);

  const grant = await download(purchase, vehicle);
  if (grant.ticket === null) throw new Error(`there is no ticket: ${grant.ticket_blockers.join(", ")}`);
  const ticket = JSON.parse(Buffer.from(grant.ticket.payload, "base64").toString("utf8")) as { ticket_id: string };
  const report = await need(
    reportFlash({
      body: {
        id: randomUUID(),
        ticket_id: ticket.ticket_id,
        outcome: "SUCCEEDED",
        ecu_before: { hardware_number: stock.hardware_number, calibration_id: stock.calibration_id },
        ecu_after: { hardware_number: stock.hardware_number, calibration_id: grant.file.calibration_id_after ?? "" },
        app_version: "1.0.0",
        flashed_at: new Date().toISOString(),
      },
    }),
  );
  check("the license is bound to this bike", report.license_state === "BOUND");
}

/** Buy the paid tune, pay on the stand-in's page, download and review. */
async function payAndReview(meta: Meta, tune: TuneRow, vehicle: Vehicle): Promise<void> {
  const refused = await refusal(buy(wish(tune, vehicle, meta)));
  check("with a tune in the ECU something must be acknowledged", refused.code === "acknowledgement_required");
  const purchase = await need(buy({ ...wish(tune, vehicle, meta), acknowledged_reasons: refused.required_reasons ?? [] }));
  const page = purchase.payment?.sandbox_url;
  if (page === undefined || page === null) throw new Error("there is no page to pay on");
  check("it waits for the payment", purchase.status === "PENDING" && (await fetch(page)).status === 200);
  const paid = await fetch(page, { method: "POST", body: new URLSearchParams({ outcome: "succeed" }) });
  check("the page takes the payment", paid.status === 200);
  const settled = await waitFor("the webhook's work", async () => {
    const seen = await need(getPurchase({ path: { purchase: purchase.id } }));
    return seen.status === "PAID" ? seen : undefined;
  });
  const receipt = await need(
    getPurchaseReceipt({ path: { purchase: purchase.id } }),
  );
  check("the receipt has the amount that was shown", receipt.amount_minor === tune.price_minor && receipt.currency === tune.currency);
  await download(settled, vehicle);
  const trail = await need(
    listDownloads({ path: { purchase: purchase.id } }),
  );
  check("the trail has the download", trail.results[0]?.outcome === "GRANTED");
  const review = await need(
    createTuneReview({
      path: { tuner: tune.tuner.id }, headers: idempotent(),
      body: { tune: tune.id, rating: 5, text: "Pulls cleanly from 3,000 rpm, and the throttle is finally smooth." },
    }),
  );
  check("the review stands", review.rating === 5);
  const owned = await refusal(buy(wish(tune, vehicle, meta)));
  check("buying it again is refused, and says what I have", owned.code === "already_owned" && owned.purchase_id === purchase.id);
}

const began = Date.now();
const stock = await chooseStockImage();
const meta = await signUp();
const vehicle = await fillGarage(stock);
const { free, paid } = await browse(vehicle, stock);
await flash(meta, free, vehicle, stock);
await payAndReview(meta, paid, vehicle);
console.log(`\nThe whole journey: ${calls} calls in ${((Date.now() - began) / 1000).toFixed(1)} s, everything as promised.`);
