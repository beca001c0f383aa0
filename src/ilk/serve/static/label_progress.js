// How far, how good, and what more labels would buy.

import { describeAgreements } from "./label_agreement.js";
import { drawLearningCurve } from "./label_chart.js";
import { request } from "./label_connection.js";
import { $, count, formatPercent, make, makeAvatar, makeName, showProblem } from "./label_dom.js";

function formatRange({ low, high }) {
  return low === null ? "" : `${low.toFixed(2)} to ${high.toFixed(2)}, `;
}

export class ProgressView {
  constructor(app) {
    this.app = app;
  }

  async open() {
    try {
      this.render(await request("/label/api/progress"));
    } catch (error) {
      showProblem(error.message || "The progress could not be read; the server does not answer");
    }
  }

  afterAnswer() {
    this.open();
  }

  render(progress) {
    $("progress-content").replaceChildren(
      this.#makeTiles(progress),
      make("p", { className: "prose", textContent: progress.accuracy_sentence }),
      this.#makeCurve(progress),
      this.#makeClasses(progress),
      this.#makePeople(progress),
      this.#makeRefused(progress),
      make("p", { className: "quiet" }, "Every answer is in the log ", make("code", { textContent: progress.log }), "."),
    );
  }

  #makeTiles({ total, labelled, given, accuracy, agreements, unsure, unreadable }) {
    const interval = (value) => `${formatPercent(value.low)} to ${formatPercent(value.high)}`;
    const tiles = [
      ["Labelled", labelled.toLocaleString("en"), `of ${count(total, "image")}${given ? `; ${given} had labels` : ""}`],
      accuracy
        ? ["Accuracy of the model", formatPercent(accuracy.value), `${interval(accuracy)}, from ${count(accuracy.n, "random check")}`]
        : ["Accuracy of the model", "–", "not enough random checks yet"],
      ["Not sure", unsure.toLocaleString("en"), unreadable ? `${count(unreadable, "file")} left out` : "left out of the model"],
    ];
    const [first] = agreements;
    if (first) tiles.push(["Cohen’s kappa", first.value === null ? "–" : first.value.toFixed(2), `${formatRange(first)}${count(first.n, "image")} in common`]);
    return make(
      "dl",
      { className: "tiles" },
      ...tiles.map(([title, value, more]) =>
        make("div", {}, make("dt", { textContent: title }), make("dd", {}, make("strong", { textContent: value }), make("span", { textContent: more }))),
      ),
    );
  }

  #makeCurve({ curve, expected, curve_sentence: sentence }) {
    if (curve.length === 0) return make("p", { className: "quiet", textContent: sentence });
    const row = (point, kind) =>
      make(
        "tr",
        {},
        make("td", { textContent: point.n }),
        make("td", { textContent: formatPercent(point.accuracy) }),
        make("td", { textContent: point.low === undefined ? "–" : `${formatPercent(point.low)} to ${formatPercent(point.high)}` }),
        make("td", { textContent: kind }),
      );
    const head = ["Labels", "Accuracy", "Interval", ""].map((text) => make("th", { scope: "col", textContent: text }));
    const table = make(
      "table",
      {},
      make("thead", {}, make("tr", {}, ...head)),
      make("tbody", {}, ...curve.map((point) => row(point, "measured")), ...expected.map((point) => row(point, "expected"))),
    );
    return make(
      "section",
      { className: "part" },
      make("h3", { textContent: "Learning curve" }),
      make("p", { className: "prose", textContent: sentence }),
      drawLearningCurve(curve, expected, sentence),
      make("details", {}, make("summary", { textContent: "As a table" }), make("div", { className: "scroll" }, table)),
    );
  }

  #makeClasses({ classes }) {
    if (classes.length === 0) return "";
    const most = Math.max(1, ...classes.map((entry) => entry.count));
    const rows = classes.map((entry) => {
      const bar = make("span", { className: "share-bar", "aria-hidden": "true" });
      bar.style.setProperty("--share", entry.count / most);
      return make("tr", {}, make("th", { scope: "row" }, makeName(entry.name)), make("td", { className: "n", textContent: entry.count }), make("td", {}, bar));
    });
    const head = make("thead", { className: "visually-hidden" }, make("tr", {}, ...["Class", "Images", ""].map((text) => make("th", { scope: "col", textContent: text }))));
    return make("section", { className: "part" }, make("h3", { textContent: "Images per class" }), make("table", { className: "per-class" }, head, make("tbody", {}, ...rows)));
  }

  #makeRefused({ refused, unreadable, notes }) {
    const parts = notes.map((note) => make("p", { textContent: `${note[0].toUpperCase()}${note.slice(1)}.` }));
    if (refused.length > 0) {
      const items = refused.map((entry) => make("li", {}, makeName(entry.name), `: ${entry.reason}${entry.detail ? ` (${entry.detail})` : ""}`));
      const title = `${count(unreadable, "file")} left out, and why`;
      parts.push(make("details", {}, make("summary", { textContent: title }), make("ul", {}, ...items)));
    }
    return parts.length === 0 ? "" : make("section", { className: "part" }, ...parts);
  }

  #makePeople({ annotators, agreements }) {
    if (annotators.length === 0) return "";
    const items = annotators.map((entry) => make("li", {}, makeAvatar(entry.name), makeName(entry.name), make("span", { className: "count", textContent: count(entry.n, "answer") })));
    const content = [make("h3", { textContent: "People" }), make("ul", { className: "people" }, ...items)];
    if (annotators.length > 1) content.push(describeAgreements(agreements));
    return make("section", { className: "part" }, ...content);
  }
}
