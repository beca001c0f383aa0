// The page that asks the model: choosing images, answers, and what the keys do.

import { formatPercent, make, request, say, warn } from "./base.js";
import { closeCamera, openCamera } from "./camera.js";
import { collectFiles } from "./dropped.js";
import { showCorrectionForm, startCorrections } from "./correct.js";
import { explain } from "./explain.js";

const AT_ONCE = 4; // requests that are under way
const MAX_SHOWN = 300; // answers on the page
const byId = (id) => document.getElementById(id);
const MAX_NAMED = 12; // classes under the heading
const waiting = [];
const cards = [];
let model = null;
let nRunning = 0;
let nSaid = 0; // answers that have been announced

async function showModel() {
  try {
    model = await request("/model");
  } catch (error) {
    warn(error);
    return;
  }
  byId("model-name").textContent = model.name;
  const n = model.classes.length;
  byId("model-facts").textContent =
    `${n.toLocaleString("en")} ${model.kind === "multi-label" ? "labels" : "classes"} ` +
    `(${model.classes.slice(0, MAX_NAMED).join(", ")}${n > MAX_NAMED ? ", …" : ""}) · ` +
    `${model.encoder} · loaded ${model.loaded}`;
  byId("model-note").textContent = model.note;
  byId("model-note").hidden = !model.note;
  byId("classes").replaceChildren(...model.classes.map((name) => make("option", { value: name })));
}

function addFiles(files) {
  const room = MAX_SHOWN - cards.length;
  const chosen = files.slice(0, Math.max(0, room));
  for (const file of chosen) {
    const card = makeCard(file);
    cards.push(card);
    waiting.push(card);
    byId("answers").append(card.element);
  }
  if (files.length > chosen.length) {
    warn(`${files.length - chosen.length} images were left out: the page shows ${MAX_SHOWN} at most. ` +
      "For many images, use: ilk predict");
  }
  if (!files.length) say("No image was found in that.");
  showCount();
  run();
}

function makeCard(file) {
  const url = URL.createObjectURL(file);
  const image = make("img", { src: url, alt: "", loading: "lazy" });
  const picture = make("div", { class: "picture" }, image);
  image.addEventListener("error", () => {
    picture.replaceChildren(make("div", { class: "none muted small" }, "no preview"));
  });
  const answer = make("div", { class: "text" }, make("p", { class: "muted" }, "Waiting …"));
  const rest = make("div", { class: "rest" });
  const more = make("div", { class: "more" });
  const element = make("li", { class: "panel answer", tabindex: "-1" }, picture, answer, rest, more);
  const label = make("p", { class: "file muted small" }, file.webkitRelativePath || file.name || "pasted image");
  return { file, url, element, answer, rest, more, label, name: label.textContent };
}

function run() {
  while (nRunning < AT_ONCE && waiting.length) ask(waiting.shift());
}

async function ask(card) {
  nRunning += 1;
  try {
    const form = new FormData();
    form.append("image", card.file, card.name);
    const answer = await request("/predict", { method: "POST", body: form });
    showAnswer(card, answer.predictions[0], answer.seconds);
  } catch (error) {
    if ((error.status === 503 || error.status === 429) && !card.isRetried) {
      card.isRetried = true;
      setTimeout(() => { waiting.push(card); run(); }, 1500);
    } else {
      showFailure(card, error.message);
    }
  } finally {
    nRunning -= 1;
    showCount();
    run();
  }
}

function showAnswer(card, prediction, seconds) {
  card.prediction = prediction;
  card.isDone = true;
  card.hasFailed = false;
  const isMulti = prediction.names !== undefined;
  const name = isMulti ? prediction.names.join(", ") || "no label" : prediction.name;
  const title = make("h3", {}, name);
  const parts = [card.label, title];
  if (!isMulti) parts.push(make("p", {}, `${formatPercent(prediction.probability)} probable`));
  if (prediction.unknown) {
    parts.push(make("p", { class: "warn" }, make("span", { class: "badge" }, "unknown"),
      " unlike the images that the model was trained on"));
  }
  if (!isMulti && prediction.set) parts.push(make("p", {}, describeSet(prediction)));
  if (prediction.median) parts.push(make("p", {}, `Median of the order: ${prediction.median}`));
  if (prediction.note) parts.push(make("p", { class: "muted small" }, prediction.note));
  card.answer.replaceChildren(...parts);
  const bars = make("div", { class: "bars" });
  for (const { name: other, probability } of prediction.top) {
    bars.append(make("span", {}, other),
      make("progress", { max: "1", value: String(probability), "aria-label": `Probability of ${other}` }),
      make("span", {}, formatPercent(probability)));
  }
  const time = prediction.seconds;
  const cost = `${format(1000 * seconds)} ms: decoding ${format(1000 * time.decoding)}, ` +
    `waiting ${format(1000 * time.waiting)}, model ${format(1000 * time.model)}`;
  const why = make("button", { type: "button", "aria-label": `Why ${name}? Explain ${card.name}`,
    onclick: () => explain(card) }, "Why?");
  const buttons = [why];
  if (model && model.correctable) {
    buttons.push(make("button", { type: "button", "aria-label": `Correct the answer for ${card.name}`,
      onclick: () => showCorrectionForm(card, askAgain) }, "Correct"));
  }
  card.rest.replaceChildren(bars, make("p", { class: "muted small" }, cost),
    make("div", { class: "row" }, ...buttons));
  card.element.setAttribute("aria-label", `${card.name}: ${name}`);
  card.summary = `${card.name}: ${name}${isMulti ? "" : `, ${formatPercent(prediction.probability)}`}` +
    (prediction.unknown ? ", unknown" : "");
}

