// Corrections: "this is an owl", taking them back, saving them as a version, and going back.

import { make, request, say, warn } from "./base.js";

const byId = (id) => document.getElementById(id);
let afterChange = async () => {};

/** Show what is pending, and let the buttons work; `changed` is called when the model changes. */
export async function startCorrections(changed) {
  afterChange = changed;
  byId("save").addEventListener("click", save);
  byId("withdraw-all").addEventListener("click", () => withdraw("/corrections", "All corrections are undone."));
  try {
    show(await request("/corrections"));
    await showVersions();
  } catch (error) {
    warn(error);
  }
}

/** Ask which class the image of a card has. */
export function showCorrectionForm(card, changed) {
  const id = `class-${Math.random().toString(36).slice(2)}`;
  const input = make("input", { id, type: "text", list: "classes", required: true, maxlength: "200",
    autocomplete: "off", "aria-describedby": `${id}-hint` });
  const button = make("button", { type: "submit", class: "primary" }, "Correct");
  const cancel = make("button", { type: "button", onclick: close }, "Cancel");
  const form = make("form", { class: "correction" },
    make("label", { for: id }, "This is …"), input,
    make("p", { id: `${id}-hint`, class: "muted small" }, "A known class, or the name of a new one."),
    make("div", { class: "row" }, button, cancel));
  function close() {
    form.remove();
    card.element.focus();
  }
  form.addEventListener("keydown", (event) => { if (event.key === "Escape") close(); });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    const body = new FormData();
    body.append("image", card.file, card.name);
    body.append("label", input.value);
    const startedAt = performance.now();
    try {
      const result = await request("/corrections", { method: "POST", body });
      const seconds = ((performance.now() - startedAt) / 1000).toFixed(2);
      close();
      show(result);
      say(`${result.change.sentence} It took ${seconds} s.`);
      await changed();
    } catch (error) {
      button.disabled = false;
      warn(error);
      await refresh();  // another server may have corrected it
    }
  });
  card.more.replaceChildren(form);
  input.focus();
}

/** Show what is pending now; the message of what went wrong stays. */
async function refresh() {
  try {
    show(await request("/corrections"));
  } catch {
    // the message says why the server cannot be asked
  }
}

function show(result) {
  const n = result.pending.length;
  const { change } = result;
  byId("change").textContent = change
    ? [change.sentence, ...change.warnings.map((text) => `${text}.`)].join(" ")
    : "There are no corrections to save.";
  byId("set-aside").textContent = result.set_aside;
  byId("pending").replaceChildren(...result.pending.map((one) =>
    make("li", {}, make("span", {}, `${one.name} is ${one.label}`),
      make("button", { type: "button", "aria-label": `Undo: ${one.name} is ${one.label}`,
        onclick: () => withdraw(`/corrections/${one.number}`, "Undone.") }, "Undo"))));
  byId("correction-actions").hidden = n === 0;
  byId("corrections").hidden = n === 0 && !result.set_aside && byId("versions").children.length < 2;
}

async function withdraw(path, text) {
  try {
    show(await request(path, { method: "DELETE" }));
    say(text);
    await afterChange();
  } catch (error) {
    warn(error);
  }
}

async function save() {
  byId("save").disabled = true;
  try {
    const { number } = await request("/versions", { method: "POST" });
    await showVersions();
    show(await request("/corrections"));
    say(`Saved as version ${number}, which is in use now.`);
    byId("corrections-heading").tabIndex = -1;
    byId("corrections-heading").focus();
    await afterChange();
  } catch (error) {
    warn(error);
    await refresh();
  } finally {
    byId("save").disabled = false;
  }
}

async function restore(number) {
  try {
    await request(`/versions/${number}`, { method: "POST" });
    await showVersions();
    show(await request("/corrections"));
    say(`Version ${number} is in use now.`);
    await afterChange();
  } catch (error) {
    warn(error);
  }
}

async function showVersions() {
  const { versions } = await request("/versions");
  byId("versions").replaceChildren(...versions.map((version) => {
    const what = version.added ? `, added ${version.added}` : "";
    const text = `Version ${version.number}: ${version.classes} classes${what} (${version.created})`;
    return make("li", {}, make("span", {}, text), version.current
      ? make("span", { class: "badge good" }, "in use")
      : make("button", { type: "button", "aria-label": `Restore version ${version.number}`,
        onclick: () => restore(version.number) }, "Restore"));
  }));
  byId("versions-box").hidden = versions.length < 2;
  if (versions.length > 1) byId("corrections").hidden = false;
}
