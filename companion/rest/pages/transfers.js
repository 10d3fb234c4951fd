// Transfers (转诊): what waits for a doctor, the form that proposes one, the card that asks.

import { button, field, guarded, h, shortTime } from "./dom.js";

const STATE = {
  proposed: "等待患者确认", agreed: "等待医生接诊", accepted: "已接诊", refused: "患者已拒绝",
  declined: "医生未接受", expired: "已超时", cancelled: "已取消",
};

// A doctor's transfers that wait for his answer.
export class TransfersToMe {
  #pane;
  #done;

  // `done` is called when one was answered.
  constructor(pane, done) {
    this.#pane = pane;
    this.#done = done;
    this.element = h("ul", { class: "items", ariaLabel: "待接转诊" });
    pane.socket.addEventListener("transfer:updated", this.#load);
    pane.socket.addEventListener("state", this.#connected);
    this.#load();
  }

  close() {
    this.#pane.socket.removeEventListener("transfer:updated", this.#load);
    this.#pane.socket.removeEventListener("state", this.#connected);
  }

  #connected = ({ detail }) => detail === "connected" && this.#load();

  #load = async () => {
    try {
      const { items } = await this.#pane.api.get("/transfers?state=agreed");
      const mine = items.filter(({ to_doctor }) => to_doctor.id === this.#pane.me.id);
      this.element.replaceChildren(...mine.map((one) => this.#item(one)));
    } catch (error) {
      this.#pane.tell(error.message);
    }
  };

  #item(one) {
    const answer = (what) => guarded(this.#pane.tell, async () => {
      await this.#pane.socket.emit(`transfer:${what}`, { transfer: one.id });
      this.#load();
      this.#done();
    });
    return h("li", {},
      h("div", {}, h("strong", {}, `转诊 · 来自${one.from_doctor.name}医生`),
        h("p", { class: "hint" }, `${shortTime(one.proposed_at)} ${one.reason}`)),
      h("div", { class: "buttons" },
        button("接诊", answer("accept"), "primary"), button("不接受", answer("decline"), "quiet")));
  }
}

// Asked for on the spot: to whom, and why; the patient reads both.
export function transferForm(pane, consultation) {
  const to = h("select", { required: true });
  const reason = h("input", { required: true, maxLength: 200 });
  const form = h("details", { class: "decline" },
    h("summary", { class: "button quiet" }, "转诊"),
    h("form", {
      class: "row",
      onsubmit: guarded(pane.tell, async () => {
        const asked = { consultation: consultation.id, to_doctor: to.value, reason: reason.value.trim() };
        await pane.socket.emit("transfer:propose", asked);
        form.open = false;
      }),
    },
    field("转诊医生", to), field("转诊理由", reason),
    h("button", { type: "submit", class: "quiet" }, "发起转诊")));
  form.addEventListener("toggle", guarded(pane.tell, async () => {
    if (!form.open || to.options.length) return;
    const { items } = await pane.api.get("/doctors?limit=100");
    const others = items.filter(({ id, prices }) => id !== pane.me.id && prices.text.price !== null);
    to.append(...others.map(({ id, name, title }) => h("option", { value: id }, `${name} · ${title}`)));
  }));
  return form;
}

// The card in the room; the patient answers on it while it waits for him.
export function transferCard(session, { transfer, patient }, live) {
  const answer = (what) => guarded(session.tell, () =>
    session.socket.emit(`transfer:${what}`, { transfer: transfer.id }));
  const now = live?.id === transfer.id ? live : transfer;
  const asks = now.state === "proposed" && session.me.role === "patient";
  return h("article", { class: "card", ariaLabel: "转诊信息" },
    h("h4", {}, "转诊信息"),
    h("p", {}, `转诊医生：${transfer.to_doctor.name} ${transfer.to_doctor.title}`),
    h("p", {}, `转诊患者：${patient}`),
    h("p", {}, `原接诊医生：${transfer.from_doctor.name}`),
    h("p", {}, `转诊理由：${transfer.reason}`),
    h("p", { class: "meta" }, `转诊时间：${shortTime(transfer.proposed_at)}`),
    asks
      ? h("div", { class: "buttons" },
          button("同意", answer("agree"), "primary"), button("拒绝", answer("refuse"), "quiet"))
      : h("p", { class: "hint" }, STATE[now.state]));
}