function describeSet(prediction) {
  const rate = model && model.coverage ? `${Math.round(100 * model.coverage)} % set` : "Set";
  return `${rate}: ${prediction.set.length ? prediction.set.join(", ") : "empty, no class is probable enough"}`;
}

function format(milliseconds) {
  return milliseconds >= 10 ? milliseconds.toFixed(0) : milliseconds.toFixed(1);
}

function showFailure(card, message) {
  card.isDone = true;
  card.hasFailed = true;
  card.summary = `${card.name}: ${message}`;
  card.answer.replaceChildren(card.label, make("p", { class: "bad" }, message));
  card.rest.replaceChildren();
}

function showCount() {
  const nDone = cards.filter((card) => card.isDone).length;
  byId("answers-head").hidden = cards.length === 0;
  byId("count").textContent = nDone < cards.length ? `${nDone} of ${cards.length}` : `${cards.length}`;
  if (nDone === nSaid) return; // asked once more: what changed is said already
  nSaid = nDone;
  if (!cards.length) return;
  if (cards.length === 1 && nDone === 1) say(cards[0].summary);
  else if (nDone === cards.length) say(describeDone());
  else if (nDone % 10 === 0 && nDone) say(`${nDone} of ${cards.length} images are answered.`);
}

function describeDone() {
  const nFailed = cards.filter((card) => card.hasFailed).length;
  const nAnswered = cards.length - nFailed;
  const answered = `${nAnswered} ${nAnswered === 1 ? "image is" : "images are"} answered`;
  return nFailed ? `${answered}, ${nFailed} ${nFailed === 1 ? "is" : "are"} not.` : `${answered}.`;
}

/** Ask once more about all images on the page, after the model has changed. */
async function askAgain() {
  await showModel();
  for (const card of cards) {
    if (card.prediction && !waiting.includes(card)) waiting.push(card);
  }
  run();
}

function clear() {
  for (const card of cards) URL.revokeObjectURL(card.url);
  cards.length = 0;
  waiting.length = 0;
  byId("answers").replaceChildren();
  showCount();
  say("Cleared.");
  byId("choose-files").focus();
}

function takeFiles(input) {
  const files = [...input.files].filter((file) => !file.name.startsWith("."));
  input.value = "";
  addFiles(files);
}

const drop = byId("drop");
for (const type of ["dragenter", "dragover"]) {
  document.addEventListener(type, (event) => { event.preventDefault(); drop.classList.add("over"); });
}
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
document.addEventListener("drop", async (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  addFiles(await collectFiles(event.dataTransfer, MAX_SHOWN + 1));
});
document.addEventListener("paste", (event) => {
  const files = [...event.clipboardData.files];
  if (files.length) { event.preventDefault(); addFiles(files); }
});
byId("choose-files").addEventListener("click", () => byId("files").click());
byId("choose-folder").addEventListener("click", () => byId("folder").click());
byId("open-camera").addEventListener("click", () => openCamera(addFiles));
byId("close-camera").addEventListener("click", closeCamera);
byId("clear").addEventListener("click", clear);
for (const id of ["files", "folder", "capture"]) byId(id).addEventListener("change", (event) => takeFiles(event.target));

// Keys act on the answer that has the focus, so that they never disturb a screen reader's own.
byId("answers").addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input")) return;
  const index = cards.findIndex((card) => card.element.contains(event.target));
  const card = cards[index];
  if (!card) return;
  if (event.key === "j" || event.key === "k") {
    const next = cards[index + (event.key === "j" ? 1 : -1)];
    if (next) { next.element.focus(); if (next.summary) say(next.summary); }
  } else if (event.key === "e" && card.prediction) explain(card);
  else if (event.key === "c" && card.prediction && model && model.correctable) showCorrectionForm(card, askAgain);
  else return;
  event.preventDefault();
});
byId("answers-heading").addEventListener("keydown", (event) => {
  if (event.key === "j" && cards.length) cards[0].element.focus();
});

await showModel();
await startCorrections(askAgain);
