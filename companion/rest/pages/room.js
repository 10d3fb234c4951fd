// One room on the wire: what has been said, what is still on its way, who has read how far.
//
// Messages are kept by seq. A gap is filled by room:sync, a lost connection by room:join with
// `after_seq`, and what was not acknowledged is sent again under the same client_id: the server
// answers a repeat with the first one's place.

const TYPING_MS = 4_000;

// A loss in the middle of reading on: the next "connected" joins again and reads the rest.
const waitForReturn = (error) => {
  if (!error.retry) throw error;
};

export class Room extends EventTarget {
  #socket;
  #seen = 0;
  #filling = null;
  #handlers;
  messages = new Map();
  outbox = new Map();
  recalled = new Set();
  snapshot = null;
  typingUntil = 0;

  constructor(socket, id, me) {
    super();
    this.#socket = socket;
    this.id = id;
    this.me = me;
    const mine = (handle) => ({ detail }) => detail.room === this.id && handle(detail);
    this.#handlers = {
      "message:new": mine((message) => this.#receive(message)),
      "message:recalled": mine(({ seq }) => this.#recall(seq)),
      "message:read": mine(({ user, seq }) => this.#read(user, seq)),
      typing: mine(({ on }) => this.#typing(on)),
      "presence:changed": ({ detail }) => this.#presence(detail),
      "room:updated": ({ detail }) => detail.id === this.id && this.#show(detail),
      state: ({ detail }) => detail === "connected" && this.join().catch(waitForReturn),
    };
    for (const [event, handle] of Object.entries(this.#handlers))
      socket.addEventListener(event, handle);
  }

  leave() {
    for (const [event, handle] of Object.entries(this.#handlers))
      this.#socket.removeEventListener(event, handle);
  }

  // Enter, or come back after a loss: then only what was missed is asked for.
  async join() {
    const resume = this.#seen ? { after_seq: this.#seen } : {};
    const answer = await this.#socket.emit("room:join", { room: this.id, ...resume });
    this.snapshot = answer.room;
    this.#take(answer.messages);
    if (resume.after_seq && answer.has_more) await this.#fill();
    this.#changed();
    const again = [...this.outbox.values()].filter(({ error }) => !error || error.retry);
    await Promise.all(again.map(({ client_id }) => this.post(client_id)));
  }

  send(kind, body) {
    const client_id = crypto.randomUUID();
    this.outbox.set(client_id, { client_id, kind, body, sender: this.me, error: null });
    this.#changed();
    return this.post(client_id);
  }

  async recall(seq) {
    await this.#socket.emit("message:recall", { room: this.id, seq });
    this.#recall(seq);
  }

  async markRead() {
    const mine = this.#member(this.me.id);
    if (!mine || mine.read_seq >= this.#seen) return;
    mine.read_seq = this.#seen;
    await this.#socket.emit("message:read", { room: this.id, seq: this.#seen });
  }

  setTyping(on) {
    return this.#socket.emit("typing:set", { room: this.id, on });
  }

  get peer() {
    return this.snapshot?.members.find((member) => member.user !== this.me.id);
  }

  // Send what is in the outbox; there it stays, with the error, until it is acknowledged.
  async post(client_id) {
    const draft = this.outbox.get(client_id);
    const message = { room: this.id, client_id, kind: draft.kind, body: draft.body };
    draft.error = null;
    try {
      const answer = await this.#socket.emit("message:send", message);
      this.outbox.delete(client_id);
      // what the server adds to a file comes from the log
      if (draft.body.file) await this.#fill();
      else this.#receive({ ...message, sender: this.me, ...answer.message });
    } catch (error) {
      draft.error = error;
    }
    this.#changed();
  }

  #receive(message) {
    if (message.seq > this.#seen + 1) return this.#fill().catch(waitForReturn);
    this.#take([message]);
    this.#changed();
  }

  // Read on from the last message without a gap before it.
  #fill() {
    this.#filling ??= this.#readOn().finally(() => (this.#filling = null));
    return this.#filling;
  }

  async #readOn() {
    for (let more = true; more; ) {
      const page = { room: this.id, after_seq: this.#seen };
      const answer = await this.#socket.emit("room:sync", page);
      this.#take(answer.messages);
      more = answer.has_more;
    }
    this.#changed();
  }

  #take(messages) {
    if (messages.some(({ seq }) => seq > this.#seen)) this.dispatchEvent(new Event("message"));
    for (const message of messages) {
      if (message.kind === "recall") this.recalled.add(message.body.seq);
      if (message.recalled) this.recalled.add(message.seq);
      if (message.client_id) this.outbox.delete(message.client_id);
      if (message.sender.id !== this.me.id) this.typingUntil = 0;
      this.messages.set(message.seq, message);
      this.#seen = Math.max(this.#seen, message.seq);
    }
  }

  #recall(seq) {
    this.recalled.add(seq);
    this.#changed();
  }

  #read(user, seq) {
    const member = this.#member(user);
    if (member) member.read_seq = Math.max(member.read_seq, seq);
    this.#changed();
  }

  #typing(on) {
    this.typingUntil = on ? Date.now() + TYPING_MS : 0;
    this.#changed();
    if (on) setTimeout(() => this.#changed(), TYPING_MS);
  }

  #presence({ user, online }) {
    const member = this.#member(user);
    if (member) member.online = online;
    this.#changed();
  }

  #show(snapshot) {
    this.snapshot = snapshot;
    this.#changed();
  }

  #member(user) {
    return this.snapshot?.members.find((member) => member.user === user);
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
