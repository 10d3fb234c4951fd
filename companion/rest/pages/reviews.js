// Reviewing a consultation that ended (评价): stars, a label, a few words.

import { field, guarded, h } from "./dom.js";

const LABELS = { 5: "非常满意", 4: "满意", 3: "一般", 2: "不满意", 1: "非常不满意" };

// The form, until it was sent or was sent before.
export function reviewForm(pane, consultation) {
  const stars = h("select", {},
    [5, 4, 3, 2, 1].map((n) => h("option", { value: n }, `${"★".repeat(n)} ${LABELS[n]}`)));
  const text = h("input", { maxLength: 500, placeholder: "请输入留言" });
  const form = h("form", {
    class: "row",
    hidden: true,
    onsubmit: guarded(pane.tell, async () => {
      await pane.api.post(`/consultations/${consultation.id}/review`, {
        stars: Number(stars.value), text: text.value.trim(),
      });
      form.replaceWith(h("p", { class: "hint" }, "感谢您的评价"));
    }),
  }, h("strong", {}, "评价医生"), field("评分", stars), field("留言", text),
  h("button", { type: "submit", class: "primary" }, "提交评价"));
  pane.api.get("/me/reviews?limit=100").then(({ items }) => {
    form.hidden = items.some((review) => review.consultation === consultation.id);
  }, ({ message }) => pane.tell(message));
  return form;
}
