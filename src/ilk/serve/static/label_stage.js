// What stands in the place of the image: that all are labelled, or why one is not shown.

import { $, count, make } from "./label_dom.js";

/** Return what to do about images that are gone. */
export function describeGone({ gone }) {
  const { folder } = $("label-page").dataset;
  return `${count(gone, "image")} of ${folder} cannot be found: put the folder back to continue labelling. What you labelled is saved.`;
}

/** Return the card after the last image; `isWaiting` while answers wait to be sent. */
export function makeEnd(state, isWaiting) {
  const isGone = state.gone > 0;
  const title = isWaiting ? "One moment" : isGone ? "Images cannot be found" : "No more images for you";
  const card = make("div", { className: "card" }, make("strong", { textContent: title }));
  if (isGone && !isWaiting) card.append(make("p", { textContent: describeGone(state) }));
  else if (!isWaiting) {
    const counts = [`${count(state.labelled, "image")} labelled`];
    if (state.unsure) counts.push(`${state.unsure} not sure`);
    if (state.unreadable) counts.push(`${state.unreadable} unreadable`);
    card.append(
      make("p", { textContent: `${counts.join(", ")}.` }),
      make("p", {}, make("a", { href: "#export", textContent: "Export the labels or a model" })),
    );
  }
  return card;
}

/** Return the card in place of an image that is not shown, and its title. */
export function makeFailure({ sentence, isGone }) {
  const title = isGone ? "This image cannot be found" : "This image cannot be read";
  const text = isGone ? "The page tries again every few seconds; what you labelled is saved." : "It is left out.";
  const card = make("div", { className: "card" }, make("strong", { textContent: title }), make("p", { textContent: sentence }), make("p", { textContent: text }));
  return { title, card };
}
