// One image at a time: the next one is shown before the server has answered.

import { $, announce, focusView, formatPercent, make, makeKey, makeName, showProblem } from "./label_dom.js";
import { explainFailure, loadImage } from "./label_images.js";
import { describeGone, makeEnd, makeFailure } from "./label_stage.js";

const RETRY_MILLISECONDS = 3000;
const KIND_TAGS = { assign: "", unsure: "Not sure", skip: "Skipped" };

export class ImageView {
  constructor(app) {
    this.app = app;
    this.reset();
    $("suggestion").addEventListener("click", (event) => {
      this.accept();
      if (event.detail > 0) focusView();
    });
    for (const [id, action] of [
      ["undo", () => this.undo()],
      ["skip", () => this.answer("skip")],
      ["unsure", () => this.answer("unsure")],
      ["back", () => this.look(1)],
    ]) {
      $(id).addEventListener("click", (event) => {
        action();
        if (event.detail > 0) focusView();
      });
    }
    $("new-class").addEventListener("click", () => app.classes.startSearch("", true));
  }

  /** Forget what is shown, such as for another annotator. */
  reset() {
    this.current = null; // the image that is asked about
    this.queue = []; // the images after it
    this.recent = []; // answered images, newest first
    this.position = 0; // 0: the current image; i: the i-th newest answered one
    this.shown = null;
  }

  get isCorrecting() {
    return this.position > 0;
  }

  /** Return the image on the stage: the current one, or one of those that were answered. */
  get item() {
    return this.isCorrecting ? (this.recent[this.position - 1] ?? null) : this.current;
  }

  /** Take over the order of the server; the current image stays. */
  receive(state, pending) {
    const upcoming = state.upcoming.filter((item) => !pending.has(item.digest));
    if (this.app.listPending().size === 0) this.recent = state.recent;
    const answered = this.recent.find((item) => item.digest === this.current?.digest);
    if (answered && answered.kind !== "skip") this.current = null; // in another tab, or with a group
    this.current ??= upcoming[0] ?? null;
    this.queue = upcoming.filter((item) => item.digest !== this.current?.digest);
    for (const item of this.queue.slice(0, 8)) loadImage(item.digest);
    this.render();
  }

  /** Drop images that were answered together. */
  forget(digests) {
    const gone = new Set(digests);
    this.queue = this.queue.filter((item) => !gone.has(item.digest));
    if (this.current && gone.has(this.current.digest)) this.current = this.queue.shift() ?? null;
  }

  /** Ask again for an image whose answer the server refused. */
  takeBack(event) {
    const item = this.recent.find((other) => event.digests?.length === 1 && other.digest === event.digests[0]);
    if (!item || event.annotator !== this.app.annotator || event.kind === "resolve") return;
    this.recent = this.recent.filter((other) => other !== item);
    this.bringBack({ digest: item.digest, name: item.name, suggestion: item.suggestion });
  }

  /** Show an image whose answer was undone, before the one that was shown. */
  bringBack(item) {
    this.position = 0;
    if (this.current && this.current.digest !== item.digest) this.queue.unshift(this.current);
    this.current = item;
    this.queue = this.queue.filter((other) => other.digest !== item.digest);
    this.render();
  }

  assign(label) {
    this.answer("assign", label);
  }

  accept() {
    const suggestion = this.isCorrecting ? null : this.current?.suggestion;
    if (suggestion) this.answer("assign", suggestion.label);
    else if (this.current) announce("There is no suggestion for this image.");
  }

  answer(kind, label = "") {
    const { item } = this;
    if (item === null) return;
    const said = kind === "assign" ? `${label} assigned` : kind === "skip" ? "Skipped" : "Marked as not sure";
    this.app.send({ kind, digests: [item.digest], label });
    this.recent = this.recent.filter((other) => other.digest !== item.digest);
    this.recent.unshift({ ...item, kind, label });
    if (this.isCorrecting) {
      this.position = 0;
      this.render(`${said} instead.`);
      return;
    }
    this.current = this.queue.shift() ?? null;
    if (kind === "assign") this.app.classes.bump(label);
    this.render(`${said}.`);
    if (this.queue.length > 0) loadImage(this.queue[0].digest);
  }

  undo() {
    this.app.send({ kind: "undo" });
    if (!["one", "groups", "labels", "disagreements"].includes(this.app.view)) this.app.show("one");
  }

  /** Look back (1) at what was answered, or forward (-1). */
  look(step) {
    const position = Math.min(Math.max(this.position + step, 0), this.recent.length);
    if (position === this.position) return;
    this.position = position;
    this.render(this.isCorrecting ? "Answered before." : "Back at the next image.");
  }

