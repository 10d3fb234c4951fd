// The doctor's prescription (开处方): found in the catalogue, warned of, signed and submitted.

import { button, field, guarded, h } from "./dom.js";
import { FREQUENCY } from "./words.js";

const SEARCH_MS = 250;

export class PrescriptionForm {
  #pane;
  #consultation;
  #drugs = [];
  #diagnosis = null;
  #draft = null;

  constructor(pane, consultation) {
    this.#pane = pane;
    this.#consultation = consultation;
    this.chosen = h("ul", { class: "items", ariaLabel: "已选药品" });
    this.warnings = h("ul", { class: "warnings", role: "status" });
    this.diagnosis = h("strong", {}, "未选择");
    this.advice = h("input", { maxLength: 500 });
    this.allergies = h("input", { maxLength: 200, placeholder: "多个以空格分开" });
    this.accompanied = h("input", { type: "checkbox" });
    this.submit = h("button", { type: "submit", class: "primary" }, "签名并提交审核");
    this.element = h("details", { class: "prescribe" },
      h("summary", { class: "button" }, "开处方"),
      h("form", { class: "card-form", onsubmit: guarded(pane.tell, () => this.#send()) },
        this.#search("诊断", "/diagnoses", (d) => `${d.name} ${d.code}`, (d) => this.#diagnose(d)),
        h("p", { class: "hint" }, "诊断：", this.diagnosis),
        this.#search("药品", "/drugs", (d) => `${d.name} ${d.specification}`, (d) => this.#add(d)),
        this.chosen, field("过敏史", this.allergies), field("医嘱", this.advice),
        consultation.person.age < 6
          ? h("label", { class: "check" }, this.accompanied, "监护人和相关专业医师在场陪伴") : null,
        this.warnings, this.submit));
  }

  // A box whose finds are chosen with one click.
  #search(label, path, words, choose) {
    const found = h("div", { class: "buttons" });
    const text = h("input", { type: "search", maxLength: 40 });
    let waiting;
    const look = async () => {
      const q = text.value.trim();
      const items = q ? (await this.#pane.api.get(`${path}?q=${encodeURIComponent(q)}`)).items : [];
      found.replaceChildren(...items.slice(0, 6).map((item) => {
        const pick = button(words(item), () => {
          choose(item);
          text.value = "";
          found.replaceChildren();
        }, "quiet");
        pick.disabled = Boolean(item.controlled);
        return pick;
      }));
    };
    text.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => look().catch((error) => this.#pane.tell(error.message)), SEARCH_MS);
    });
    return h("div", {}, field(label, text), found);
  }

  #diagnose(diagnosis) {
    this.#diagnosis = diagnosis.code;
    this.diagnosis.textContent = `${diagnosis.name} ${diagnosis.code}`;
  }

  #add(drug) {
    const number = (label, value, step) =>
      h("input", { type: "number", ariaLabel: label, value, min: step, step, required: true });
    const row = {
      drug: drug.id,
      dose: number(`每次剂量（${drug.dose_unit}）`, drug.max_single ?? 1, "any"),
      days: number("天数", 3, 1), quantity: number("数量", 1, 1),
      frequency: h("select", { ariaLabel: "频次" },
        Object.entries(FREQUENCY).map(([value, label]) => h("option", { value }, label))),
      route: h("select", { ariaLabel: "用法" }, drug.routes.map((r) => h("option", { value: r }, r))),
    };
    row.dose.min = 0;
    const line = h("li", {},
      h("div", {}, h("strong", {}, drug.name), ` ${drug.specification} `,
        h("div", { class: "dosage" }, "每次", row.dose, drug.dose_unit, row.frequency, row.route,
          row.days, "天", row.quantity, drug.unit)),
      button("移除", () => {
        this.#drugs = this.#drugs.filter((other) => other !== row);
        line.remove();
      }, "link"));
    this.#drugs.push(row);
    this.chosen.append(line);
  }

  #written() {
    return {
      diagnoses: this.#diagnosis ? [this.#diagnosis] : [],
      drugs: this.#drugs.map((row) => ({
        drug: row.drug, dose: Number(row.dose.value), frequency: row.frequency.value,
        route: row.route.value, days: Number(row.days.value), quantity: Number(row.quantity.value),
      })),
      advice: this.advice.value.trim(),
      allergies: this.allergies.value.split(/[\s、，,]+/).filter(Boolean),
      accompanied: this.accompanied.checked,
    };
  }

  // The first press drafts it; where that brings warnings, a second one passes them over.
  async #send() {
    const text = JSON.stringify(this.#written());
    if (this.#draft?.text !== text) {
      const made = this.#draft
        ? await this.#pane.api.put(`/prescriptions/${this.#draft.id}`, this.#written())
        : await this.#pane.api.post("/prescriptions",
          { consultation: this.#consultation.id, ...this.#written() });
      this.#draft = { id: made.id, text };
      this.warnings.replaceChildren(...made.warnings.map((w) => h("li", { class: "problem" }, w.text)));
      if (made.warnings.length) {
        this.submit.textContent = "已知悉警示，仍签名提交";
        return;
      }
    }
    await this.#pane.api.post(`/prescriptions/${this.#draft.id}/submit`);
    const done = h("p", { class: "hint", role: "status" }, "处方已提交，等待药师审核");
    this.element.replaceWith(h("div", {}, done, new PrescriptionForm(this.#pane, this.#consultation).element));
  }
}
