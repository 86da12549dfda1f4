"use strict";

// The token stands in the fragment, which is never sent to a server. A press opens it, so that no preview of a messenger counts a use.

const page = document.getElementById("rescue");
const part = (id) => document.getElementById(id);
const token = decodeURIComponent(window.location.hash.slice(1));

function say(text) {
  part("trouble").textContent = text;
  part("trouble").hidden = false;
}

function show(id, text) {
  part(id).textContent = text;
}

function offer(id, document) {
  part(id).href = `data:application/json;charset=utf-8,${encodeURIComponent(JSON.stringify(document))}`;
}

async function open() {
  const answer = await fetch(page.dataset.endpoint, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ token }),
    credentials: "omit",
    referrerPolicy: "no-referrer",
  });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.detail);
  const { vehicle, stock_file: file } = body;
  show("vehicle", `${vehicle.make} ${vehicle.model} ${vehicle.year}`);
  show("hardware_number", vehicle.hardware_number);
  show("calibration_id", file.calibration_id);
  show("size", `${file.size_bytes.toLocaleString()} bytes (${file.format})`);
  show("sha256", file.sha256);
  show("until", `The download works until ${new Date(file.url_expires_at).toLocaleTimeString()}. After that, open the code again.`);
  part("image").href = file.url;
  offer("ticket", body.restore_ticket);
  offer("root", body.root);
  part("ask").hidden = true;
  part("found").hidden = false;
}

part("open").addEventListener("click", async () => {
  part("open").disabled = true;
  part("trouble").hidden = true;
  try {
    await open();
  } catch (trouble) {
    say(trouble instanceof TypeError ? "There is no connection. Try again." : trouble.message);
    part("open").disabled = false;
  }
});

if (token) part("ask").hidden = false;
else say("This address has no code. Scan it again, or ask the owner for a new one.");
