// One side of a call, over the Socket of socket.js: ringing, answering, coming back, reporting.
//
// Its media are a Peer's. A side that reloads resumes; the generation grows, and both begin a new
// peer connection. Reports go out every 5 s; they also show that this side is there.
//
//   const client = new CallClient(socket, { media });      // media: a LocalMedia, or the like
//   client.on("change", (call) => …).on("remote", (stream) => …).on("link", (state) => …);
//   await client.start(room, "video");   or   await client.accept(id);   or   await client.resume(id);
//
// Events: change (the call), remote ({user, stream}, null once it is gone), link (connecting,
// connected, lost), peer ({user, mic, camera}), quality ({rtt_ms, loss, …}), ended (the call).

import { Peer } from "./call-peer.js";
import { isStale } from "./socket.js";

const REPORT_MS = 5_000;
const PATIENCE_MS = 4_000;

export class CallClient extends EventTarget {
  #socket;
  #media;
  #policy;
  #peer = null;
  #ice = [];
  #reports = 0;
  call = null;

  constructor(socket, { media, relayOnly = false }) {
    super();
    this.#socket = socket;
    this.#media = media;
    this.#policy = relayOnly ? "relay" : "all";
    socket
      .on("call:updated", ({ call }) => call.id === this.call?.id && this.#take(call))
      .on("call:offer", (said) => this.#from(said)?.take("offer", said.sdp))
      .on("call:answer", (said) => this.#from(said)?.take("answer", said.sdp))
      .on("call:candidate", (said) => this.#from(said)?.takeCandidate(said.candidate))
      .on("call:media", (said) => this.#isOurs(said) && this.#tell("peer", said))
      .on("state", (state) => state === "connected" && this.#back());
    media.addEventListener("change", () => this.#mediaChanged());
  }

  on(event, handle) {
    this.addEventListener(event, ({ detail }) => handle(detail));
    return this;
  }

  start(room, media) {
    return this.#enter("call:start", { room, media });
  }

  accept(call) {
    return this.#enter("call:accept", { call });
  }

  // Come back after a reload; while it rings, learn what rings.
  resume(call) {
    return this.#enter("call:resume", { call, fresh: true });
  }

  decline() {
    return this.#act("call:decline");
  }

  cancel() {
    return this.#act("call:cancel");
  }

  hangUp() {
    return this.#act("call:hang_up");
  }

  // Agree to a recording, or not; a doctor's agreement asks the others.
  consent(record) {
    return this.#act("call:consent", { record });
  }

  get peerConnection() {
    return this.#peer?.connection ?? null;
  }

  // Whether another device of this user is the one in the call.
  get elsewhere() {
    return Boolean(this.call) && ownState(this.call) === "in" && this.#live && !this.#mine(this.call);
  }

  get #live() {
    return Boolean(this.call) && this.call.state !== "ended";
  }

  async #act(command, more = {}) {
    const { call } = await this.#socket.emit(command, { call: this.call.id, ...more });
    this.#take(call);
  }

  async #enter(command, data) {
    const { call, ice_servers } = await this.#socket.emit(command, data);
    this.#ice = ice_servers;
    // who left a group's call may come back to it
    if (this.call?.state === "ended" && ownState(call) === "in") this.call = null;
    this.#take(call);
    return call;
  }

  #isOurs({ call }) {
    return this.#live && this.call.id === call;
  }

  // Every news of the call comes here: from answers and from events, in whatever order.
  #take(news) {
    const old = this.call;
    // for who left it, it is over
    const out = ["declined", "missed", "left"].includes(ownState(news));
    const call = out ? { ...news, state: "ended" } : news;
    if (old?.id === call.id && old.state === "ended") return;
    if (isStale(call, old)) return;
    this.call = call;
    this.#tell("change", call);
    if (call.state === "ended") {
      this.#leave();
      this.#tell("ended", call);
    } else if (call.state !== "ringing" && ownState(call) === "in" && this.#mine(call)) {
      if (!this.#peer || old?.generation !== call.generation) this.#connect();
      else this.#hear();
    }
  }

  #mine(call) {
    return !call.device_id || call.device_id === this.#media.deviceId;
  }

  #connect() {
    this.#closePeer();
    const peer = (this.#peer = new Peer(this.call, {
      iceServers: this.#ice,
      iceTransportPolicy: this.#policy,
      media: this.#media,
      say: (command, data) => this.#emit(command, data),
      described: () => this.#hear(),
      linked: (state) => peer === this.#peer && this.#linked(state),
      renew: () => this.#connect(),
    }));
    clearInterval(this.#reports);
    this.#reports = setInterval(() => this.#report(), REPORT_MS);
    this.#tell("link", "connecting");
    this.#sayMedia();
  }

  // What is said on the way that the call no longer goes is for nobody.
  #from(said) {
    const ours = this.#isOurs(said) && (this.call.mode === "relay") === (said.from === "relay");
    return ours ? this.#peer : null;
  }

  // Tell whose media come and go.
  #hear() {
    for (const [user, stream] of this.#peer.heard(this.call.parties)) {
      this.#tell("remote", { user, stream });
    }
  }

  #linked(state) {
    this.#report();
    if (state === "connected") this.#tell("link", "connected");
    if (state === "disconnected" || state === "failed") this.#tell("link", "lost");
  }

  // The socket was lost, the media perhaps not; meanwhile it may have been accepted, or ended.
  async #back() {
    if (!this.#live || this.elsewhere) return;
    const before = this.#peer;
    try {
      await this.#enter("call:resume", { call: this.call.id, fresh: false });
      if (!before || before !== this.#peer) return;
      this.#report();
      this.#sayMedia();
      before.restart();
    } catch (error) {
      if (error.code === "conflict" || error.code === "forbidden") this.#gone();
    }
  }

  // It ended while this side was away; why, REST can tell.
  #gone() {
    this.#leave();
    this.call = { ...this.call, state: "ended" };
    this.#tell("change", this.call);
    this.#tell("ended", this.call);
  }

  async #report() {
    if (!this.#peer || this.call?.state === "ended") return;
    const stats = await this.#peer.measure();
    this.#tell("quality", stats);
    const { connection, ...measured } = stats;
    const late = setTimeout(() => this.#socket.lose(), PATIENCE_MS);
    try {
      await this.#emit("call:stats", { stats: { connection, ...measured } });
    } catch {
      // the next one says the same
    } finally {
      clearTimeout(late);
    }
  }

  async #mediaChanged() {
    this.#sayMedia();
    await this.#peer?.mediaChanged();
  }

  #sayMedia() {
    const { mic, camera } = this.#media.switches;
    if (!this.#live) return;
    this.#emit("call:media", { mic, camera }).catch((error) => this.#peer?.lost(error));
  }

  #emit(command, data) {
    return this.#socket.emit(command, { call: this.call.id, ...data });
  }

  #leave() {
    clearInterval(this.#reports);
    this.#closePeer();
  }

  #closePeer() {
    const peer = this.#peer;
    this.#peer = null;
    peer?.close();
  }

  #tell(event, detail) {
    this.dispatchEvent(new CustomEvent(event, { detail }));
  }
}

export function ownState(call) {
  return call.parties.find(({ me }) => me).state;
}
