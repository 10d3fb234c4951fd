// The patient's side: ask a doctor, wait, talk.

import { Chat } from "./chat.js";
import { Circle } from "./circle.js";
import { Consultations } from "./consultations.js";
import { GroupsOfMine, groupView } from "./groups.js";
import { button, guarded, h, money, shortTime } from "./dom.js";
import { complaintBox } from "./complaints.js";
import { recommendedDoctors } from "./recommended.js";
import { RequestForm } from "./request.js";
import { reviewForm } from "./reviews.js";
import { settingsBox } from "./settings.js";
import { MODE, OPEN, stateOf } from "./words.js";

export class PatientView {
  #pane;
  #chat = null;
  #consultations;
  #groups;

  constructor(pane) {
    this.#pane = pane;
    this.element = h("div", { class: "view" });
    this.#consultations = new Consultations(pane, OPEN, () => this.#renderList());
    this.#groups = new GroupsOfMine(pane);
    pane.enterGroup = guarded(pane.tell, (id) => this.#enterGroup(id));
    this.#home();
  }

  close() {
    this.#chat?.close();
    this.#groups.close();
    this.#consultations.close();
  }

  #home() {
    this.#chat?.close();
    this.#chat = null;
    this.list = h("ul", { class: "items", ariaLabel: "我的问诊" });
    const form = new RequestForm(this.#pane, (request) => this.#submit(request));
    const circle = new Circle(this.#pane);
    this.element.replaceChildren(
      this.#groups.element, this.list,
      recommendedDoctors(this.#pane, (id) => form.choose(id)), form.element, circle.element,
      complaintBox(this.#pane), settingsBox(this.#pane));
    this.#consultations.load();
    form.build().catch((error) => this.#pane.tell(error.message));
  }

  #renderList() {
    this.list.replaceChildren(...this.#consultations.all.map((c) =>
      h("li", {},
        h("div", {}, h("strong", {}, c.doctor.name), ` · ${c.person.name} · ${MODE[c.mode]} `,
          h("span", { class: "tag", "data-state": c.state }, stateOf(c)),
          c.slot ? h("p", {}, `预约 ${shortTime(c.slot.starts_at)}`) : null,
          h("p", { class: "hint" }, `${shortTime(c.created_at)} ${c.description}`)),
        h("div", { class: "buttons" },
          c.state === "awaiting_payment"
            ? this.#payment(c)
            : button("进入", () => this.#enter(c), "primary")))));
  }

  #payment(c) {
    return [
      button(`支付 ${money(c.price)}`, guarded(this.#pane.tell, () => this.#pay(c)), "primary"),
      button("取消", guarded(this.#pane.tell, () => this.#act(c, "cancel")), "quiet"),
    ];
  }

  async #pay({ id }) {
    const { payment } = await this.#pane.api.post(`/consultations/${id}/pay`);
    if (payment.provider !== "sandbox") throw new Error("请在小程序中完成支付");
    await this.#pane.api.post(`/payments/sandbox/${payment.id}/succeed`);
    await this.#consultations.load();
  }

  #enter(consultation) {
    this.#chat?.close();
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
    const act = (what) => guarded(this.#pane.tell, () => this.#act(c, what));
    if (c.state === "awaiting_doctor") return [button("取消问诊", act("cancel"), "quiet")];
    if (c.state === "in_progress") return [button("结束问诊", act("end"), "quiet")];
    if (c.state === "ended") return [reviewForm(this.#pane, c)];
    return [];
  }

  async #act(consultation, what) {
    await this.#pane.api.post(`/consultations/${consultation.id}/${what}`);
    const after = await this.#pane.api.get(`/consultations/${consultation.id}`);
    this.#chat?.show(after);
    this.#consultations.keep(after);
  }

  async #submit(request) {
    const made = await this.#pane.api.post("/consultations", request);
    this.#consultations.keep(made);
    if (made.state === "awaiting_payment" || made.slot) this.#home();
    else this.#enter(made);
  }
}