  onKey(event, letter) {
    const actions = {
      ArrowLeft: () => this.look(1),
      ArrowRight: () => this.look(-1),
      ArrowDown: () => this.moveInClasses(1),
      ArrowUp: () => this.moveInClasses(-1),
      " ": () => this.accept(),
      "?": () => this.answer("unsure"),
      "/": () => this.app.classes.startSearch(),
    };
    const action = actions[event.key];
    if (action) action();
    else if (letter === "s") this.answer("skip");
    else if (letter === "n") this.app.classes.startSearch("", true);
    else if (/^\p{L}$/u.test(event.key)) this.app.classes.startSearch(event.key);
    else return false;
    return true;
  }

  moveInClasses(step) {
    const buttons = [...$("classes").querySelectorAll("li:not([hidden]) button")];
    if (buttons.length === 0) return;
    const at = buttons.indexOf(document.activeElement);
    const next = at < 0 ? (step > 0 ? 0 : buttons.length - 1) : at + step;
    if (next < 0) focusView();
    else buttons[Math.min(next, buttons.length - 1)].focus();
  }

  /** Show the image, its suggestion and its answer; say `sentence`, and what is shown now. */
  render(sentence = "") {
    const { item } = this;
    const isNew = (item?.digest ?? null) !== this.shown;
    if (isNew || item === null) this.showImage(item);
    this.shown = item?.digest ?? null;
    this.renderCaption(item);
    this.renderSuggestion(item);
    $("back").disabled = this.recent.length === 0;
    for (const id of ["skip", "unsure", "new-class"]) $(id).disabled = item === null;
    const answered = this.isCorrecting && item?.kind === "assign" ? item.label : null;
    this.app.classes.mark(answered, this.isCorrecting ? null : item?.suggestion?.label);
    if (this.app.view === "one" && (sentence || isNew)) announce(`${sentence} ${this.describe(item)}`.trim());
  }

  describe(item) {
    if (item === null) return this.describeEnd();
    if (this.isCorrecting) return `${item.name}: ${item.kind === "assign" ? item.label : KIND_TAGS[item.kind]}.`;
    const { suggestion } = item;
    const guess = suggestion ? `Suggestion ${suggestion.label}, ${formatPercent(suggestion.probability)}.` : "No suggestion.";
    return `Next: ${item.name}. ${guess}`;
  }

  describeEnd() {
    const { state } = this.app;
    if (this.app.listPending().size > 0) return "Waiting for the server.";
    if (state?.gone > 0) return describeGone(state);
    return "There are no more images for you.";
  }

  renderCaption(item) {
    $("stage-name").replaceChildren(item ? makeName(item.name) : "");
    const tag = $("stage-tag");
    const kind = this.isCorrecting ? (item?.kind === "assign" ? item.label : KIND_TAGS[item?.kind]) : "";
    tag.hidden = !kind;
    tag.replaceChildren(kind ? makeName(kind) : "");
  }

  renderSuggestion(item) {
    const button = $("suggestion");
    const note = $("no-suggestion");
    const suggestion = this.isCorrecting ? null : item?.suggestion;
    button.hidden = !suggestion;
    if (button.hidden && document.activeElement === button) focusView();
    if (suggestion) {
      const share = make("span", { className: "share", textContent: formatPercent(suggestion.probability) });
      button.replaceChildren(make("span", { className: "what", textContent: "Suggested" }), makeName(suggestion.label), share, makeKey("Space"));
    }
    note.hidden = Boolean(suggestion) || item === null;
    note.textContent = this.isCorrecting
      ? "You answered this one before: choose a class to correct it, or → to go on."
      : this.app.state.classes.length === 0
        ? "No class yet: type the name of the first one and press Enter."
        : this.app.state.model_note;
  }

  showImage(item) {
    const frame = $("frame");
    clearTimeout(this.retry);
    if (item === null) {
      frame.replaceChildren(makeEnd(this.app.state, this.app.listPending().size > 0));
      return;
    }
    const image = loadImage(item.digest);
    image.alt = item.name;
    frame.replaceChildren(image);
    image.ready.then(() => {
      if (image.dataset.failed && this.item?.digest === item.digest) this.showFailure(item);
    });
  }

  /** Say why an image is not shown; one that may come back is tried again. */
  async showFailure(item) {
    const failure = await explainFailure(item.digest);
    if (this.item?.digest !== item.digest) return;
    if (failure === null) {
      this.showImage(item);
      return;
    }
    const { title, card } = makeFailure(failure);
    $("frame").replaceChildren(card);
    announce(`${title}. ${failure.sentence}`);
    if (failure.isGone) this.retry = setTimeout(() => this.showImage(item), RETRY_MILLISECONDS);
    else if (!this.isCorrecting) this.retry = setTimeout(() => this.leaveOut(item), 1500);
  }

  /** Go on after an image that cannot be read. */
  leaveOut(item) {
    if (this.current?.digest !== item.digest) return;
    showProblem(`${item.name} cannot be read and is left out`);
    this.current = this.queue.shift() ?? null;
    this.render(`${item.name} is left out.`);
    this.app.refresh().catch(() => {});
  }
}
