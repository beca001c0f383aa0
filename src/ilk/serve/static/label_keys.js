// Single keys. They can be turned off (WCAG 2.1.4), and none works while something is typed.

import { $ } from "./label_dom.js";

const STORED = "ilk-label-keys";
const COMMANDS = { u: "KeyU", s: "KeyS", n: "KeyN", g: "KeyG", h: "KeyH" };

function isTyping(target) {
  return target instanceof HTMLElement && (target.matches("input:not([type=checkbox]), textarea, select") || target.isContentEditable);
}

function isControl(target) {
  return target instanceof HTMLElement && target.closest("button, a, summary, input") !== null;
}

/** Return the digit of a key, also where digits need Shift, as on French keyboards. */
function readDigit(event) {
  if (/^[0-9]$/.test(event.key)) return event.key;
  const digit = /^(?:Digit|Numpad)([0-9])$/.exec(event.code)?.[1];
  return digit && !event.shiftKey && !/^[\p{L}]$/u.test(event.key) ? digit : null;
}

/** Return the command letter of a key; on keyboards of other scripts, the key's place counts. */
function readLetter(event, startsClass) {
  const letter = event.key.toLowerCase();
  if (COMMANDS[letter]) return letter;
  const isOtherScript = /^\p{L}$/u.test(event.key) && !/^\p{Script=Latin}$/u.test(event.key);
  if (!isOtherScript || startsClass(event.key)) return null;
  return Object.keys(COMMANDS).find((name) => COMMANDS[name] === event.code) ?? null;
}

export function installKeys(app) {
  const box = $("use-keys");
  box.checked = readStored() !== "off";
  box.addEventListener("change", () => {
    try {
      localStorage.setItem(STORED, box.checked ? "on" : "off");
    } catch {
      // forbidden: asked again after a reload
    }
  });
  $("keys-button").addEventListener("click", () => $("keys-dialog").showModal());
  document.addEventListener("keydown", (event) => onKey(app, event, box.checked));
}

function readStored() {
  try {
    return localStorage.getItem(STORED);
  } catch {
    return null;
  }
}

function onKey(app, event, useKeys) {
  if (event.defaultPrevented || event.isComposing || document.querySelector("dialog[open]")) return;
  if (!app.state) return;
  const isUndo = (event.ctrlKey || event.metaKey) && !event.shiftKey && event.key.toLowerCase() === "z";
  if (isUndo && !isTyping(event.target)) {
    event.preventDefault();
    app.views.one.undo();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") {
    event.preventDefault();
    app.show("one");
    return;
  }
  if (isTyping(event.target) || !useKeys) return;
  if (event.repeat && !event.key.startsWith("Arrow")) return; // a key that is held labels one image
  if ((event.key === " " || event.key === "Enter") && isControl(event.target)) {
    if (!app.views[app.view].takesKeyOnControl?.(event)) return;
  }
  if (handle(app, event)) event.preventDefault();
}

/** Do what a key means; return whether it means anything. */
function handle(app, event) {
  const view = app.views[app.view];
  const digit = readDigit(event);
  if (digit !== null && view.onDigit) return view.onDigit(digit);
  if (digit !== null) {
    const name = app.classes.nameAt(digit);
    if (name === undefined || !view.assign) return false;
    view.assign(name);
    return true;
  }
  const startsClass = (letter) => app.state.classes.some((entry) => entry.name.toLowerCase().startsWith(letter.toLowerCase()));
  const letter = event.shiftKey && event.key !== "?" ? null : readLetter(event, startsClass);
  if (letter === "u") return run(() => app.views.one.undo());
  if (letter === "g") return run(() => app.show(app.view === "groups" ? "one" : "groups"));
  if (letter === "h" || event.key === "F1") return run(() => $("keys-dialog").showModal());
  if (view.onKey) return view.onKey(event, letter) ?? false;
  return false;
}

function run(action) {
  action();
  return true;
}
