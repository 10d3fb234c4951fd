// A Socket.IO client in one file: protocol v5 over Engine.IO v4, WebSocket only, namespace "/".
//
// Also meant for reading. A mini-program needs the same frames over wx.connectSocket:
//   ← 0{"sid", "pingInterval", "pingTimeout"}   the server opens
//   → 40{"token", "device", "device_id"}        CONNECT;  ← 40{"sid"} accepted, 44{…} refused
//   ← 2   → 3                                   heartbeat, begun by the server
//   → 42<id>["room:join", {…}]   ← 43<id>[{…}]  a command and its acknowledgement
//   ← 42["message:new", {…}]                    an event
//   ← 41 or 1                                   the server says goodbye
//
// Events: every event of the server by its name (detail: its object), and "state" (detail: one of
// connecting, connected, waiting, closed, refused). After each "connected" it is the application's
// turn to resume: it joins its rooms again with `after_seq`.

const ANSWER_MS = 10_000;
const BACK_OFF_MS = [500, 1_000, 2_000, 4_000, 8_000];

export class SocketError extends Error {
  constructor({ code, message, ...more }) {
    super(message);
    Object.assign(this, { code, retry: false }, more);
  }
}

// Events may overtake one another and the answers: what is older than what is known says nothing.
export function isStale(news, known) {
  return news.id === known?.id && news.version < known.version;
}

const lost = () =>
  new SocketError({ code: "unavailable", message: "连接已断开，正在重连", retry: true });

export class Socket extends EventTarget {
  #url;
  #auth;
  #websocket = null;
  #silence = 0;
  #silenceMs = ANSWER_MS;
  #wake = 0;
  #failures = 0;
  #nextId = 0;
  #pending = new Map();
  state = "closed";

  // `auth(refusal)` gives the CONNECT object; after a refusal it gets that, and throws to give up.
  constructor(url, auth) {
    super();
    this.#url = url;
    this.#auth = auth;
    globalThis.addEventListener?.("online", () => this.state === "waiting" && this.connect());
  }

  connect() {
    clearTimeout(this.#wake);
    if (this.#websocket) return;
    this.#become("connecting");
    const address = new URL("/socket.io/?EIO=4&transport=websocket", this.#url);
    address.protocol = address.protocol.replace("http", "ws");
    const websocket = (this.#websocket = new WebSocket(address));
    this.#expectSound(ANSWER_MS);
    websocket.onmessage = ({ data }) =>
      websocket === this.#websocket && this.#read(data).catch(() => this.#retry());
    websocket.onclose = () => websocket === this.#websocket && this.#retry();
  }

  // Leave for good; `connect` may come back.
  close() {
    this.#drop("41");
    this.#become("closed");
  }

  // Lose the connection as a bad network would; it is tried again at once, then ever more slowly.
  lose() {
    if (this.#websocket) this.#retry();
  }

  // Send a command. Resolves to the answer, rejects with a SocketError: refused, lost, too late.
  emit(event, data = {}) {
    if (this.state !== "connected") return Promise.reject(lost());
    const id = this.#nextId++;
    this.#websocket.send(`42${id}${JSON.stringify([event, data])}`);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#settle(id)?.reject(lost()), ANSWER_MS);
      this.#pending.set(id, { resolve, reject, timer });
    });
  }

  on(event, handle) {
    this.addEventListener(event, ({ detail }) => handle(detail));
    return this;
  }

  async #read(frame) {
    const [, type, id, json] = /^(4[0-4]|[0-36])(\d*)(.*)$/s.exec(frame) ?? [];
    switch (type) {
      case "0":
        return this.#open(JSON.parse(json));
      case "2":
        this.#websocket.send("3");
        return this.#expectSound(this.#silenceMs);
      case "40":
        this.#failures = 0;
        return this.#become("connected");
      case "42":
        return this.#tell(...JSON.parse(json));
      case "43":
        return this.#answer(Number(id), JSON.parse(json)[0]);
      case "44":
        return this.#refused(JSON.parse(json));
      case "41":
      case "1":
        return this.#retry();
    }
  }

  async #open({ pingInterval, pingTimeout }) {
    const websocket = this.#websocket;
    this.#silenceMs = pingInterval + pingTimeout;
    this.#expectSound(this.#silenceMs);
    const auth = await this.#auth();
    if (websocket === this.#websocket) websocket.send(`40${JSON.stringify(auth)}`);
  }

  #answer(id, answer) {
    const asked = this.#settle(id);
    if (answer?.ok) asked?.resolve(answer);
    else asked?.reject(new SocketError(answer?.error ?? { code: "internal", message: "系统繁忙" }));
  }

  // CONNECT was refused: come back when the server is less busy or with better credentials.
  async #refused({ message, data }) {
    const refusal = new SocketError({ code: data?.code ?? "unauthenticated", message });
    if (["unavailable", "rate_limited"].includes(refusal.code)) return this.#retry();
    this.#drop();
    try {
      await this.#auth(refusal);
      this.#retry();
    } catch {
      this.#become("refused");
    }
  }

  #settle(id) {
    const asked = this.#pending.get(id);
    this.#pending.delete(id);
    clearTimeout(asked?.timer);
    return asked;
  }

  // A server that is silent past its own heartbeat is gone, whatever the network layer believes.
  #expectSound(ms) {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#retry(), ms);
  }

  #drop(goodbye) {
    const websocket = this.#websocket;
    this.#websocket = null;
    clearTimeout(this.#silence);
    clearTimeout(this.#wake);
    if (goodbye && websocket?.readyState === WebSocket.OPEN) websocket.send(goodbye);
    websocket?.close();
    for (const id of [...this.#pending.keys()]) this.#settle(id).reject(lost());
  }

  #retry() {
    this.#drop();
    const step = BACK_OFF_MS[Math.min(this.#failures++, BACK_OFF_MS.length - 1)];
    // spread, so that a restarted server isn't met by everyone in the same instant
    this.#wake = setTimeout(() => this.connect(), step * (0.5 + Math.random()));
    this.#become("waiting");
  }

  #become(state) {
    this.state = state;
    this.#tell("state", state);
  }

  #tell(event, detail) {
    this.dispatchEvent(new CustomEvent(event, { detail }));
  }
}
