// The conversation both panes share: the head with state and deadline, the lines, the composer.

import { drawCard, drawContent } from "./drawing.js";
import { button, guarded, h, money, remaining, shortTime } from "./dom.js";
import { Room } from "./room.js";
import { isStale } from "./socket.js";
import { transferCard } from "./transfers.js";
import { BECAUSE, PAYMENT, TURN, stateOf } from "./words.js";

const RECALL_MS = 120_000;
const TYPING_EVERY_MS = 2_500;
const SETTLE_MS = 500;
const END_PX = 260;

export class Chat {
  #session;
  #consultation;
  #room;
  #actions;
  #typedAt = 0;
  #lines = new Map();
  #ticking;
  #following = 0;

  // `actions(consultation)` gives the buttons that this side has in its present state.
  constructor(session, consultation, { back, actions }) {
    this.#session = session;
    this.#consultation = consultation;
    this.#actions = actions;
    this.#room = new Room(session.socket, consultation.room, session.me);
    this.#build(back);
    this.#room.addEventListener("change", () => this.#render());
    this.#room.addEventListener("message", () => this.#follow());
    session.socket.addEventListener("consultation:updated", this.#updated);
    session.socket.addEventListener("state", this.#connected);
    this.#ticking = setInterval(() => this.#renderDeadline(), 1_000);
    this.#renderButtons();
    this.#render();
    this.#room.join().catch(({ message, retry }) => retry || session.tell(message));
  }

  get id() {
    return this.#consultation.id;
  }

  close() {
    clearInterval(this.#ticking);
    clearTimeout(this.#following);
    this.#room.leave();
    this.#session.socket.removeEventListener("consultation:updated", this.#updated);
    this.#session.socket.removeEventListener("state", this.#connected);
  }

  show(consultation) {
    if (isStale(consultation, this.#consultation)) return;
    const moved = consultation.state !== this.#consultation.state;
    this.#consultation = consultation;
    if (moved) this.#renderButtons();
    this.#render();
  }

  #updated = ({ detail }) => detail.id === this.id && this.show(detail);

  #connected = ({ detail }) => detail === "connected" && this.#follow();

  // Each message moves the deadline and the turn; ask for them when the talk rests for a moment.
  #follow() {
    clearTimeout(this.#following);
    this.#following = setTimeout(async () => {
      try {
        this.show(await this.#session.api.get(`/consultations/${this.id}`));
      } catch {
        // the next message or the next connection asks again
      }
    }, SETTLE_MS);
  }

  #build(back) {
    this.title = h("strong");
    this.online = h("span", { class: "presence" });
    this.state = h("span", { class: "tag" });
    this.deadline = h("p", { class: "deadline" });
    this.buttons = h("div", { class: "buttons" });
    this.list = h("div", {
      class: "lines", role: "log", ariaLabel: "聊天记录", tabIndex: 0,
    });
    this.typing = h("p", { class: "typing", ariaLive: "polite" });
    this.element = h("section", { class: "chat" },
      h("header", {},
        h("div", { class: "row" },
          button("‹ 返回", back, "link"), this.title, this.online, this.state),
        this.deadline, this.buttons),
      this.list, this.typing, this.#composer());
  }

  #composer() {
    const tell = this.#session.tell;
    this.text = h("textarea", {
      rows: 2, maxLength: 4000, ariaLabel: "输入消息", placeholder: "输入消息，回车发送",
      oninput: () => this.#type(),
      onkeydown: (event) => {
        // while a Chinese word is being composed, Enter chooses it
        if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
          event.preventDefault();
          this.form.requestSubmit();
        }
      },
    });
    const picture = h("input", {
      type: "file", accept: "image/jpeg,image/png,image/webp", ariaLabel: "发送图片",
      onchange: guarded(tell, ({ target }) => this.#sendPicture(target)),
    });
    this.form = h("form", { class: "composer", onsubmit: (event) => this.#sendText(event) },
      this.text,
      h("div", { class: "row" },
        h("label", { class: "button quiet" }, "图片", picture),
        h("button", { type: "submit", class: "primary" }, "发送")));
    return this.form;
  }

  #sendText(event) {
    event.preventDefault();
    const text = this.text.value.trim();
    if (!text) return;
    this.text.value = "";
    this.#typedAt = 0;
    this.#room.send("text", { text });
  }

  async #sendPicture(input) {
    const [file] = input.files;
    input.value = "";
    if (!file) return;
    const { id } = await this.#session.api.upload(file);
    await this.#room.send("image", { file: id });
  }

  #type() {
    if (Date.now() - this.#typedAt < TYPING_EVERY_MS) return;
    this.#typedAt = Date.now();
    // a hint: that it was lost is nobody's loss
    this.#room.setTyping(true).catch(() => {});
  }

  #render() {
    const c = this.#consultation;
    const peer = this.#room.peer;
    const patient = this.#session.me.role === "patient";
    this.title.textContent = patient
      ? `${c.doctor.name} · ${c.doctor.title}`
      : `患者 ${c.person.name}`;
    this.online.textContent = peer ? (peer.online ? "在线" : "离线") : "";
    this.online.classList.toggle("on", Boolean(peer?.online));
    this.state.textContent = stateOf(c);
    this.state.dataset.state = c.state;
    // a late prescription opens the room for questions once more
    const asking = c.state === "ended" && this.#room.snapshot?.open;
    this.form.hidden = c.state !== "in_progress" && !asking;
    this.typing.textContent = this.#room.typingUntil > Date.now() ? "对方正在输入…" : "";
    this.#renderDeadline();
    this.#renderLines();
    if (document.visibilityState === "visible") this.#room.markRead().catch(() => {});
  }

  // Only when the state moved: a person may be in the middle of writing a reason.
  #renderButtons() {
    this.buttons.replaceChildren(...this.#actions(this.#consultation));
  }

  #renderDeadline() {
    const { closes_at, closes_because, closed_reason, payment, queue, turn } = this.#consultation;
    const parts = [];
    if (queue) parts.push(`排队第 ${queue.position} 位`);
    if (turn) parts.push(TURN[this.#session.me.role][turn]);
    if (closes_at) parts.push(`${remaining(closes_at)} 后${BECAUSE[closes_because] ?? "关闭"}`);
    if (closed_reason) {
      parts.push([closed_reason.text, closed_reason.detail].filter(Boolean).join("："));
    }
    if (payment) parts.push(`${money(payment.amount)} ${PAYMENT[payment.state]}`);
    const text = parts.join(" · ");
    if (this.deadline.textContent !== text) this.deadline.textContent = text;
  }

  // Lines are kept by key, so that a new one doesn't rebuild (or read aloud) those before it.
  #renderLines() {
    const stored = [...this.#room.messages.values()].sort((a, b) => a.seq - b.seq);
    const entries = stored
      .filter(({ kind }) => kind !== "recall")
      .map((message) => [message.client_id + message.seq, message]);
    for (const draft of this.#room.outbox.values()) entries.push([draft.client_id, draft]);
    const atEnd = this.#atEnd();
    const lines = entries.map(([key, message]) => this.#line(key, message));
    const gone = new Set(this.list.children);
    lines.forEach((line, index) => {
      gone.delete(line);
      const there = this.list.children[index] ?? null;
      if (there !== line) this.list.insertBefore(line, there);
    });
    for (const line of gone) line.remove();
    if (atEnd) this.#toEnd();
  }

  #atEnd() {
    return this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < END_PX;
  }

  #toEnd() {
    this.list.scrollTop = this.list.scrollHeight;
  }

  #line(key, message) {
    const recalled = this.#room.recalled.has(message.seq);
    const transfer = message.body?.transfer && this.#consultation.transfer;
    const looks = JSON.stringify([
      recalled, message.error?.message, this.#readMark(message), this.#mayRecall(message),
      transfer?.id === message.body?.transfer?.id && transfer?.state,
    ]);
    const known = this.#lines.get(key);
    if (known?.looks === looks) return known.element;
    const element = this.#draw(message, recalled);
    known?.element.replaceWith(element);
    this.#lines.set(key, { looks, element });
    return element;
  }

  #draw(message, recalled) {
    const mine = message.sender.id === this.#session.me.id;
    if (recalled) {
      return h("p", { class: "system" }, `${mine ? "您" : message.sender.name}撤回了一条消息`);
    }
    if (message.kind === "system") return h("p", { class: "system" }, message.body.text);
    if (message.kind === "card" && message.body.card === "transfer") {
      return transferCard(this.#session, message.body, this.#consultation.transfer);
    }
    if (message.kind === "card") return drawCard(message.body, this.#session);
    return h("div", { class: mine ? "line mine" : "line" },
      h("div", { class: "bubble" },
        drawContent(message, () => this.#atEnd() && this.#toEnd())),
      h("p", { class: "meta" },
        message.at ? h("time", { dateTime: message.at }, shortTime(message.at)) : null,
        h("span", {}, this.#readMark(message)), ...this.#tools(message)));
  }

  #tools(message) {
    if (message.error) {
      return [
        h("span", { class: "problem" }, `未送达：${message.error.message}`),
        button("重发", () => this.#room.post(message.client_id), "link"),
      ];
    }
    if (!message.seq) return [h("span", {}, "发送中…")];
    if (!this.#mayRecall(message)) return [];
    const recall = guarded(this.#session.tell, () => this.#room.recall(message.seq));
    return [button("撤回", recall, "link")];
  }

  #mayRecall({ sender, seq, at }) {
    const mine = sender.id === this.#session.me.id;
    const open = this.#consultation.state === "in_progress";
    return Boolean(mine && seq && open && Date.now() - new Date(at) < RECALL_MS);
  }

  #readMark({ sender, seq }) {
    if (!seq || sender.id !== this.#session.me.id || !this.#room.peer) return "";
    return this.#room.peer.read_seq >= seq ? "已读" : "未读";
  }
}
