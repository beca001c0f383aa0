// Labels as a table or a folder, and a classifier from them.

import { request } from "./label_connection.js";
import { $, announce, count, make, showProblem } from "./label_dom.js";

const POLL_MILLISECONDS = 700;

export class ExportView {
  constructor(app) {
    this.app = app;
  }

  open() {
    if (!$("export-csv")) this.#build();
    this.#updateHints();
    this.poll();
  }

  afterAnswer() {
    this.#updateHints();
  }

  #build() {
    const card = (title, text, ...rest) => make("article", { className: "export-card" }, make("h3", { textContent: title }), make("p", { textContent: text }), ...rest);
    $("export-content").replaceChildren(
      make("p", { className: "quiet", id: "export-hint" }),
      make(
        "div",
        { className: "cards" },
        card(
          "Model",
          "A calibrated classifier from your labels, tested on the images drawn at random. Ready for ilk predict and ilk serve.",
          make("button", { type: "button", className: "primary", id: "export-model", textContent: "Train a model", onclick: () => this.begin("model") }),
          make("div", { id: "job-model", className: "job", role: "status" }),
        ),
        card(
          "Folder",
          "A copy of each labelled image in a folder of its class, as ilk fit and other tools read it.",
          make("button", { type: "button", id: "export-folder", textContent: "Write the folder", onclick: () => this.begin("folder") }),
          make("div", { id: "job-folder", className: "job", role: "status" }),
        ),
        card(
          "Table",
          "One row per image: path, label, who gave it. A spreadsheet opens it, and ilk fit reads it.",
          make(
            "div",
            { className: "row" },
            make("button", { type: "button", id: "export-csv", textContent: "Write the table", onclick: () => this.begin("csv") }),
            make("a", { className: "button", id: "download-csv", href: "/label/labels.csv", download: "labels.csv", textContent: "Download" }),
          ),
          make("div", { id: "job-csv", className: "job", role: "status" }),
        ),
      ),
    );
  }

  #updateHints() {
    const { state } = this.app;
    const classes = state.settled_classes;
    const isReady = classes >= 2;
    $("export-hint").textContent = isReady
      ? `${count(state.settled, "labelled image")} of ${count(classes, "class", "classes")}${state.disagreements ? `; ${count(state.disagreements, "disagreement")} left out until resolved` : ""}.`
      : "A model needs labels of at least two classes.";
    $("export-model").disabled = !isReady;
    $("download-csv").hidden = state.settled === 0;
    for (const kind of ["folder", "csv"]) $(`export-${kind}`).disabled = state.settled === 0;
  }

  async begin(kind) {
    showProblem("");
    try {
      this.#show((await request("/label/api/exports", { kind })).jobs);
      this.poll();
    } catch (error) {
      showProblem(error.message || "The export could not be started; the server does not answer");
    }
  }

  /** Read how far the exports are, until they are done. */
  async poll() {
    clearTimeout(this.timer);
    let isRunning = true;
    try {
      const { jobs } = await request("/label/api/exports");
      this.#show(jobs);
      isRunning = jobs.some((job) => job.state === "running");
    } catch {
      // tried again
    }
    if (isRunning && this.app.view === "export") this.timer = setTimeout(() => this.poll(), POLL_MILLISECONDS);
  }

  #show(jobs) {
    for (const job of jobs) {
      const box = $(`job-${job.kind}`);
      const isRunning = job.state === "running";
      $(`export-${job.kind}`).disabled = isRunning || (job.kind === "model" ? this.app.state.settled_classes < 2 : this.app.state.settled === 0);
      const mark = JSON.stringify(job);
      if (box.dataset.shown === mark) continue;
      box.dataset.shown = mark;
      if (isRunning) this.#showRunning(box, job);
      else if (job.state === "failed") box.replaceChildren(make("p", { className: "failed", textContent: job.sentence }));
      else this.#showDone(box, job);
    }
  }

  #showRunning(box, job) {
    const bar = make("progress", { max: 1, "aria-label": "Progress of the export" });
    if (job.fraction !== null) bar.value = job.fraction;
    box.replaceChildren(bar, make("p", { className: "quiet", textContent: job.sentence }));
  }

  #showDone(box, job) {
    const parts = [make("p", { textContent: job.sentence })];
    if (job.ask) parts.push(make("p", {}, make("a", { className: "button primary", href: job.ask, textContent: "Ask this model" })));
    parts.push(this.#makeCopy(job.path), ...job.commands.map((command) => this.#makeCopy(command)));
    const button = $(`export-${job.kind}`);
    if (job.ask) {
      button.textContent = "Train again";
      button.classList.remove("primary");
    }
    box.replaceChildren(...parts);
  }

  /** A path or command with a button that copies it. */
  #makeCopy(text) {
    const button = make("button", { type: "button", textContent: "Copy", "aria-label": `Copy ${text}` });
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(text);
        button.textContent = "Copied";
        announce("Copied.");
      } catch {
        getSelection().selectAllChildren(button.previousElementSibling);
        announce("Selected; copy it with Control C.");
      }
    });
    return make("div", { className: "copy" }, make("code", { textContent: text }), button);
  }
}
