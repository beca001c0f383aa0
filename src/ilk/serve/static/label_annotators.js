// Who labels: from the address, from this browser's storage, from the log, or asked.

import { request } from "./label_connection.js";
import { $, make, makeAvatar, makeName } from "./label_dom.js";

const STORED = "ilk-label-annotator";
const FIRST = "annotator 1";

/** Return the name of the person at this browser. */
export async function readAnnotator() {
  const fromAddress = new URLSearchParams(location.search).get("annotator")?.trim();
  if (fromAddress) return remember(fromAddress);
  const stored = readStored();
  if (stored) return stored;
  const known = await listKnown();
  if (known.length === 0) return remember(FIRST);
  return chooseAnnotator(known, "");
}

/** Ask for a name in a dialog; return it, or the current one if the dialog is cancelled. */
export function chooseAnnotator(known, current) {
  const dialog = $("annotator-dialog");
  const input = $("annotator-name");
  const names = known.map((annotator) => annotator.name);
  $("annotator-cancel").hidden = current === "";
  input.value = current;
  return new Promise((resolve) => {
    let chosen = current;
    const choose = (name) => {
      chosen = name.trim().normalize("NFC");
      dialog.close();
    };
    const buttons = names.map((name) =>
      make("button", { type: "button", onclick: () => choose(name) }, makeAvatar(name), makeName(name)),
    );
    $("known-annotators").replaceChildren(...buttons);
    $("annotator-cancel").onclick = () => dialog.close();
    $("annotator-form").onsubmit = (event) => {
      event.preventDefault();
      if (input.value.trim()) choose(input.value);
    };
    dialog.oncancel = (event) => {
      if (current === "") event.preventDefault();
    };
    dialog.onclose = () => {
      if (chosen === "") dialog.showModal();
      else resolve(remember(chosen));
    };
    dialog.showModal();
    input.select();
  });
}

async function listKnown() {
  try {
    return (await request("/label/api/annotators")).annotators;
  } catch {
    return [];
  }
}

function readStored() {
  try {
    return localStorage.getItem(STORED);
  } catch {
    return null;
  }
}

function remember(name) {
  try {
    localStorage.setItem(STORED, name);
  } catch {
    // forbidden: the name is asked for again
  }
  const address = new URL(location.href);
  if (address.searchParams.has("annotator")) {
    address.searchParams.set("annotator", name);
    history.replaceState(null, "", address);
  }
  return name;
}
