// A prescription as it is read: the card in the room, and the sheet to print.

import { button, guarded, h, shortTime } from "./dom.js";
import { SEX } from "./words.js";

export const drugLines = (drugs) => h("ol", {}, drugs.map((d) =>
  h("li", {}, h("strong", {}, d.name), ` ${d.specification} × ${d.quantity}${d.unit}`,
    h("p", { class: "hint" }, d.usage))));

export function drawPrescription(body, { api, tell }) {
  const { name, sex, age } = body.person;
  return h("article", { class: "card", ariaLabel: "处方" },
    h("h4", {}, "电子处方"),
    h("p", {}, `${name} · ${SEX[sex] ?? sex} · ${age} 岁 · ${body.doctor}`),
    h("p", {}, `诊断：${body.diagnoses.join("；")}`),
    drugLines(body.drugs),
    body.advice ? h("p", {}, `医嘱：${body.advice}`) : null,
    h("p", { class: "meta" }, `有效期至 ${shortTime(body.valid_until)}`),
    button("打印处方笺", guarded(tell, () => openSheet(api, body.prescription)), "quiet"));
}

// The window comes first: only a person's own click may open one.
async function openSheet(api, id) {
  const page = window.open("about:blank", "_blank");
  try {
    const address = URL.createObjectURL(await api.get(`/prescriptions/${id}/pdf`));
    if (page) page.location.href = address;
    else location.href = address;
  } catch (error) {
    page?.close();
    throw error;
  }
}
