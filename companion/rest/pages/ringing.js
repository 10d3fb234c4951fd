// Calls on the first page: who is rung is asked, and the call itself runs on a page of its own.

import { ownState } from "./call-client.js";
import { button, guarded, h } from "./dom.js";

// Open the call page by a one-time ticket. The window comes first: only a person's own click may
// open one, and the ticket takes a moment.
export async function openCall(pane, start, { accept = false } = {}) {
  const page = window.open("about:blank", "_blank");
  try {
    const call = await start();
    const { url } = await pane.api.post(`/calls/${call}/ticket`);
    const address = accept ? `${url}&accept=1` : url;
    if (page) page.location.href = address;
    else location.href = address;
  } catch (error) {
    page?.close();
    throw error;
  }
}

// The question of an incoming call, above whatever the side shows; gone once it rings no more.
export class Ringing {
  #pane;
  #call = null;

  constructor(pane) {
    this.#pane = pane;
    this.element = h("div", { class: "ringing", role: "alertdialog", ariaLabel: "来电", hidden: true });
    pane.socket.addEventListener("call:incoming", this.#incoming);
    pane.socket.addEventListener("call:updated", this.#updated);
  }

  close() {
    this.#pane.socket.removeEventListener("call:incoming", this.#incoming);
    this.#pane.socket.removeEventListener("call:updated", this.#updated);
  }

  #incoming = ({ detail: { call, text } }) => {
    this.#call = call.id;
    const { tell, socket } = this.#pane;
    const answer = () => openCall(this.#pane, async () => call.id, { accept: true });
    this.element.replaceChildren(
      h("p", {}, h("strong", {}, callerOf(call).name), ` ${text}`),
      h("div", { class: "buttons" },
        button("接听", guarded(tell, answer), "primary"),
        button("拒绝", guarded(tell, () => socket.emit("call:decline", { call: call.id })), "quiet")));
    this.element.hidden = false;
  };

  #updated = ({ detail: { call } }) => {
    if (call.id === this.#call && ownState(call) !== "rung") this.element.hidden = true;
  };
}

function callerOf({ parties, started_by }) {
  return parties.find(({ user }) => user === started_by);
}
