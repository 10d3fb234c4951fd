// The pharmacist's side: what waits to be checked, and the decision.

import { button, field, guarded, h, shortTime } from "./dom.js";
import { drugLines } from "./prescription.js";
import { SEX } from "./words.js";

export class PharmacistView {
  #pane;
  #waiting = new Map();

  constructor(pane) {
    this.#pane = pane;
    this.list = h("ul", { class: "items", ariaLabel: "待审处方" });
    this.element = h("div", { class: "view" }, h("h3", {}, "待审处方"), this.list);
    pane.socket.addEventListener("prescription:updated", this.#updated);
    pane.socket.addEventListener("state", this.#connected);
    this.#load();
  }

  close() {
    this.#pane.socket.removeEventListener("prescription:updated", this.#updated);
    this.#pane.socket.removeEventListener("state", this.#connected);
  }

  #updated = ({ detail }) => this.#keep(detail);

  // What changed while the socket was away comes by the list.
  #connected = ({ detail }) => detail === "connected" && this.#load();

  async #load() {
    try {
      const { items } = await this.#pane.api.get("/prescriptions?state=submitted&limit=100");
      // the longest waiting first
      this.#waiting = new Map(items.reverse().map((p) => [p.id, p]));
      this.#render();
    } catch (error) {
      this.#pane.tell(error.message);
    }
  }

  #keep(prescription) {
    if (prescription.state === "submitted") this.#waiting.set(prescription.id, prescription);
    else this.#waiting.delete(prescription.id);
    this.#render();
  }

  #render() {
    const items = [...this.#waiting.values()].map((p) => this.#item(p));
    const empty = h("li", { class: "empty" }, "暂无待审处方，新的处方会立即出现在这里");
    this.list.replaceChildren(...(items.length ? items : [empty]));
  }

  #item(p) {
    const { name, sex, age } = p.person;
    const reason = h("input", { required: true, maxLength: 200 });
    const decide = (what, body) => guarded(this.#pane.tell, async () =>
      this.#keep(await this.#pane.api.post(`/prescriptions/${p.id}/${what}`, body?.() ?? {})));
    return h("li", {},
      h("div", {},
        h("strong", {}, name), ` · ${SEX[sex] ?? sex} · ${age} 岁 · ${p.doctor.name} · `,
        shortTime(p.submitted_at),
        h("p", {}, `诊断：${p.diagnoses.map((d) => d.name).join("；")}`),
        p.allergies.length ? h("p", {}, `过敏史：${p.allergies.join("、")}`) : null,
        drugLines(p.drugs),
        h("ul", { class: "warnings" }, p.warnings.map((w) => h("li", { class: "problem" }, w.text)))),
      h("div", { class: "buttons" },
        button("审核通过", decide("approve"), "primary"),
        h("details", { class: "decline" },
          h("summary", { class: "button quiet" }, "驳回"),
          h("form", {
            class: "row", onsubmit: decide("reject", () => ({ reason: reason.value.trim() })),
          },
          field("驳回原因", reason),
          h("button", { type: "submit", class: "quiet" }, "确定驳回")))));
  }
}
