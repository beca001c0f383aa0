// Small helpers for the page: elements, sentences, names of classes, the live region.

import { make } from "./base.js";

export { make };
export const $ = (id) => document.getElementById(id);

/** Return a name of unknown script, isolated from the text around it. */
export const makeName = (name) => make("bdi", { textContent: name, title: name, className: "name" });

export const makeKey = (text) => make("kbd", { textContent: text, "aria-hidden": "true" });

/** Format a fraction as whole percent, never 100% or 0% for what is not quite that. */
export function formatPercent(fraction) {
  if (fraction === null || fraction === undefined || Number.isNaN(fraction)) return "–";
  const percent = Math.round(fraction * 100);
  if (percent === 100 && fraction < 1) return "> 99\u2009%";
  if (percent === 0 && fraction > 0) return "< 1\u2009%";
  return `${percent}\u2009%`;
}

export const count = (n, one, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;

export const imageAddress = (digest, size) => `/label/images/${digest}?size=${size}`;

/** Say something to people who listen to the page; a repeated sentence is said again. */
export function announce(sentence) {
  const live = $("announcement");
  live.textContent = live.textContent === sentence ? `${sentence}\u00a0` : sentence;
}

let problemTimer = 0;

/** Show one sentence about what did not work, until the next success or for 12 seconds. */
export function showProblem(sentence) {
  const box = $("problem");
  clearTimeout(problemTimer);
  box.textContent = sentence;
  box.hidden = !sentence;
  if (sentence) problemTimer = setTimeout(() => showProblem(""), 12000);
}

/** Move the focus to the image or the heading of the visible view: focus is never lost. */
export function focusView() {
  const view = document.querySelector(".view:not([hidden])");
  const target = view?.querySelector("[data-focus]") ?? view?.querySelector("h2");
  target?.focus({ preventScroll: true });
}

/** Return the initials and the hue of an annotator. */
export function describeAnnotator(name) {
  const words = name.trim().split(/\s+/);
  const initials = words.length > 1 ? [words[0], words.at(-1)] : [words[0].slice(0, 2)];
  const letters = words.length > 1 ? initials.map((word) => [...word][0]).join("") : initials[0];
  let hue = 0;
  for (const letter of name) hue = (hue * 31 + letter.codePointAt(0)) % 360;
  return { initials: letters.toUpperCase(), hue };
}

export function makeAvatar(name) {
  const { initials, hue } = describeAnnotator(name);
  const avatar = make("span", { className: "avatar", textContent: initials, "aria-hidden": "true" });
  avatar.style.setProperty("--hue", hue);
  return avatar;
}
