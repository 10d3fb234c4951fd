// One side of the page: log in, stay connected, and show the side's own view.

import { Api } from "./api.js";
import { button, field, guarded, h } from "./dom.js";
import { Ringing } from "./ringing.js";
import { Socket } from "./socket.js";
import { CONNECTION } from "./words.js";

const TELL_MS = 6_000;

export class Pane {
  #root;
  #options;
  #view = null;
  #ringing = null;
  #telling;
  api = new Api();

  // `role` and `title` name the side, `device` is what it connects as, `view` shows it logged in.
  constructor(root, options) {
    this.#root = root;
    this.#options = options;
    this.socket = new Socket(location.href, (refusal) => this.#credentials(refusal));
    this.status = h("span", { class: "connection", role: "status" });
    this.note = h("p", { class: "note", role: "alert", hidden: true });
    this.body = h("div", { class: "body" });
    this.account = h("div", { class: "row account", hidden: true });
    this.socket
      .on("state", (state) => this.#connection(state))
      .on("session:expiring", () => this.#stayLoggedIn().catch((error) => this.tell(error.message)));
    document.addEventListener("visibilitychange", () => this.#presence());
    root.replaceChildren(
      h("header", { class: "row" }, h("h2", {}, options.title), this.account), this.note, this.body);
    this.#showLogIn();
  }

  get me() {
    return this.api.user;
  }

  // The own account was edited.
  keepMe(user) {
    const renamed = user.name !== this.me.name;
    this.api.user = user;
    this.name.textContent = user.name;
    // what is said next goes out under the token's name
    if (renamed) this.#stayLoggedIn().catch((error) => this.tell(error.message));
  }

  tell = (message) => {
    clearTimeout(this.#telling);
    this.note.textContent = message;
    this.note.hidden = false;
    this.#telling = setTimeout(() => (this.note.hidden = true), TELL_MS);
  };

  #showLogIn() {
    this.account.hidden = true;
    const phone = h("input", {
      name: "phone", type: "tel", autocomplete: "username", required: true, maxLength: 11,
    });
    const password = h("input", {
      name: "password", type: "password", autocomplete: "current-password", required: true,
    });
    const accounts = this.#options.accounts;
    if (accounts.length) [phone.value, password.value] = [accounts[0].phone, accounts[0].password];
    const pick = h("select", {
      onchange: () => ([phone.value, password.value] = pick.value.split(" ")),
    }, accounts.map((a) => h("option", { value: `${a.phone} ${a.password}` }, `${a.name} ${a.phone}`)));
    this.body.replaceChildren(h("form", {
      class: "card-form",
      onsubmit: guarded(this.tell, () => this.#logIn(phone.value.trim(), password.value)),
    },
    accounts.length ? field("演示账号", pick) : null,
    field("手机号", phone), field("密码", password),
    h("button", { type: "submit", class: "primary" }, "登录")));
  }

  async #logIn(phone, password) {
    await this.api.logIn(phone, password);
    if (this.me.role !== this.#options.role) {
      await this.api.logOut();
      throw new Error(`这不是${this.#options.title.slice(0, 2)}账号，请换一个账号登录`);
    }
    this.note.hidden = true;
    this.account.hidden = false;
    this.name = h("span", { class: "name" }, this.me.name);
    this.account.replaceChildren(
      this.name, this.status,
      button("模拟断网", () => this.socket.lose(), "link"),
      button("退出", () => this.#logOut(), "link"));
    this.#view = new this.#options.view(this);
    this.#ringing = new Ringing(this);
    this.body.replaceChildren(this.#ringing.element, this.#view.element);
    this.socket.connect();
  }

  async #logOut() {
    this.#view?.close();
    this.#view = null;
    this.#ringing.close();
    this.socket.close();
    await this.api.logOut();
    this.#showLogIn();
  }

  async #credentials(refusal) {
    if (refusal) await this.api.refresh();
    const { device } = this.#options;
    return { token: this.api.token, device, device_id: this.#deviceId() };
  }

  // A device keeps its id over reloads, as an installed app would.
  #deviceId() {
    const key = `wenzhen-device-${this.#options.role}`;
    const known = localStorage.getItem(key) ?? crypto.randomUUID();
    localStorage.setItem(key, known);
    return known;
  }

  async #stayLoggedIn() {
    await this.api.refresh();
    await this.socket.emit("session:refresh", { token: this.api.token });
  }

  #connection(state) {
    this.status.textContent = CONNECTION[state];
    this.status.dataset.state = state;
    if (state === "connected") this.#presence();
  }

  #presence() {
    const state = document.visibilityState === "visible" ? "foreground" : "background";
    // told again at the next connection
    this.socket.emit("presence:set", { state }).catch(() => {});
  }
}
