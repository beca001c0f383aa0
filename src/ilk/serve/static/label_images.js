// Images are loaded and decoded before they are needed, so that the next one is there at once.

import { imageAddress } from "./label_dom.js";

export const SHOWN_SIZE = 1280;
const MOST_KEPT = 40;

const kept = new Map();

/** Return the element of an image, which starts to load if it is not there yet. */
export function loadImage(digest) {
  let image = kept.get(digest);
  if (image === undefined || image.dataset.failed) {
    image = new Image();
    image.decoding = "sync"; // it is decoded ahead by `decode`, and must not flash when it is shown
    image.draggable = false;
    image.src = imageAddress(digest, SHOWN_SIZE);
    image.ready = image.decode().catch(() => {
      image.dataset.failed = "true";
    });
  }
  kept.delete(digest); // newest last
  kept.set(digest, image);
  while (kept.size > MOST_KEPT) kept.delete(kept.keys().next().value);
  return image;
}

/** Return why an image cannot be shown: a sentence, and whether it may come back. */
export async function explainFailure(digest) {
  try {
    const response = await fetch(imageAddress(digest, SHOWN_SIZE));
    if (response.ok) return null; // it is there now
    const problem = await response.json();
    return { sentence: problem.detail ?? "the image cannot be read", isGone: problem.kind !== "unreadable" };
  } catch {
    return { sentence: "the server does not answer", isGone: true };
  }
}
