// What this annotator answered, newest first, and corrections.

import { request } from "./label_connection.js";
import { $, announce, count, imageAddress, make, makeName, showProblem } from "./label_dom.js";

const PAGE = 60;
const KINDS = { unsure: "Not sure", skip: "Skipped" };

export class LabelsView {
  constructor(app) {
    this.app = app;
    this.chosen = "";
    this.n = PAGE;
  }

  async open() {
    try {
      const query = `annotator=${encodeURIComponent(this.app.annotator)}&label=${encodeURIComponent(this.chosen)}&n=${this.n}`;
      const answer = await request(`/label/api/labels?${query}`);
      this.render(answer);
    } catch (error) {
      showProblem(error.message || "The labels could not be read; the server does not answer");
    }
  }

  afterAnswer() {
    this.open();
  }

  render({ items, total }) {
    const { classes } = this.app.state;
    const filter = make(
      "select",
      { id: "labels-filter" },
      make("option", { value: "", textContent: "All answers" }),
      ...classes.map((entry) => make("option", { value: entry.name, textContent: entry.name, selected: entry.name === this.chosen })),
    );
    filter.addEventListener("change", () => {
      this.chosen = filter.value;
      this.n = PAGE;
      this.open().then(() => $("labels-filter").focus());
    });
    const focused = document.activeElement?.dataset?.digest;
    const content = [
      make("div", { className: "row" }, make("label", { for: "labels-filter", textContent: "Show" }), filter),
      make("p", { className: "quiet", textContent: total === 0 ? "Nothing yet." : `${count(total, "image")}, newest first. Choose another class to correct one.` }),
      make("ul", { className: "grid labelled" }, ...items.map((item) => this.#makeItem(item, classes))),
    ];
    if (total > items.length) {
      const more = make("button", { type: "button", textContent: `Show more (${total - items.length})` });
      more.addEventListener("click", () => {
        this.n += PAGE;
        this.open();
      });
      content.push(more);
    }
    $("labels-content").replaceChildren(...content);
    if (focused) document.querySelector(`select[data-digest="${focused}"]`)?.focus();
  }

  #makeItem(item, classes) {
    const select = make("select", { "data-digest": item.digest, "aria-label": `Class of ${item.name}` });
    if (item.kind !== "assign") select.append(make("option", { value: "", textContent: KINDS[item.kind], selected: true }));
    for (const entry of classes) {
      select.append(make("option", { value: entry.name, textContent: entry.name, selected: item.kind === "assign" && entry.name === item.label }));
    }
    select.addEventListener("change", () => {
      if (!select.value) return;
      this.app.send({ kind: "assign", digests: [item.digest], label: select.value });
      announce(`${item.name} corrected to ${select.value}.`);
    });
    const image = make("img", { src: imageAddress(item.digest, 256), alt: "", loading: "lazy", decoding: "async" });
    return make("li", {}, make("figure", {}, image, make("figcaption", {}, makeName(item.name), select)));
  }
}
