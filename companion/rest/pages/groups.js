// Group consultations (会诊): what one is invited to, the form that opens one, and its room.

import { drawCard, drawContent } from "./drawing.js";
import { button, field, guarded, h, remaining, shortTime } from "./dom.js";
import { openCall } from "./ringing.js";
import { Room } from "./room.js";
import { isStale } from "./socket.js";

const STATE = { inviting: "等待加入", active: "会诊中", concluded: "已结束", cancelled: "已取消" };

// One's live group consultations; a doctor answers his invitations here.
export class GroupsOfMine {
  #pane;

  constructor(pane) {
    this.#pane = pane;
    this.element = h("ul", { class: "items", ariaLabel: "会诊" });
    for (const name of ["group:invited", "group:updated"]) {
      pane.socket.addEventListener(name, this.#load);
    }
    pane.socket.addEventListener("state", this.#connected);
    this.#load();
  }

  close() {
    for (const name of ["group:invited", "group:updated"]) {
      this.#pane.socket.removeEventListener(name, this.#load);
    }
    this.#pane.socket.removeEventListener("state", this.#connected);
  }

  #connected = ({ detail }) => detail === "connected" && this.#load();

  #load = async () => {
    try {
      const { items } = await this.#pane.api.get("/groups?state=inviting,active");
      const mine = items.filter(({ my_state }) => !["declined", "lapsed"].includes(my_state));
      this.element.replaceChildren(...mine.map((one) => this.#item(one)));
    } catch (error) {
      this.#pane.tell(error.message);
    }
  };

  #item(one) {
    const answer = (what) => guarded(this.#pane.tell, async () => {
      await this.#pane.socket.emit(`group:${what}`, { group: one.id });
      if (what === "accept") this.#pane.enterGroup(one.id);
      else this.#load();
    });
    const invited = one.my_state === "invited" && this.#pane.me.role === "doctor";
    return h("li", {},
      h("div", {}, h("strong", {}, `会诊 · ${one.title}`), ` ${STATE[one.state]}`,
        h("p", { class: "hint" }, `${shortTime(one.opened_at)} ${one.opener.name}医生：${one.reason}`)),
      h("div", { class: "buttons" }, invited
        ? [button("接受", answer("accept"), "primary"), button("不接受", answer("decline"), "quiet")]
        : button("进入会诊", () => this.#pane.enterGroup(one.id), "primary")));
  }
}

// Asked for on the spot: whom, why, with the patient or without, and how much of the talk is shared.
export function groupForm(pane, consultation) {
  const title = h("input", { required: true, maxLength: 40 });
  const reason = h("input", { required: true, maxLength: 200 });
  const mode = h("select", {},
    h("option", { value: "with_patient" }, "患者 + 多医生"),
    h("option", { value: "doctors_only" }, "仅医生"));
  const share = h("select", {},
    h("option", { value: "" }, "仅病历"), h("option", { value: "1" }, "病历和聊天记录"));
  const doctors = h("select", { multiple: true, required: true, size: 4 });
  const form = h("details", { class: "decline" },
    h("summary", { class: "button quiet" }, "会诊"),
    h("form", {
      class: "row",
      onsubmit: guarded(pane.tell, async () => {
        const { group } = await pane.socket.emit("group:open", {
          consultation: consultation.id, title: title.value.trim(), reason: reason.value.trim(),
          mode: mode.value, doctors: [...doctors.selectedOptions].map(({ value }) => value),
          ...(share.value ? { history_from_seq: Number(share.value) } : {}),
        });
        pane.enterGroup(group.id);
      }),
    },
    field("会诊主题", title), field("会诊理由", reason), field("会诊模式", mode),
    field("共享内容", share), field("邀请医生", doctors),
    h("button", { type: "submit", class: "quiet" }, "发起会诊")));
  form.addEventListener("toggle", guarded(pane.tell, async () => {
    if (!form.open || doctors.options.length) return;
    const { items } = await pane.api.get("/doctors?limit=100");
    const others = items.filter(({ id }) => id !== pane.me.id);
    doctors.append(
      ...others.map((one) => h("option", { value: one.id }, `${one.name} · ${one.title}`)));
  }));
  return form;
}

// The room of one: who is in it, what is said, opinions and the conclusion.
export class GroupView {
  #pane;
  #group;
  #room;
  #back;

  constructor(pane, group, back) {
    this.#back = back;
    this.#pane = pane;
    this.#group = group;
    this.#room = new Room(pane.socket, group.room, pane.me);
    this.#build();
    this.#room.addEventListener("change", this.#render);
    pane.socket.addEventListener("group:updated", this.#updated);
    this.#renderActions();
    this.#room.join().then(this.#render, ({ message }) => pane.tell(message));
  }

  close() {
    this.#room.leave();
    this.#pane.socket.removeEventListener("group:updated", this.#updated);
  }

  #updated = ({ detail }) => {
    if (detail.id !== this.#group.id || isStale(detail, this.#group)) return;
    const moved = detail.state !== this.#group.state;
    this.#group = detail;
    if (moved) this.#renderActions();
    this.#render();
  };

  #build() {
    this.members = h("p", { class: "hint" });
    this.state = h("span", { class: "tag" });
    this.opinions = h("div", { class: "hint" });
    this.actions = h("div", { class: "buttons" });
    this.list = h("div", { class: "lines", role: "log", ariaLabel: "会诊记录", tabIndex: 0 });
    this.text = h("textarea", {
      rows: 2, maxLength: 4000, ariaLabel: "输入消息", placeholder: "输入消息",
    });
    this.form = h("form", {
      class: "composer",
      onsubmit: (event) => {
        event.preventDefault();
        const text = this.text.value.trim();
        this.text.value = "";
        if (text) this.#room.send("text", { text });
      },
    }, this.text, h("button", { type: "submit", class: "primary" }, "发送"));
    this.element = h("section", { class: "chat" },
      h("header", {},
        h("div", { class: "row" }, button("‹ 返回", this.#back, "link"),
          h("strong", {}, this.#group.title), this.state),
        this.members, this.opinions, this.actions),
      this.list, this.form);
  }

  #render = () => {
    const { snapshot } = this.#room;
    const labels = snapshot?.members.map(({ label, online }) => label + (online ? "（在线）" : ""));
    const closes = snapshot?.closes_at ? ` · ${remaining(snapshot.closes_at)} 后关闭` : "";
    this.members.textContent = (labels ?? []).join("、") + closes;
    this.state.textContent = STATE[this.#group.state];
    this.opinions.replaceChildren(...this.#group.opinions.map(({ name, text }) =>
      h("p", {}, `${name}医生意见：${text}`)));
    this.form.hidden = !snapshot?.open;
    const stored = [...this.#room.messages.values()].sort((a, b) => a.seq - b.seq);
    const lines = [...stored.filter(({ kind }) => kind !== "recall"), ...this.#room.outbox.values()];
    this.list.replaceChildren(...lines.map((message) => this.#line(message)));
    this.list.scrollTop = this.list.scrollHeight;
    this.#room.markRead().catch(() => {});
  };

  #line(message) {
    if (this.#room.recalled.has(message.seq)) {
      return h("p", { class: "system" }, `${message.sender.name}撤回了一条消息`);
    }
    if (message.kind === "system") return h("p", { class: "system" }, message.body.text);
    if (message.kind === "card") return drawCard(message.body, this.#pane);
    const mine = message.sender.id === this.#pane.me.id;
    const member = this.#room.snapshot?.members.find(({ user }) => user === message.sender.id);
    return h("div", { class: mine ? "line mine" : "line" },
      h("p", { class: "meta" }, member?.label ?? message.sender.name),
      h("div", { class: "bubble" }, drawContent(message, null)),
      message.error ? h("span", { class: "problem" }, `未送达：${message.error.message}`) : null);
  }

  #renderActions() {
    const { state, my_state } = this.#group;
    const own = this.#pane.me.id === this.#group.opener.id;
    const said = [];
    if (state === "active" && my_state === "accepted" && this.#pane.me.role === "doctor") {
      said.push(this.#statement("会诊意见", "opinion", "text"));
    }
    if (own && ["active", "inviting"].includes(state)) {
      said.push(this.#statement("会诊结论", "close", "conclusion"));
    }
    if (my_state === "accepted" && ["active", "inviting"].includes(state)) {
      said.push(button("离开会诊", guarded(this.#pane.tell, async () => {
        await this.#pane.socket.emit("group:leave", { group: this.#group.id });
        this.#back();
      }), "quiet"));
    }
    if (["active", "inviting"].includes(state) && this.#pane.me.role === "doctor") {
      said.unshift(this.#callButton("audio", "语音会诊"), this.#callButton("video", "视频会诊"));
    }
    this.actions.replaceChildren(...said);
  }

  // Calls all who are in the room, or joins the call that runs there.
  #callButton(media, label) {
    return button(label, guarded(this.#pane.tell, () => openCall(this.#pane, async () => {
      const { call } = await this.#pane.socket.emit("call:start", { room: this.#group.room, media });
      return call.id;
    })), "primary");
  }

  #statement(label, command, name) {
    const text = h("textarea", { required: true, maxLength: 2000, rows: 2 });
    const box = h("details", { class: "decline" },
      h("summary", { class: "button quiet" }, label),
      h("form", {
        class: "row",
        onsubmit: guarded(this.#pane.tell, async () => {
          const said = { group: this.#group.id, [name]: text.value.trim() };
          await this.#pane.socket.emit(`group:${command}`, said);
          box.open = false;
        }),
      }, field(label, text), h("button", { type: "submit", class: "quiet" }, "提交")));
    return box;
  }
}

// Open the room of one; a patient joins by it, and so does who left it.
export async function groupView(pane, id, back) {
  let group = await pane.api.get(`/groups/${id}`);
  const outside = group.my_state !== null && group.my_state !== "accepted";
  if (outside && ["inviting", "active"].includes(group.state)) {
    ({ group } = await pane.socket.emit("group:join", { group: id }));
  }
  return new GroupView(pane, group, back);
}
