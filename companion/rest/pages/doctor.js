// The doctor's side: who waits, who is being talked to, and the conversation.

import { Chat } from "./chat.js";
import { button, field, guarded, h, shortTime } from "./dom.js";
import { SEX, STATE, TURN } from "./words.js";

const MINE = ["awaiting_doctor", "in_progress"];

export class DoctorView {
  #pane;
  #chat = null;
  #consultations = new Map();

  constructor(pane) {
    this.#pane = pane;
    this.element = h("div", { class: "view" });
    pane.socket.addEventListener("consultation:updated", this.#updated);
    pane.socket.addEventListener("state", this.#connected);
    this.#home();
  }

  close() {
    this.#chat?.close();
    this.#pane.socket.removeEventListener("consultation:updated", this.#updated);
    this.#pane.socket.removeEventListener("state", this.#connected);
  }

  #updated = ({ detail }) => {
    this.#keep(detail);
    this.#render();
  };

  // What changed while the socket was away comes by the list.
  #connected = ({ detail }) => detail === "connected" && this.#load();

  #home() {
    this.#chat?.close();
    this.#chat = null;
    this.list = h("ul", { class: "items", ariaLabel: "候诊与问诊中的患者" });
    this.element.replaceChildren(h("h3", {}, "候诊列表"), this.list);
    this.#render();
    this.#load();
  }

  async #load() {
    try {
      const pages = await Promise.all(
        MINE.map((state) => this.#pane.api.get(`/consultations?state=${state}`)));
      this.#consultations.clear();
      pages.flatMap(({ items }) => items).forEach((c) => this.#keep(c));
      this.#render();
      if (this.#chat) this.#chat.show(await this.#pane.api.get(`/consultations/${this.#chat.id}`));
    } catch (error) {
      this.#pane.tell(error.message);
    }
  }

  #keep(consultation) {
    if (MINE.includes(consultation.state)) this.#consultations.set(consultation.id, consultation);
    else this.#consultations.delete(consultation.id);
  }

  #render() {
    const items = [...this.#consultations.values()]
      .sort((a, b) => MINE.indexOf(a.state) - MINE.indexOf(b.state));
    const empty = h("li", { class: "empty" }, "暂无患者，新的问诊会立即出现在这里");
    this.list.replaceChildren(...(items.length ? items.map((c) => this.#item(c)) : [empty]));
  }

  #item(c) {
    const { name, sex, age } = c.person;
    return h("li", {},
      h("div", {},
        h("strong", {}, name), ` · ${SEX[sex] ?? sex} · ${age} 岁 · `,
        h("span", { class: "tag", "data-state": c.state }, STATE[c.state]),
        c.state === "in_progress" && c.turn ? h("span", { class: "hint" }, ` ${TURN.doctor[c.turn]}`) : null,
        h("p", { class: "hint" }, `${shortTime(c.created_at)} ${c.description}`)),
      button("查看", () => this.#enter(c), "primary"));
  }

  #enter(consultation) {
    this.#chat = new Chat(this.#pane, consultation, {
      back: () => this.#home(),
      actions: (c) => this.#actions(c),
    });
    this.element.replaceChildren(this.#chat.element);
  }

  #actions(c) {
    const act = (command, more) => guarded(this.#pane.tell, () => this.#act(c, command, more));
    if (c.state === "awaiting_doctor") {
      return [button("接诊", act("consultation:accept"), "primary"), this.#decline(c)];
    }
    if (c.state === "in_progress") {
      return [button("结束问诊", act("consultation:end"), "quiet"), this.#decline(c)];
    }
    return [];
  }

  // The reason is asked for on the spot: the patient reads it.
  #decline(c) {
    const reason = h("input", { required: true, maxLength: 200 });
    return h("details", { class: "decline" },
      h("summary", { class: "button quiet" }, "退诊"),
      h("form", {
        class: "row",
        onsubmit: guarded(this.#pane.tell, () =>
          this.#act(c, "consultation:decline", { reason: reason.value.trim() })),
      },
      field("退诊原因", reason),
      h("button", { type: "submit", class: "quiet" }, "确定退诊")));
  }

  async #act(c, command, more = {}) {
    const { consultation } = await this.#pane.socket.emit(command, { consultation: c.id, ...more });
    this.#keep(consultation);
    this.#chat?.show(consultation);
  }
}
