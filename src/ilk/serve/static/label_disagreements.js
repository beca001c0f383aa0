// Images to which annotators gave different classes: one after the other, to be decided.

import { describeAgreements } from "./label_agreement.js";
import { request } from "./label_connection.js";
import { $, announce, count, make, makeAvatar, makeKey, makeName, showProblem } from "./label_dom.js";
import { loadImage } from "./label_images.js";

export class DisagreementsView {
  constructor(app) {
    this.app = app;
    this.items = [];
    this.at = 0;
  }

  async open() {
    try {
      const answer = await request("/label/api/disagreements");
      this.items = answer.items;
      this.agreements = answer.agreements;
      this.at = Math.min(this.at, Math.max(this.items.length - 1, 0));
      this.render();
    } catch (error) {
      showProblem(error.message || "The disagreements could not be read; the server does not answer");
    }
  }

  get item() {
    return this.items[this.at] ?? null;
  }

  /** The classes to choose from, in the order of the other views, so that a digit means one class. */
  listChoices() {
    const names = this.app.state.classes.map((entry) => entry.name);
    const given = this.item.labels.map((entry) => entry.label);
    return [...new Set([...names, ...given])];
  }

  resolve(label) {
    const { item } = this;
    this.app.send({ kind: "resolve", digests: [item.digest], label });
    this.items.splice(this.at, 1);
    if (this.at >= this.items.length) this.at = 0;
    announce(`${item.name} resolved as ${label}. ${count(this.items.length, "disagreement")} left.`);
    this.render();
    $("disagreements-title").focus();
  }

  afterAnswer(event) {
    if (event.kind === "undo") this.open();
  }

  move(step) {
    if (this.items.length === 0) return;
    this.at = (this.at + step + this.items.length) % this.items.length;
    this.render();
    announce(this.describe());
  }

  onDigit(digit) {
    if (this.item === null) return false;
    const label = this.listChoices()["1234567890".indexOf(digit)];
    if (label === undefined) return false;
    this.resolve(label);
    return true;
  }

  onKey(event, letter) {
    if (event.key === "ArrowRight" || letter === "s") this.move(1);
    else if (event.key === "ArrowLeft") this.move(-1);
    else return false;
    return true;
  }

  describe() {
    const { item } = this;
    return `${item.name}. ${item.labels.map((entry) => `${entry.annotator}: ${entry.label}`).join(". ")}.`;
  }

  render() {
    const content = [describeAgreements(this.agreements)];
    const { item } = this;
    if (item === null) {
      content.push(make("p", { className: "quiet", textContent: "There is no disagreement to resolve." }));
    } else {
      content.push(make("p", { className: "quiet", textContent: `${this.at + 1} of ${count(this.items.length, "disagreement")}` }), this.#makeCase(item));
    }
    $("disagreements-content").replaceChildren(...content);
  }

  #makeCase(item) {
    const image = loadImage(item.digest);
    image.alt = item.name;
    const votes = item.labels.map((entry) =>
      make("li", {}, makeAvatar(entry.annotator), make("span", { className: "who" }, makeName(entry.annotator)), makeName(entry.label)),
    );
    const choices = this.listChoices();
    const given = new Set(item.labels.map((entry) => entry.label));
    const buttons = choices.map((name, i) =>
      make(
        "li",
        {},
        make(
          "button",
          { type: "button", className: given.has(name) ? "class suggested" : "class", onclick: () => this.resolve(name), "aria-keyshortcuts": "1234567890"[i] ?? null },
          "1234567890"[i] ? makeKey("1234567890"[i]) : "",
          makeName(name),
        ),
      ),
    );
    return make(
      "div",
      { className: "one" },
      make("figure", { className: "stage" }, make("div", { className: "frame" }, image), make("figcaption", {}, makeName(item.name))),
      make(
        "div",
        { className: "choice-column" },
        make("ul", { className: "votes", "aria-label": "What was answered" }, ...votes),
        make("h3", { textContent: "The right class" }),
        make("ul", { className: "classes", "aria-label": "The right class" }, ...buttons),
        make("div", { className: "row" }, make("button", { type: "button", onclick: () => this.move(1) }, "Decide later ", makeKey("s"))),
      ),
    );
  }
}
