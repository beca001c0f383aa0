// The list of classes with their keys, and the field that finds a class or adds one.

import { $, announce, focusView, make, makeKey, makeName } from "./label_dom.js";

const KEYS = "1234567890";

/** Compare names as people type them: without case, and in one Unicode form. */
const fold = (name) => name.normalize("NFKC").toLocaleLowerCase();

export class ClassList {
  constructor(app) {
    this.app = app;
    this.classes = [];
    this.buttons = new Map();
    this.isNew = false;
    const input = $("search");
    input.addEventListener("input", () => this.filter());
    input.addEventListener("keydown", (event) => this.onKey(event));
    input.addEventListener("blur", () => {
      if (input.value === "") this.endSearch();
    });
    $("search-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
  }

  /** Show classes and counts; buttons stay the same elements, so that the focus stays too. */
  setClasses(classes) {
    this.classes = classes;
    const list = $("classes");
    const names = new Set(classes.map((entry) => entry.name));
    for (const [name, parts] of this.buttons) {
      if (names.has(name)) continue;
      if (parts.item.contains(document.activeElement)) focusView();
      parts.item.remove();
      this.buttons.delete(name);
    }
    const most = Math.max(1, ...classes.map((entry) => entry.count));
    classes.forEach((entry, i) => {
      const parts = this.buttons.get(entry.name) ?? this.#makeButton(entry.name);
      parts.key.textContent = KEYS[i] ?? "";
      parts.key.hidden = !KEYS[i];
      if (KEYS[i]) parts.button.setAttribute("aria-keyshortcuts", KEYS[i]);
      parts.count.textContent = entry.count;
      parts.count.setAttribute("aria-label", `${entry.count} labelled`);
      parts.item.style.setProperty("--share", entry.count / most);
      if (list.children[i] !== parts.item) list.insertBefore(parts.item, list.children[i] ?? null);
    });
    this.filter();
  }

  #makeButton(name) {
    const key = makeKey("");
    const number = make("span", { className: "count" });
    const button = make("button", { type: "button", className: "class" }, key, makeName(name), number);
    button.addEventListener("click", (event) => {
      this.app.views.one.assign(name);
      if (event.detail > 0) focusView(); // a mouse or a finger: the keys belong to the image again
    });
    const parts = { item: make("li", {}, button), button, key, count: number };
    this.buttons.set(name, parts);
    return parts;
  }

  /** Count one more label before the server has answered. */
  bump(name) {
    const parts = this.buttons.get(name);
    if (parts) parts.count.textContent = Number(parts.count.textContent) + 1;
  }

  /** Mark the class that the shown image has, or none. */
  mark(label, suggested) {
    for (const [name, { button }] of this.buttons) {
      button.classList.toggle("chosen", name === label);
      button.classList.toggle("suggested", name === suggested);
      if (name === label) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
  }

  nameAt(digit) {
    return this.classes[KEYS.indexOf(digit)]?.name;
  }

  /** Open the field: to find a class, or with `isNew` to add one. */
  startSearch(text = "", isNew = false) {
    this.isNew = isNew;
    $("search-label").textContent = isNew ? "New class for this image" : "Find or add a class";
    const input = $("search");
    input.value = text;
    input.focus();
    this.filter();
  }

  endSearch() {
    this.isNew = false;
    $("search").value = "";
    $("search-label").textContent = "Find or add a class";
    this.filter();
  }

  /** Return the classes that match the typed text, best first: equal, starts with, a word starts with, contains. */
  #findMatches() {
    const text = fold($("search").value.trim());
    if (text === "") return [];
    const rank = (name) => {
      const folded = fold(name);
      if (name === $("search").value.trim()) return 0;
      if (folded === text) return 1;
      if (folded.startsWith(text)) return 2;
      if (folded.split(/[\s_-]+/).some((word) => word.startsWith(text))) return 3;
      return folded.includes(text) ? 4 : 9;
    };
    const ranked = this.classes.map((entry) => [rank(entry.name), entry.name]).filter(([r]) => r < 9);
    return ranked.sort((a, b) => a[0] - b[0]).map(([, name]) => name);
  }

  #choose() {
    const text = $("search").value.trim().normalize("NFC");
    if (text === "") return null;
    const matches = this.#findMatches();
    const isExact = matches.includes(text);
    if (isExact) return { name: text, isNew: false };
    if (this.isNew || matches.length === 0) return { name: text, isNew: true };
    return { name: matches[0], isNew: false };
  }

  filter() {
    const choice = this.#choose();
    const matches = new Set(this.#findMatches());
    const isFiltering = choice !== null && !this.isNew && matches.size > 0;
    for (const [name, { item, button }] of this.buttons) {
      item.hidden = isFiltering && !matches.has(name);
      button.classList.toggle("found", isFiltering && name === choice.name);
    }
    const hint = $("search-hint");
    if (choice === null) hint.textContent = this.isNew ? "Type its name, then Enter. Esc cancels." : "";
    else if (choice.isNew) hint.replaceChildren("Enter adds ", makeName(choice.name));
    else hint.replaceChildren("Enter assigns ", makeName(choice.name));
  }

  onKey(event) {
    if (event.isComposing) return;
    if (event.key === "Escape") {
      event.stopPropagation();
      this.endSearch();
      focusView();
      announce("Search closed.");
    } else if (event.key === "ArrowDown") {
      event.preventDefault();
      $("classes").querySelector("li:not([hidden]) button")?.focus();
    }
  }

  submit() {
    const choice = this.#choose();
    if (choice === null) return;
    this.endSearch();
    focusView();
    this.app.views.one.assign(choice.name);
  }
}
