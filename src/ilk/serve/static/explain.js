// Why an answer: the heat map, whether it can be trusted, and the nearest training images.

import { formatPercent, make, request, say } from "./base.js";

const PATIENCE = 8000; // milliseconds until it is said why it takes so long

/** Ask why the answer of a card is what it is, and show it below. */
export async function explain(card) {
  const text = make("p", { class: "muted" }, "Explaining; this takes some seconds …");
  card.more.replaceChildren(text);
  say(`Explaining ${card.name}.`);
  const later = setTimeout(() => {
    text.textContent = "Still explaining; a model's first explanation takes longest, because methods are compared …";
  }, PATIENCE);
  const form = new FormData();
  form.append("image", card.file, card.name);
  try {
    const explanation = await request("/explain", { method: "POST", body: form });
    showExplanation(card, explanation);
  } catch (error) {
    text.className = "bad";
    text.textContent = error.message;
    say(error.message);
  } finally {
    clearTimeout(later);
  }
}

function showExplanation(card, explanation) {
  const { verdict } = explanation;
  const heading = make("h4", { tabindex: "-1" }, `Why ${explanation.target}?`);
  const against = explanation.against ? `, compared with ${explanation.against}` : "";
  const badge = make("span", { class: `badge ${verdict.is_trustworthy ? "good" : "warn"}` },
    verdict.is_trustworthy ? "trustworthy here" : "not trustworthy here");
  const figure = make("figure", {},
    make("img", { src: explanation.overlay, alt: `Heat map: ${explanation.text}` }),
    make("figcaption", { class: "muted small" },
      `Orange supports ${explanation.target}${against}, blue speaks against it. ` +
      `${explanation.method}, ${explanation.n_passes} passes, ${explanation.seconds.toFixed(1)} s.`));
  const words = make("div", {}, heading, make("p", {}, badge),
    make("p", {}, verdict.sentence),
    explanation.text.endsWith(verdict.sentence)
      ? make("p", {}, explanation.text.slice(0, -verdict.sentence.length).trim())
      : make("p", {}, explanation.text));
  words.append(make("h4", {}, "Nearest training images"));
  if (explanation.neighbours.length) {
    const list = make("ul", { class: "plain neighbours" });
    for (const { label, path, similarity, thumbnail } of explanation.neighbours) {
      list.append(make("li", { title: path },
        thumbnail ? make("img", { src: thumbnail, alt: "" }) : null,
        make("span", {}, `${label} `), make("span", { class: "muted" }, similarity.toFixed(2))));
    }
    words.append(list);
  } else {
    words.append(make("p", { class: "muted" }, explanation.neighbours_note || "none are kept"));
  }
  card.more.replaceChildren(make("div", { class: "explanation" }, figure, words));
  heading.focus();
  say(`${explanation.target}, ${formatPercent(explanation.probability)}. ${verdict.sentence}`);
}
