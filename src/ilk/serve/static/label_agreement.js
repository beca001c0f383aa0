// How far pairs of annotators agree, as sentences.

import { count, formatPercent, make, makeName } from "./label_dom.js";

/** Format a value of kappa with its interval. */
export function formatKappa({ value, low, high }) {
  if (value === null) return "–";
  const interval = low === null ? "" : ` (${low.toFixed(2)} to ${high.toFixed(2)})`;
  return `${value.toFixed(2)}${interval}`;
}

/** Return a paragraph, or one line per pair of annotators. */
export function describeAgreements(agreements) {
  if (agreements.length === 0) {
    return make("p", { className: "kappa quiet", textContent: "Cohen’s kappa needs images that two people labelled." });
  }
  const lines = agreements.map((entry) => {
    const [first, second] = entry.annotators;
    const rest = `: Cohen’s kappa ${formatKappa(entry)}, the same class for ${formatPercent(entry.observed)} of ${count(entry.n, "image")} that both labelled.`;
    return make("li", {}, makeName(first), " and ", makeName(second), rest);
  });
  return make("ul", { className: "kappa plain" }, ...lines);
}
