// The form of a consultation (C1): doctor, mode, a slot for voice and video, person, description.

import { field, guarded, h } from "./dom.js";
import { MODE } from "./words.js";

const FEW = 10;
const MANY = 60;

export class RequestForm {
  #pane;
  #submit;
  #doctors = [];
  #images = [];

  // `submit(request)` sends what POST /consultations takes.
  constructor(pane, submit) {
    this.#pane = pane;
    this.#submit = submit;
    this.element = h("div", {}, h("p", { class: "hint" }, "加载中…"));
  }

  async build() {
    const [doctors, people, consents] = await Promise.all(
      ["/doctors", "/people", "/consents"].map((path) => this.#pane.api.get(path)));
    this.#doctors = doctors.items;
    const consent = consents.items.find(({ kind }) => kind === "informed_consent");
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
    const offer = this.#offer();
    this.element.replaceChildren(h("form", {
      class: "card-form",
      onsubmit: guarded(this.#pane.tell, () => this.#submit({
        ...this.#chosen(), person: person.value, seen_before: seen.checked,
        description: description.value.trim(), images: this.#images.map(({ id }) => id),
        consent_version: consent.version,
      })),
    },
    h("h3", {}, "发起问诊"), ...offer,
    field("就诊人", person), field("病情描述", description, count), this.#pictures(),
    h("label", { class: "check" }, seen, "曾在该医生处就诊"),
    h("label", { class: "check" }, agreed, `我已阅读并同意《${consent.title}》`),
    h("details", {}, h("summary", {}, "查看协议"), h("p", { class: "hint" }, consent.text)),
    h("button", { type: "submit", class: "primary" }, "提交问诊")));
    this.#doctorChanged();
  }

  choose(doctor) {
    // not built yet
    if (!this.doctor) return;
    this.doctor.value = doctor;
    this.#doctorChanged();
    this.element.scrollIntoView({ block: "start" });
  }

  #offer() {
    const changed = (work) => guarded(this.#pane.tell, work);
    this.doctor = h("select", {
      name: "doctor", required: true, onchange: () => this.#doctorChanged(),
    }, this.#doctors.map((d) =>
      h("option", { value: d.id }, `${d.name} · ${d.title} · ${d.department}${d.online ? " · 在线" : ""}`)));
    this.mode = h("select", { name: "mode", required: true, onchange: changed(() => this.#modeChanged()) });
    this.day = h("select", { name: "day", onchange: changed(() => this.#dayChanged()) });
    this.slot = h("select", { name: "slot" });
    this.booking = h("div", { class: "row", hidden: true },
      field("日期", this.day), field("时间", this.slot));
    return [field("医生", this.doctor), field("问诊方式", this.mode), this.booking];
  }

  #chosen() {
    const chosen = { doctor: this.doctor.value, mode: this.mode.value };
    return chosen.mode === "text" ? chosen : { ...chosen, slot: this.slot.value };
  }

  // Only the modes that this doctor serves, each with its price.
  #doctorChanged() {
    const doctor = this.#doctors.find(({ id }) => id === this.doctor.value);
    this.mode.replaceChildren(...Object.entries(doctor?.prices ?? {})
      .filter(([, { price }]) => price !== null)
      .map(([mode, { label }]) => h("option", { value: mode }, `${MODE[mode]}问诊 ${label}`)));
    this.#modeChanged().catch(({ message }) => this.#pane.tell(message));
  }

  async #modeChanged() {
    const booked = this.mode.value !== "text";
    this.booking.hidden = !booked;
    this.slot.required = this.day.required = booked;
    if (!booked) return;
    const { items } = await this.#slots();
    this.day.replaceChildren(...items.map(({ date, label, free }) =>
      h("option", { value: date, disabled: !free, selected: Boolean(free) && !items.some(
        (other) => other.free && other.date < date) },
      `${date.slice(5)} 周${label}${free ? "" : " 已满"}`)));
    await this.#dayChanged();
  }

  async #dayChanged() {
    const { items } = await this.#slots(this.day.value);
    this.slot.replaceChildren(...items.map(({ id, begins, ends, label, free }) =>
      h("option", { value: id, disabled: !free }, `${begins}-${ends} ${label}${free ? "" : " 已约"}`)));
    const first = items.find(({ free }) => free);
    if (first) this.slot.value = first.id;
  }

  #slots(date = null) {
    const day = date ? `&date=${date}` : "";
    return this.#pane.api.get(`/doctors/${this.doctor.value}/slots?mode=${this.mode.value}${day}`);
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
}
