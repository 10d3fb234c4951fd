// Complaints and suggestions (投诉建议): the form, and what became of one's own.

import { button, field, guarded, h, shortTime } from "./dom.js";

const REASONS = ["问题疑问", "产品建议", "页面布局"];
const STATE = { open: "待回复", answered: "已回复", closed: "已关闭" };
const IMAGES_MAX = 4;

export function complaintBox(pane) {
  const reason = h("select", {}, REASONS.map((name) => h("option", {}, name)));
  const text = h("textarea", {
    required: true, maxLength: 1000, rows: 3, placeholder: "请输入投诉/建议原因",
  });
  const pictures = h("input", {
    type: "file", multiple: true, accept: "image/jpeg,image/png,image/webp",
  });
  const contact = h("input", { maxLength: 60 });
  const list = h("ul", { class: "items", ariaLabel: "我的投诉建议" });
  const load = guarded(pane.tell, async () => {
    const { items } = await pane.api.get("/complaints");
    list.replaceChildren(...items.map((one) => item(pane, one, load)));
  });
  const form = h("form", {
    class: "card-form",
    onsubmit: guarded(pane.tell, async () => {
      if (pictures.files.length > IMAGES_MAX) throw new Error(`最多上传${IMAGES_MAX}张图片`);
      const uploads = await Promise.all([...pictures.files].map((file) => pane.api.upload(file)));
      await pane.api.post("/complaints", {
        reason: reason.value, text: text.value.trim(), images: uploads.map(({ id }) => id),
        ...(contact.value.trim() ? { contact: contact.value.trim() } : {}),
      });
      form.reset();
      await load();
    }),
  },
  field("请选择原因", reason), field("原因", text), field(`图片（最多${IMAGES_MAX}张）`, pictures),
  field("联系方式", contact,
    h("p", { class: "hint" }, "请放心留下您的联系方式，以便处理后及时给您反馈。")),
  h("button", { type: "submit", class: "primary" }, "提交"));
  const box = h("details", { class: "complaints" }, h("summary", {}, "投诉建议"), form, list);
  box.addEventListener("toggle", () => box.open && load());
  return box;
}

function item(pane, one, load) {
  const close = guarded(pane.tell, async () => {
    await pane.api.post(`/complaints/${one.id}/close`);
    await load();
  });
  return h("li", {},
    h("div", {}, h("strong", {}, one.reason), ` ${STATE[one.state]}`,
      h("p", {}, one.text), one.answer ? h("p", {}, `回复：${one.answer}`) : null,
      h("p", { class: "hint" }, shortTime(one.created_at))),
    one.state === "answered" ? button("关闭", close, "quiet") : null);
}
