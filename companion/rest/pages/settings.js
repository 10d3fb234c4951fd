// The own account (账号设置): its details and its password (A7, A8).

import { button, field, guarded, h } from "./dom.js";

const SEX = { "": "未填写", male: "男", female: "女" };

export function settingsBox(pane) {
  const place = h("div", {});
  const box = h("details", { class: "settings" }, h("summary", {}, "账号设置"), place);
  const load = async () => {
    const me = await pane.api.get("/me");
    place.replaceChildren(profileForm(pane, me, load), passwordForm(pane));
  };
  box.addEventListener("toggle", guarded(pane.tell, async () => box.open && load()));
  return box;
}

function profileForm(pane, me, load) {
  const avatar = h("input", { type: "file", accept: "image/jpeg,image/png,image/webp" });
  const name = h("input", { maxLength: 20, required: true, value: me.name });
  const sex = h("select", {}, Object.entries(SEX).map(([value, label]) =>
    h("option", { value, selected: value === (me.sex ?? "") }, label)));
  const born = h("input", { type: "date", value: me.birth_date ?? "" });
  const realName = h("input", { maxLength: 20, value: me.real_name ?? "" });
  const card = h("input", { maxLength: 18, placeholder: me.id_card ?? "请填写真实身份证号" });
  const phone = h("input", { maxLength: 11, inputMode: "tel", placeholder: me.phone });
  const code = h("input", { maxLength: 6, inputMode: "numeric" });
  const changes = async () => ({
    ...(avatar.files.length ? { avatar: (await pane.api.upload(avatar.files[0])).id } : {}),
    ...(name.value.trim() !== me.name ? { name: name.value.trim() } : {}),
    ...(sex.value && sex.value !== me.sex ? { sex: sex.value } : {}),
    ...(born.value && born.value !== me.birth_date ? { birth_date: born.value } : {}),
    ...(realName.value.trim() && realName.value.trim() !== me.real_name
      ? { real_name: realName.value.trim() } : {}),
    ...(card.value.trim() ? { id_card: card.value.trim() } : {}),
    ...(phone.value.trim() ? { phone: phone.value.trim(), code: code.value.trim() } : {}),
  });
  const save = async (change) => {
    pane.keepMe(await pane.api.patch("/me", change));
    await load();
    pane.tell("资料已保存");
  };
  return h("form", {
    class: "card-form", ariaLabel: "修改资料",
    onsubmit: guarded(pane.tell, async () => save(await changes())),
  },
  me.avatar_url ? [
    h("img", { class: "avatar", src: me.avatar_url, alt: "头像" }),
    button("移除头像", guarded(pane.tell, () => save({ avatar: null })), "quiet"),
  ] : null,
  field("头像", avatar), field("用户名", name), field("性别", sex), field("出生日期", born),
  field("真实姓名", realName), field("身份证", card, me.verified ? hint("已实名") : null),
  field("手机号", phone), field("验证码", code, sendCode(pane, phone)),
  h("button", { type: "submit", class: "primary" }, "提交"));
}

function sendCode(pane, phone) {
  return h("button", {
    type: "button", class: "quiet",
    onclick: guarded(pane.tell, async () => {
      await pane.api.post("/auth/sms-codes", { phone: phone.value.trim(), purpose: "change_phone" });
      pane.tell("验证码已发送到新手机号");
    }),
  }, "获取验证码");
}

function passwordForm(pane) {
  const [old, fresh, again] = ["current-password", "new-password", "new-password"].map((kind) =>
    h("input", { type: "password", required: true, maxLength: 64, autocomplete: kind }));
  const form = h("form", {
    class: "card-form", ariaLabel: "修改密码",
    onsubmit: guarded(pane.tell, async () => {
      await pane.api.post("/me/password", {
        old_password: old.value, new_password: fresh.value, confirm_password: again.value,
      });
      form.reset();
      pane.tell("密码已修改，其他设备需要重新登录");
    }),
  },
  field("旧密码", old),
  field("新密码", fresh, hint("密码不能包括空格，由8-16位的字母、数字、符号中至少2种组成")),
  field("确认密码", again),
  h("button", { type: "submit", class: "primary" }, "修改密码"));
  return form;
}

function hint(text) {
  return h("p", { class: "hint" }, text);
}
