// The patient's side: choose a doctor and a person, describe, wait, talk.

import { Chat } from "./chat.js";
import { Consultations } from "./consultations.js";
import { button, field, guarded, h, money, shortTime } from "./dom.js";
import { MODE, OPEN, STATE } from "./words.js";

const FEW = 10;
const MANY = 60;

export class PatientView {
  #pane;
  #chat = null;
  #images = [];
  #consultations;

  constructor(pane) {
    this.#pane = pane;
    this.element = h("div", { class: "view" });
    this.#consultations = new Consultations(pane, OPEN, () => this.#renderList());
    this.#home();
  }

  close() {
    this.#chat?.close();
    this.#consultations.close();
  }

  #home() {
    this.#chat?.close();
    this.#chat = null;
    this.list = h("ul", { class: "items", ariaLabel: "我的问诊" });
    this.form = h("div", {}, h("p", { class: "hint" }, "加载中…"));
    this.element.replaceChildren(this.list, this.form);
    this.#consultations.load();
    this.#buildForm().catch((error) => this.#pane.tell(error.message));
  }

  #renderList() {
    this.list.replaceChildren(...this.#consultations.all.map((c) =>
      h("li", {},
        h("div", {}, h("strong", {}, c.doctor.name), ` · ${c.person.name} · ${MODE[c.mode]} `,
          h("span", { class: "tag", "data-state": c.state }, STATE[c.state]),
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

  #actions(c) {
    const act = (what) => guarded(this.#pane.tell, () => this.#act(c, what));
    if (c.state === "awaiting_doctor") return [button("取消问诊", act("cancel"), "quiet")];
    if (c.state === "in_progress") return [button("结束问诊", act("end"), "quiet")];
    return [];
  }

  async #act(consultation, what) {
    await this.#pane.api.post(`/consultations/${consultation.id}/${what}`);
    const after = await this.#pane.api.get(`/consultations/${consultation.id}`);
    this.#chat?.show(after);
    this.#consultations.keep(after);
  }

  async #buildForm() {
    const { api } = this.#pane;
    const [doctors, people, consents] = await Promise.all(
      ["/doctors", "/people", "/consents"].map((path) => api.get(path)));
    const consent = consents.items.find(({ kind }) => kind === "informed_consent");
    const doctor = h("select", { name: "doctor", required: true }, doctors.items.map((d) =>
      h("option", { value: d.id }, `${d.name} · ${d.title} · ${d.department}${d.online ? " · 在线" : ""}`)));
    const person = h("select", { name: "person", required: true }, people.items.map((p) =>
      h("option", { value: p.id, selected: p.default }, p.name)));
    const count = h("span", { class: "hint" }, `0/${MANY}`);
    const description = h("textarea", {
      name: "description", rows: 3, required: true, placeholder: `请描述病情（${FEW}–${MANY} 字）`,
      // the hospital counts characters, the browser's own limit counts UTF-16 units
      oninput: () => (count.textContent = `${[...description.value.trim()].length}/${MANY}`),
    });
    const seen = h("input", { type: "checkbox", name: "seen_before" });
    const agreed = h("input", { type: "checkbox", name: "consent", required: true });
    this.form.replaceChildren(h("form", {
      class: "card-form",
      onsubmit: guarded(this.#pane.tell, () => this.#submit({
        doctor: doctor.value, mode: "text", person: person.value, seen_before: seen.checked,
        description: description.value.trim(), images: this.#images.map(({ id }) => id),
        consent_version: consent.version,
      })),
    },
    h("h3", {}, "发起图文问诊"),
    field("医生", doctor), field("就诊人", person), field("病情描述", description, count),
    this.#pictures(),
    h("label", { class: "check" }, seen, "曾在该医生处就诊"),
    h("label", { class: "check" }, agreed, `我已阅读并同意《${consent.title}》`),
    h("details", {}, h("summary", {}, "查看协议"), h("p", { class: "hint" }, consent.text)),
    h("button", { type: "submit", class: "primary" }, "提交问诊")));
  }

  #pictures() {
    this.#images = [];
    const names = h("span", { class: "hint" }, "最多 9 张");
    const input = h("input", {
      type: "file", accept: "image/jpeg,image/png,image/webp", multiple: true, ariaLabel: "病情图片",
      onchange: guarded(this.#pane.tell, async () => {
        const files = [...input.files];
        input.value = "";
        for (const file of files) {
          this.#images.push({ id: (await this.#pane.api.upload(file)).id, name: file.name });
          names.textContent = this.#images.map(({ name }) => name).join("、");
        }
      }),
    });
    return h("div", { class: "row" }, h("label", { class: "button quiet" }, "添加图片", input), names);
  }

  async #submit(request) {
    const made = await this.#pane.api.post("/consultations", request);
    this.#consultations.keep(made);
    if (made.state === "awaiting_payment") this.#home();
    else this.#enter(made);
  }
}
