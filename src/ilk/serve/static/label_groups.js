// Suggested groups: look at the thumbnails, untick what does not belong, accept the rest with one key.

import { request } from "./label_connection.js";
import { $, announce, count, focusView, formatPercent, imageAddress, make, makeKey, makeName, showProblem } from "./label_dom.js";

const MOST_SHOWN = 48; // nothing is accepted that was not shown
const THUMBNAIL_SIZE = 256;

export class GroupsView {
  constructor(app) {
    this.app = app;
    this.groups = null;
    this.at = 0;
    this.ticked = new Set();
    this.accepted = []; // what was assigned here, so that an undo brings it back at once
  }

  async open() {
    if (this.groups === null) $("groups-content").replaceChildren(make("p", { className: "quiet", textContent: "Looking for groups of similar images, which takes some seconds the first time…" }));
    try {
      const answer = await request("/label/api/groups");
      this.groups = answer.groups;
      this.note = answer.note;
      this.at = 0;
      this.start();
    } catch (error) {
      showProblem(error.message || "The groups could not be read; the server does not answer");
    }
  }

  get group() {
    return this.groups?.[this.at] ?? null;
  }

  get items() {
    return this.group?.items.slice(0, MOST_SHOWN) ?? [];
  }

  /** Begin with a group: everything is ticked. */
  start(sentence = "") {
    this.ticked = new Set(this.items.map((item) => item.digest));
    this.render(sentence);
    if (this.app.view === "groups") (this.#thumbnails()[0] ?? $("groups-title")).focus();
  }

  #thumbnails() {
    return [...$("groups-content").querySelectorAll(".thumbnail")];
  }

  assign(label) {
    const digests = this.items.map((item) => item.digest).filter((digest) => this.ticked.has(digest));
    if (digests.length === 0) {
      announce("Nothing is ticked.");
      showProblem("Nothing is ticked: tick at least one image, or press s for the next group");
      return;
    }
    this.app.send({ kind: "assign", digests, label });
    this.app.views.one.forget(digests);
    const labelled = new Set(digests);
    this.accepted.push({ ...this.group, items: this.group.items.filter((item) => labelled.has(item.digest)) });
    const left = this.group.items.filter((item) => !labelled.has(item.digest));
    if (left.length > 0 && this.group.items.length > MOST_SHOWN) this.group.items = left;
    else this.groups.splice(this.at, 1);
    if (this.at >= this.groups.length) this.at = 0;
    this.start(`${count(digests.length, "image")} assigned to ${label}.`);
  }

  /** Accept the group under the name in its field. */
  accept() {
    const name = $("group-name")?.value.trim().normalize("NFC");
    if (!name) {
      showProblem("This group has no name yet: type one, or press the key of a class");
      $("group-name")?.focus();
      return;
    }
    this.assign(name);
  }

  move(step) {
    if (!this.groups?.length) return;
    this.at = (this.at + step + this.groups.length) % this.groups.length;
    this.start();
  }

  /** After an undo, the images of a group are open again. */
  afterAnswer(event, answer) {
    if (event.kind !== "undo" || !answer.undone) return;
    const group = this.accepted.pop();
    const undone = new Set(answer.undone.items.map((item) => item.digest));
    if (group && this.groups && group.items.length === undone.size && group.items.every((item) => undone.has(item.digest))) {
      this.groups.splice(this.at, 0, group);
      this.start(`Undone: ${answer.undone.sentence}`);
    } else this.open();
  }

  /** Groups may come once the model has learned. */
  afterRefresh() {
    if (this.groups !== null && this.groups.length === 0) this.open();
  }

  takesKeyOnControl(event) {
    return event.key === "Enter" && event.target.classList.contains("thumbnail");
  }

  onKey(event, letter) {
    const arrows = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.#countColumns(), ArrowUp: -this.#countColumns() };
    if (event.key in arrows) this.#moveFocus(arrows[event.key]);
    else if (event.key === "Enter") this.accept();
    else if (event.key === "PageDown" || letter === "s") this.move(1);
    else if (event.key === "PageUp") this.move(-1);
    else if (event.key === "a") this.tickAll();
    else if (letter === "n" || event.key === "/") $("group-name")?.select();
    else return false;
    return true;
  }

  tickAll() {
    const isAll = this.ticked.size === this.items.length;
    this.ticked = new Set(isAll ? [] : this.items.map((item) => item.digest));
    this.update();
    announce(isAll ? "All unticked." : "All ticked.");
  }

