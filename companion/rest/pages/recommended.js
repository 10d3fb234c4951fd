// Recommended doctors (推荐医生) of the home page.

import { button, h } from "./dom.js";

const FEW = 3;

// `choose(id)` begins a consultation with one of them.
export function recommendedDoctors(pane, choose) {
  const list = h("ul", { class: "items", ariaLabel: "推荐医生" });
  pane.api.get(`/doctors?recommended=true&limit=${FEW}`).then(
    ({ items }) => list.replaceChildren(...items.map((doctor) => item(doctor, choose))),
    ({ message }) => pane.tell(message));
  return h("section", {}, h("h3", {}, "推荐医生"), list);
}

function item(doctor, choose) {
  return h("li", {},
    doctor.avatar_url ? h("img", { class: "avatar", src: doctor.avatar_url, alt: "" }) : null,
    h("div", {}, h("strong", {}, doctor.name), ` | ${doctor.title} `,
      h("span", { class: "tag" }, doctor.online ? "在线" : "离线"),
      h("p", { class: "hint" }, `${doctor.hospital} ${doctor.department}`),
      doctor.speciality ? h("p", { class: "hint" }, `擅长：${doctor.speciality}`) : null,
      h("p", { class: "hint" },
        `好评率 ${doctor.positive_rate ?? "暂无"} 问诊量 ${doctor.consultation_count}`)),
    button("去问诊", () => choose(doctor.id), "quiet"));
}
