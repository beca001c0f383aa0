// What the annotator does is an event with a key of its own. Events wait in the browser's storage until
// the server has answered, and are sent in order; the server does an event with a known key only once.

import { Problem, refreshToken, request as sendRequest } from "./base.js";

const RETRY_MILLISECONDS = [300, 600, 1200, 2400, 4000];
const TIMEOUT_MILLISECONDS = 20000;

/** The server did not answer, or says why it cannot at the moment: to be tried again. */
export class ConnectionLost extends Error {}

/** Send a request and return its JSON; raise `Problem` or `ConnectionLost`. */
export async function request(path, body) {
  try {
    try {
      return await send(path, body);
    } catch (error) {
      if (error.status !== 403 || body === undefined || !(await refreshToken())) throw error;
      return await send(path, body);
    }
  } catch (error) {
    if (!(error instanceof Problem) || error.status === 0) throw new ConnectionLost(); // cut off, or within the answer
    if (error.status >= 500) throw new ConnectionLost(error.message);
    throw error;
  }
}

function send(path, body) {
  const method = body === undefined ? "GET" : "POST";
  return sendRequest(path, { method, body, signal: AbortSignal.timeout(TIMEOUT_MILLISECONDS) });
}

/** Return a key that no other event has, also where the page is not in a secure context. */
function makeKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The queue of events of one log. */
export class EventQueue {
  #prefix;
  #events = [];
  #isSending = false;
  #attempt = 0;
  #wake = () => {};

  /**
   * @param {string} log Identifies the log in the browser's storage.
   * @param {{onAnswer: Function, onStatus: Function, onProblem: Function}} handlers
   */
  constructor(log, handlers) {
    this.#prefix = `ilk-label-event|${log}|`;
    this.handlers = handlers;
    this.#events = this.#readStored();
    addEventListener("online", () => this.#wake());
  }

  get pending() {
    return this.#events;
  }

  /** Add an event; it is kept until the server has answered. */
  add(event) {
    const entry = { ...event, key: makeKey() };
    this.#store(entry);
    this.#events.push(entry);
    this.start();
    return entry;
  }

  /** Send what waits, one event after the other. */
  async start() {
    if (this.#isSending) return;
    this.#isSending = true;
    while (this.#events.length > 0) {
      const event = this.#events[0];
      try {
        const answer = await request("/label/api/events", event);
        this.#finish(event);
        this.handlers.onAnswer(event, answer);
      } catch (error) {
        if (error instanceof ConnectionLost) {
          await this.#wait(error.message);
        } else {
          this.#finish(event);
          this.handlers.onProblem(event, error);
        }
      }
    }
    this.#isSending = false;
  }

  #finish(event) {
    this.#events.shift();
    this.#remove(event);
    if (this.#attempt > 0) this.handlers.onStatus({ isLost: false, waiting: this.#events.length });
    this.#attempt = 0;
  }

  async #wait(reason) {
    const delay = RETRY_MILLISECONDS[Math.min(this.#attempt, RETRY_MILLISECONDS.length - 1)];
    this.#attempt += 1;
    this.handlers.onStatus({ isLost: true, waiting: this.#events.length, reason });
    await new Promise((resolve) => {
      this.#wake = resolve;
      setTimeout(resolve, delay);
    });
  }

  #nameOf(event) {
    return `${this.#prefix}${String(event.time).padStart(16, "0")}|${event.key}`;
  }

  #store(event) {
    const last = this.#events.at(-1)?.time ?? 0;
    event.time = Math.max(Date.now() * 10, last + 1); // keeps the order of one browser
    try {
      localStorage.setItem(this.#nameOf(event), JSON.stringify(event));
    } catch {
      // storage is full or forbidden: the event still waits in memory
    }
  }

  #remove(event) {
    try {
      localStorage.removeItem(this.#nameOf(event));
    } catch {
      // nothing was stored
    }
  }

  #readStored() {
    try {
      const names = Object.keys(localStorage).filter((name) => name.startsWith(this.#prefix));
      return names.sort().map((name) => JSON.parse(localStorage.getItem(name)));
    } catch {
      return [];
    }
  }
}
