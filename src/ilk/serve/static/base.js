// What every page needs: requests with the CSRF header, live regions, elements.

const findToken = (page) => page.querySelector('meta[name="csrf-token"]').content;
let csrf = findToken(document);

/** An answer of the server that is an error; `message` is one sentence for the user. */
export class Problem extends Error {
  constructor(status, detail, members) {
    super(detail);
    this.status = status;
    this.members = members;
  }
}

/**
 * Send a request and return its JSON, or the response itself where it is not JSON.
 * `body` may be FormData, a Blob, or a plain value, which is sent as JSON.
 */
export async function request(path, { method = "GET", body, signal } = {}) {
  const headers = { Accept: "application/json" };
  if (method !== "GET") headers["X-Ilk-CSRF"] = csrf;
  if (body !== undefined && !(body instanceof FormData) && !(body instanceof Blob)) {
    headers["Content-Type"] = "application/json";
    body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(path, { method, headers, body, signal, credentials: "same-origin" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "The server does not answer; look at its terminal, and try again.", {});
  }
  const type = response.headers.get("Content-Type") || "";
  const isJson = type.includes("json");
  if (!response.ok) {
    const value = isJson ? await response.json().catch(() => ({})) : {};
    throw new Problem(response.status, value.detail || `${response.status} ${response.statusText}`, value);
  }
  return isJson ? response.json() : response;
}

/** Read the token of a server that was started again from its page; return whether it is another one. */
export async function refreshToken() {
  const response = await fetch(location.pathname, { headers: { Accept: "text/html" } });
  const token = findToken(new DOMParser().parseFromString(await response.text(), "text/html"));
  const isNew = token !== csrf;
  csrf = token;
  return isNew;
}

/** Say something to everybody: shown, and read out by screen readers. */
export function say(text) {
  document.getElementById("alert").textContent = "";
  document.getElementById("status").textContent = text;
}

/** Say what went wrong. */
export function warn(error) {
  document.getElementById("alert").textContent = typeof error === "string" ? error : error.message;
}

/**
 * Return a new element. Text becomes an attribute, but for `className` and `textContent`; numbers,
 * flags and functions are set on the element itself where it has such a property. Nothing is HTML.
 */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    const isProperty = ["className", "textContent"].includes(name) || (name in element && typeof value !== "string");
    if (isProperty) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Format a probability in [0, 1] as a percentage that never rounds to 0 % or 100 %. */
export function formatPercent(p) {
  if (p === null || p === undefined) return "–";
  if (p > 0 && p < 0.001) return "< 0.1 %";
  if (p < 1 && p > 0.999) return "> 99.9 %";
  return `${(100 * p).toFixed(1)} %`;
}
