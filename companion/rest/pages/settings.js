// Account settings (账号设置): the profile with its avatar, and the password.

import { button, field, guarded, h } from "./dom.js";

const SEX = { "": "请选择", male: "男", female: "女" };

// Closed at first; what it shows is asked for whenever it is opened.
export function settingsBox(pane) {
  const shown = h("div", {});
  const load = guarded(pane.tell, async () => {
    const me = await pane.api.get("/me");
    shown.replaceChildren(profile(pane, me, load), passwords(pane));
  });
  const box = h("details", { class: "settings" }, h("summary", {}, "账号设置"), shown);
  box.addEventListener("toggle", () => (box.open ? load() : shown.replaceChildren()));
  return box;
}

function profile(pane, me, load) {
  const picture = h("input", { type: "file", accept: "image/jpeg,image/png,image/webp" });
  const code = h("input", { inputMode: "numeric", autocomplete: "one-time-code", maxLength: 6 });
  const inputs = {
    name: h("input", { maxLength: 20, value: me.name }),
    sex: h("select", {}, Object.entries(SEX).map(([value, label]) =>
      h("option", { value, selected: value === (me.sex ?? "") }, label))),
    birth_date: h("input", { type: "date", value: me.birth_date ?? "" }),
    real_name: h("input", { maxLength: 20, value: me.real_name ?? "" }),
    // both are shown masked: what stays empty stays as it is
    id_card: h("input", { maxLength: 18, placeholder: me.id_card ?? "请填写真实身份证号" }),
    phone: h("input", { type: "tel", maxLength: 11, placeholder: me.phone }),
  };
  const submit = guarded(pane.tell, async () => {
    const changes = changed(me, inputs);
    if (changes.phone) changes.code = code.value.trim();
    if (picture.files[0]) changes.avatar = (await pane.api.upload(picture.files[0])).id;
    pane.keepMe(await pane.api.patch("/me", changes));
    await load();
    pane.tell("资料已保存");
  });
  return h("form", { class: "card-form", onsubmit: submit }, h("h3", {}, "修改资料"),
    me.avatar_url ? h("img", { class: "picture", src: me.avatar_url, alt: "头像" }) : null,
    field("头像", picture), field("用户名", inputs.name), field("性别", inputs.sex),
    field("出生日期", inputs.birth_date), field("真实姓名", inputs.real_name),
    field("身份证", inputs.id_card,
      h("p", { class: "hint" }, me.verified ? "已实名" : "填写真实姓名和身份证后为已实名")),
    field("手机号", inputs.phone), h("div", { class: "row" }, field("新手机号验证码", code),
      button("获取验证码", guarded(pane.tell, () => sendCode(pane, inputs.phone.value)), "quiet")),
    h("button", { type: "submit", class: "primary" }, "保存资料"));
}

function changed(me, inputs) {
  const given = Object.entries(inputs).map(([name, { value }]) => [name, value.trim()]);
  return Object.fromEntries(given.filter(([name, value]) => value && value !== me[name]));
}

async function sendCode(pane, phone) {
  await pane.api.post("/auth/sms-codes", { phone: phone.trim(), purpose: "change_phone" });
  pane.tell("验证码已发送");
}

function passwords(pane) {
  const [old, fresh, again] = ["current-password", "new-password", "new-password"].map((kind) =>
    h("input", { type: "password", autocomplete: kind, required: true }));
  const form = h("form", {
    class: "card-form",
    onsubmit: guarded(pane.tell, async () => {
      await pane.api.post("/me/password", {
        old_password: old.value, new_password: fresh.value, confirm_password: again.value,
      });
      form.reset();
      pane.tell("密码已修改，其他设备需重新登录");
    }),
  }, h("h3", {}, "修改密码"), field("旧密码", old),
  field("新密码", fresh,
    h("p", { class: "hint" }, "密码不能包括空格，由8-16位的字母、数字、符号中至少2种组成")),
  field("确认密码", again), h("button", { type: "submit", class: "primary" }, "修改密码"));
  return form;
}
