// The labelling page: what is shown, and which key does what. Every answer is an event (label_connection.js).

import { EventQueue, request } from "./label_connection.js";
import { ClassList } from "./label_classes.js";
import { DisagreementsView } from "./label_disagreements.js";
import { $, announce, count, focusView, formatPercent, makeAvatar, makeName, showProblem } from "./label_dom.js";
import { ExportView } from "./label_export.js";
import { GroupsView } from "./label_groups.js";
import { LabelsView } from "./label_labels.js";
import { chooseAnnotator, readAnnotator } from "./label_annotators.js";
import { ImageView } from "./label_one.js";
import { ProgressView } from "./label_progress.js";
import { installKeys } from "./label_keys.js";

const REFRESH_MILLISECONDS = 3000;

const app = {
  annotator: "",
  state: null,
  view: "one",
  views: {},

  /** Queue an event of this annotator; the answer comes to `receive`. */
  send(event) {
    showProblem("");
    return events.add({ annotator: app.annotator, ...event });
  },

  /** Read what the server knows, such as after a reload. */
  async refresh() {
    const state = await request(`/label/api/state?annotator=${encodeURIComponent(app.annotator)}`);
    app.apply(state);
  },

  /** Digests whose answers wait to be sent. */
  listPending() {
    const waiting = events.pending.filter((event) => event.annotator === app.annotator && event.digests);
    return new Set(waiting.flatMap((event) => event.digests));
  },

  /** Show a state of the server. */
  apply(state) {
    if (state.annotator !== app.annotator) return;
    app.state = state;
    app.classes.setClasses(state.classes);
    app.views.one.receive(state, app.listPending());
    renderSummary();
  },

  show(name) {
    if (location.hash !== `#${name}`) history.pushState(null, "", `#${name}`); // fires no hashchange
    route();
  },
};

const events = new EventQueue($("label-page").dataset.log, {
  onAnswer(event, answer) {
    if (event.kind === "undo") showUndone(answer.undone);
    app.apply(answer.state);
    if (answer.undone?.items.length === 1 && app.view === "one") app.views.one.bringBack(answer.undone.items[0]);
    app.views[app.view].afterAnswer?.(event, answer);
  },
  onStatus({ isLost, waiting, reason }) {
    const box = $("connection");
    const what = waiting > 0 ? `; ${count(waiting, "answer")} will be sent` : "";
    box.hidden = !isLost;
    box.textContent = isLost ? `${reason || "Connection lost"}, retrying${what}` : "";
    if (!isLost) announce("Connected again, everything is saved.");
  },
  onProblem(event, problem) {
    app.views.one.takeBack(event);
    tryRefresh().then(() => showProblem(problem.message));
  },
});

function showUndone(undone) {
  if (!undone) {
    announce("There is nothing to undo.");
    showProblem("There is nothing to undo.");
    return;
  }
  announce(`Undone: ${undone.sentence}`);
}

async function tryRefresh() {
  try {
    await app.refresh();
    return true;
  } catch (error) {
    if (error.message) showProblem(error.message);
    return false;
  }
}

function renderSummary() {
  const { state } = app;
  const meter = $("meter");
  meter.setAttribute("aria-valuemax", state.total);
  meter.setAttribute("aria-valuenow", state.labelled);
  meter.setAttribute("aria-valuetext", `${state.labelled} of ${state.total}`);
  meter.firstElementChild.style.setProperty("--done", state.total ? state.labelled / state.total : 0);
  const parts = [`${state.labelled.toLocaleString("en")} of ${state.total.toLocaleString("en")} labelled`];
  if (state.unsure) parts.push(`${state.unsure} not sure`);
  if (state.skipped) parts.push(`${state.skipped} skipped`);
  if (state.unreadable) parts.push(`${count(state.unreadable, "file")} left out`);
  if (state.accuracy) {
    const { value, low, high } = state.accuracy;
    parts.push(`accuracy ${formatPercent(value)} (${formatPercent(low)} to ${formatPercent(high)})`);
  }
  $("summary-line").textContent = parts.join(" · ");
  $("disagreements-link").hidden = state.annotators.length < 2;
  $("disagreements-count").textContent = state.disagreements || "";
  $("undo").disabled = !state.can_undo && events.pending.length === 0;
}

function route() {
  const name = location.hash.slice(1);
  const view = app.views[name] ? name : "one";
  for (const section of document.querySelectorAll(".view")) section.hidden = section.id !== `view-${view}`;
  for (const link of document.querySelectorAll(".views a")) {
    if (link.hash === `#${view}`) {
      link.setAttribute("aria-current", "page");
      link.parentElement.scrollLeft = link.offsetLeft - link.parentElement.offsetLeft - 16;
    } else link.removeAttribute("aria-current");
  }
  app.view = view;
  app.views[view].open?.();
  focusView();
}

function setAnnotator(name) {
  app.annotator = name;
  const label = makeName(name);
  $("annotator-button").replaceChildren(makeAvatar(name), label);
  $("annotator-button").setAttribute("aria-label", `Labelling as ${name}. Change.`);
}

async function start() {
  app.classes = new ClassList(app);
  app.views = {
    one: new ImageView(app),
    groups: new GroupsView(app),
    labels: new LabelsView(app),
    progress: new ProgressView(app),
    disagreements: new DisagreementsView(app),
    export: new ExportView(app),
  };
  setAnnotator(await readAnnotator());
  $("annotator-button").addEventListener("click", async () => {
    const name = await chooseAnnotator(app.state?.annotators ?? [], app.annotator);
    if (!name || name === app.annotator) return;
    setAnnotator(name);
    app.views.one.reset();
    await tryRefresh();
    route();
    announce(`You are now labelling as ${name}.`);
  });
  installKeys(app);
  addEventListener("hashchange", route);
  while (!(await tryRefresh())) await new Promise((resolve) => setTimeout(resolve, REFRESH_MILLISECONDS));
  route();
  events.start();
  // What the model learns in the background, and what another annotator does, is picked up now and then.
  setInterval(() => {
    if (!document.hidden && events.pending.length === 0) app.refresh().then(() => app.views[app.view].afterRefresh?.()).catch(() => {});
  }, REFRESH_MILLISECONDS);
}

start();
