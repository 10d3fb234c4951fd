// The doctor's side: who waits, who is being talked to, and the conversation.

import { Chat } from "./chat.js";
import { Consultations } from "./consultations.js";
import { GroupsOfMine, groupForm, groupView } from "./groups.js";
import { button, field, guarded, h, shortTime } from "./dom.js";
import { PrescriptionForm } from "./prescribing.js";
import { openCall } from "./ringing.js";
import { TransfersToMe, transferForm } from "./transfers.js";
import { MODE, SEX, TURN, stateOf } from "./words.js";

const MINE = ["awaiting_doctor", "in_progress"];
const CALLS = { voice: [["audio", "语音通话"]], video: [["video", "视频通话"], ["audio", "语音通话"]] };

export class DoctorView {
  #pane;
  #chat = null;
  #consultations;
  #transfers;
  #groups;

  constructor(pane) {
    this.#pane = pane;
    this.element = h("div", { class: "view" });
    this.#consultations = new Consultations(pane, MINE, () => this.#render());
    this.#transfers = new TransfersToMe(pane, () => this.#consultations.load());
    this.#groups = new GroupsOfMine(pane);
    pane.enterGroup = guarded(pane.tell, (id) => this.#enterGroup(id));
    this.#home();
  }

  close() {
    this.#chat?.close();
    this.#groups.close();
    this.#transfers.close();
    this.#consultations.close();
  }

  #home() {
    this.#chat?.close();
    this.#chat = null;
    this.list = h("ul", { class: "items", ariaLabel: "候诊与问诊中的患者" });
    this.element.replaceChildren(
      h("h3", {}, "候诊列表"), this.#transfers.element, this.#groups.element, this.list);
    this.#render();
    this.#consultations.load();
  }

  #render() {
    const items = this.#consultations.all;
    const empty = h("li", { class: "empty" }, "暂无患者，新的问诊会立即出现在这里");
    this.list.replaceChildren(...(items.length ? items.map((c) => this.#item(c)) : [empty]));
  }

  #item(c) {
    const { name, sex, age } = c.person;
    return h("li", {},
      h("div", {},
        h("strong", {}, name), ` · ${SEX[sex] ?? sex} · ${age} 岁 · ${MODE[c.mode]} `,
        h("span", { class: "tag", "data-state": c.state }, stateOf(c)),
        c.state === "in_progress" && c.turn ? h("span", { class: "hint" }, ` ${TURN.doctor[c.turn]}`) : null,
        c.slot ? h("p", {}, `预约 ${shortTime(c.slot.starts_at)}`) : null,
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

  async #enterGroup(id) {
    const view = await groupView(this.#pane, id, () => this.#home());
    this.#chat?.close();
    this.#chat = view;
    this.element.replaceChildren(view.element);
  }

  #actions(c) {
    const act = (command, more) => guarded(this.#pane.tell, () => this.#act(c, command, more));
    const calls = c.slot || c.state === "in_progress" ? this.#calls(c) : [];
    if (c.state === "awaiting_doctor" && c.slot) return [...calls, this.#decline(c)];
    if (c.state === "awaiting_doctor") {
      return [button("接诊", act("consultation:accept"), "primary"), this.#decline(c)];
    }
    if (c.state === "in_progress") {
      return [
        ...calls, button("结束问诊", act("consultation:end"), "quiet"), this.#decline(c),
        ...(c.mode === "text" ? [transferForm(this.#pane, c)] : []),
        groupForm(this.#pane, c),
        new PrescriptionForm(this.#pane, c).element,
      ];
    }
    if (c.follow_up_until && new Date(c.follow_up_until) > Date.now()) {
      return [new PrescriptionForm(this.#pane, c).element];
    }
    return [];
  }

  #calls(c) {
    return (CALLS[c.mode] ?? []).map(([media, label]) =>
      button(label, guarded(this.#pane.tell, () => openCall(this.#pane, async () => {
        const { call } = await this.#pane.socket.emit("call:start", { room: c.room, media });
        return call.id;
      })), "primary"));
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
    this.#consultations.keep(consultation);
    this.#chat?.show?.(consultation);
  }
}