  #countColumns() {
    const [first, ...others] = this.#thumbnails();
    if (!first) return 1;
    const next = others.findIndex((other) => other.offsetTop > first.offsetTop);
    return next < 0 ? others.length + 1 : next + 1;
  }

  #moveFocus(step) {
    const thumbnails = this.#thumbnails();
    const at = thumbnails.indexOf(document.activeElement);
    thumbnails[Math.min(Math.max(at < 0 ? 0 : at + step, 0), thumbnails.length - 1)]?.focus();
  }

  toggle(digest) {
    if (!this.ticked.delete(digest)) this.ticked.add(digest);
    this.update();
  }

  describe() {
    const { group } = this;
    if (group === null) return this.note || "No group of similar unlabelled images is left.";
    const guess = group.suggestion ? `Suggested ${group.suggestion.label}.` : "No name suggested.";
    return `Group ${this.at + 1} of ${this.groups.length}, ${count(group.items.length, "image")}. ${guess}`;
  }

  update() {
    for (const button of this.#thumbnails()) {
      button.setAttribute("aria-pressed", this.ticked.has(button.dataset.digest));
    }
    const accept = $("group-accept");
    accept.firstElementChild.textContent = `Accept ${count(this.ticked.size, "image")}`;
    accept.disabled = this.ticked.size === 0;
  }

  render(sentence = "") {
    announce(`${sentence} ${this.describe()}`.trim());
    const content = $("groups-content");
    const { group } = this;
    if (group === null) {
      content.replaceChildren(
        make("p", { className: "quiet", textContent: this.describe() }),
        make("p", {}, make("a", { href: "#one", textContent: "Label single images" })),
      );
      return;
    }
    content.replaceChildren(this.#makeHead(group), this.#makeGrid(), this.#makeClasses());
    this.update();
  }

  #makeHead(group) {
    const { suggestion } = group;
    const hidden = group.items.length - this.items.length;
    const options = make("datalist", { id: "group-names" }, ...this.app.state.classes.map((entry) => make("option", { value: entry.name })));
    const input = make("input", { id: "group-name", type: "text", maxLength: 200, value: suggestion?.label ?? "", autocomplete: "off" });
    input.setAttribute("list", "group-names");
    input.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      focusView();
    });
    const probability = suggestion?.probability;
    const form = make(
      "form",
      { className: "group-form" },
      make("label", { for: "group-name", textContent: "Class of the ticked images" }),
      make("div", { className: "row" }, input, make("button", { className: "primary", id: "group-accept" }, make("span"), makeKey("Enter"))),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.accept();
    });
    const nothing = suggestion ? null : make("p", { className: "quiet", textContent: "No name is suggested yet: type one, or press the key of a class." });
    return make(
      "div",
      { className: "group-head" },
      make(
        "p",
        { className: "group-title" },
        make("strong", { textContent: `Group ${this.at + 1} of ${this.groups.length}` }),
        ` · ${count(group.items.length, "image")}${hidden > 0 ? `, of which the first ${MOST_SHOWN} are shown` : ""}`,
        probability === null || probability === undefined ? "" : ` · suggested with ${formatPercent(probability)}`,
      ),
      form,
      options,
      nothing,
      make(
        "div",
        { className: "row" },
        make("button", { type: "button", onclick: () => this.move(1) }, "Next group ", makeKey("s")),
        make("button", { type: "button", onclick: () => this.tickAll() }, "Tick all or none ", makeKey("a")),
        make("button", { type: "button", onclick: () => this.app.views.one.undo() }, "Undo ", makeKey("u")),
      ),
    );
  }

  #makeGrid() {
    const items = this.items.map((item) => {
      const image = make("img", { src: imageAddress(item.digest, THUMBNAIL_SIZE), alt: item.name, loading: "lazy", decoding: "async", draggable: false });
      const tick = make("span", { className: "tick", "aria-hidden": "true" });
      const button = make("button", { type: "button", className: "thumbnail", "data-digest": item.digest, title: item.name }, image, tick);
      button.addEventListener("click", () => this.toggle(item.digest));
      image.addEventListener("error", () => button.classList.add("broken"));
      return make("li", {}, button);
    });
    return make("ul", { className: "grid", "aria-label": "Images of the group; a ticked one belongs to it" }, ...items);
  }

  #makeClasses() {
    const buttons = this.app.state.classes.slice(0, 10).map((entry, i) =>
      make("button", { type: "button", onclick: () => this.assign(entry.name) }, makeKey("1234567890"[i]), makeName(entry.name)),
    );
    if (buttons.length === 0) return "";
    return make("div", { className: "row group-classes", role: "group", "aria-label": "Assign the ticked images to a class" }, ...buttons);
  }
}
