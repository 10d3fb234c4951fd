// One's open consultations, as the lists and the events tell of them; both sides show theirs by it.

import { isStale } from "./socket.js";

export class Consultations {
  #pane;
  #states;
  #changed;
  #kept = new Map();

  // `changed` is called after every news of them.
  constructor(pane, states, changed) {
    this.#pane = pane;
    this.#states = states;
    this.#changed = changed;
    pane.socket.addEventListener("consultation:updated", this.#updated);
    pane.socket.addEventListener("state", this.#connected);
  }

  close() {
    this.#pane.socket.removeEventListener("consultation:updated", this.#updated);
    this.#pane.socket.removeEventListener("state", this.#connected);
  }

  // In the order of their states, then as they came.
  get all() {
    const place = ({ state }) => this.#states.indexOf(state);
    return [...this.#kept.values()].sort((a, b) => place(a) - place(b));
  }

  keep(consultation) {
    if (isStale(consultation, this.#kept.get(consultation.id))) return;
    if (this.#states.includes(consultation.state)) this.#kept.set(consultation.id, consultation);
    else this.#kept.delete(consultation.id);
    this.#changed();
  }

  async load() {
    try {
      const pages = await Promise.all(
        this.#states.map((state) => this.#pane.api.get(`/consultations?state=${state}`)));
      this.#kept = new Map(pages.flatMap(({ items }) => items).map((c) => [c.id, c]));
      this.#changed();
    } catch (error) {
      this.#pane.tell(error.message);
    }
  }

  #updated = ({ detail }) => this.keep(detail);

  // What changed while the socket was away comes by the list.
  #connected = ({ detail }) => detail === "connected" && this.load();
}
