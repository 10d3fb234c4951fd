// One side of a call, over the Socket of socket.js: signalling, negotiation, coming back.
//
// Perfect negotiation (W3C WebRTC 1.0, «Perfect negotiation example»): the server says who is polite.
// The other one, the doctor, offers first. A side that reloads resumes; the generation grows, and
// both begin a new peer connection. Reports go out every 5 s; they also show that this side is there.
//
//   const client = new CallClient(socket, { media });      // media: a LocalMedia, or the like
//   client.on("change", (call) => …).on("remote", (stream) => …).on("link", (state) => …);
//   await client.start(room, "video");   or   await client.accept(id);   or   await client.resume(id);
//
// Events: change (the call), remote ({user, stream}, null once it is gone), link (connecting,
// connected, lost), peer ({user, mic, camera}), quality ({rtt_ms, loss, …}), ended (the call).

import { Meter } from "./call-stats.js";
import { RemoteStreams } from "./call-streams.js";
import { isStale } from "./socket.js";

const REPORT_MS = 5_000;
const PATIENCE_MS = 4_000;

export class CallClient extends EventTarget {
  #socket;
  #media;
  #policy;
  #pc = null;
  #ice = [];
  #makingOffer = false;
  #ignoring = false;
  #waiting = [];
  #reports = 0;
  #meter = null;
  #streams = null;
  #restart = 0;
  #work = Promise.resolve();
  call = null;

  constructor(socket, { media, relayOnly = false }) {
    super();
    this.#socket = socket;
    this.#media = media;
    this.#policy = relayOnly ? "relay" : "all";
    socket
      .on("call:updated", ({ call }) => call.id === this.call?.id && this.#take(call))
      .on("call:offer", (said) => this.#signalled(said, () => this.#described("offer", said.sdp)))
      .on("call:answer", (said) => this.#signalled(said, () => this.#described("answer", said.sdp)))
      .on("call:candidate", (said) => this.#signalled(said, () => this.#candidate(said.candidate)))
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
    return this.#pc;
  }

  // Whether another device of this user is the one in the call.
  get elsewhere() {
    return Boolean(this.call) && ownState(this.call) === "in" && this.#live && !this.#mine(this.call);
  }

  get #relayed() {
    return this.call.mode === "relay";
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
      if (!this.#pc || old?.generation !== call.generation) this.#connect();
      else this.#hear();
    }
  }

  #mine(call) {
    return !call.device_id || call.device_id === this.#media.deviceId;
  }

  #connect() {
    this.#closePeer();
    const pc = (this.#pc = new RTCPeerConnection({
      iceServers: this.#ice, iceTransportPolicy: this.#policy, bundlePolicy: "max-bundle",
    }));
    this.#streams = new RemoteStreams();
    this.#makingOffer = this.#ignoring = false;
    this.#waiting = [];
    pc.onnegotiationneeded = () => this.#offer(pc);
    pc.onicecandidate = ({ candidate }) => this.#send("call:candidate", {
      candidate: candidate?.toJSON() ?? { candidate: "" },
    });
    pc.onconnectionstatechange = () => pc === this.#pc && this.#linkChanged(pc.connectionState);
    for (const kind of this.call.media === "video" ? ["audio", "video"] : ["audio"]) {
      const track = this.#media.track(kind);
      if (track) pc.addTrack(track, this.#media.stream);
      else pc.addTransceiver(kind, { direction: "recvonly" });
    }
    this.#meter = new Meter(pc);
    clearInterval(this.#reports);
    this.#reports = setInterval(() => this.#report(), REPORT_MS);
    this.#tell("link", "connecting");
    this.#sayMedia();
    // the first offer may get lost too: the other side may not be back yet
    this.#restart = setTimeout(() => this.#restartIce(), PATIENCE_MS);
  }

  async #offer(pc) {
    // who is polite lets the other one begin, so that the first offers don't meet; the relay waits
    if (this.call.polite && !this.#relayed && !pc.remoteDescription) return;
    try {
      this.#makingOffer = true;
      await pc.setLocalDescription();
      if (pc !== this.#pc) return;
      const { sdp } = await this.#emit("call:offer", { sdp: pc.localDescription.sdp });
      // in its turn: an offer of the relay's may be behind it
      if (sdp) this.#inTurn({ call: this.call.id }, () => pc === this.#pc && this.#described("answer", sdp));
    } catch (error) {
      this.#restartLater(error);
    } finally {
      this.#makingOffer = false;
    }
  }

  // What is said on the way that the call no longer goes is for nobody.
  #signalled(said, work) {
    if (this.#isOurs(said) && this.#relayed === (said.from === "relay")) this.#inTurn(said, work);
  }

  // What the other side says is done one after another, as it was said.
  #inTurn(said, work) {
    if (!this.#isOurs(said)) return;
    this.#work = this.#work.then(work).catch((error) => this.#restartLater(error));
  }

  async #described(type, sdp) {
    const pc = this.#pc;
    if (!pc || (type === "answer" && pc.signalingState !== "have-local-offer")) return;
    const collision = type === "offer" && (this.#makingOffer || pc.signalingState !== "stable");
    this.#ignoring = collision && !this.call.polite;
    if (this.#ignoring) return;
    await pc.setRemoteDescription({ type, sdp });
    for (const candidate of this.#waiting.splice(0)) await this.#candidate(candidate);
    if (type === "offer") {
      await pc.setLocalDescription();
      await this.#emit("call:answer", { sdp: pc.localDescription.sdp });
    }
    this.#hear();
  }

  // Tell whose media come and go.
  #hear() {
    if (!this.#pc?.remoteDescription) return;
    for (const [user, stream] of this.#streams.update(this.#pc, this.call.parties)) {
      this.#tell("remote", { user, stream });
    }
  }

  async #candidate(candidate) {
    if (!this.#pc?.remoteDescription) {
      this.#waiting.push(candidate);
      return;
    }
    try {
      await this.#pc.addIceCandidate(candidate);
    } catch (error) {
      // those of an offer that was not taken belong to nothing
      if (!this.#ignoring) throw error;
    }
  }

  #linkChanged(state) {
    this.#report();
    if (state === "connected") {
      clearTimeout(this.#restart);
      this.#tell("link", "connected");
    }
    if (state === "disconnected" || state === "failed") {
      clearTimeout(this.#restart);
      this.#tell("link", "lost");
      this.#restart = setTimeout(() => this.#restartIce(), state === "failed" ? 0 : 2_000);
    }
  }

  // Find another way for the media; the offer that says so goes out by itself.
  #restartIce() {
    const pc = this.#pc;
    if (!pc || pc.connectionState === "connected") return;
    // the relay begins with a side anew, and leaves the others as they are
    if (this.#relayed) return this.#connect();
    pc.restartIce();
    // an offer nobody answered keeps the next one from being asked for: it is said anew
    if (pc.signalingState === "have-local-offer") this.#offer(pc);
    clearTimeout(this.#restart);
    this.#restart = setTimeout(() => this.#restartIce(), PATIENCE_MS);
  }

  // A signal was refused or lost: the socket resumes, or the next restart says it all again.
  #restartLater(error) {
    console.warn("call signal lost", error.code ?? error.name);
    clearTimeout(this.#restart);
    this.#restart = setTimeout(() => this.#restartIce(), PATIENCE_MS);
  }

  // The socket was lost, the media perhaps not; meanwhile it may have been accepted, or ended.
  async #back() {
    if (!this.#live || this.elsewhere) return;
    const before = this.#pc;
    try {
      await this.#enter("call:resume", { call: this.call.id, fresh: false });
      if (!before || before !== this.#pc) return;
      this.#report();
      this.#sayMedia();
      if (before.connectionState !== "connected") this.#restartIce();
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
    if (!this.#pc || this.call?.state === "ended") return;
    const stats = await this.#meter.read();
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
    for (const kind of ["audio", "video"]) {
      const sender = this.#pc?.getTransceivers()
        .find((one) => one.receiver.track.kind === kind)?.sender;
      const track = this.#media.track(kind);
      if (!sender || sender.track === track) continue;
      await sender.replaceTrack(track);
      const transceiver = this.#pc.getTransceivers().find((one) => one.sender === sender);
      // it had nothing to send before: the other side must be told that it has now
      if (track && transceiver.direction === "recvonly") transceiver.direction = "sendrecv";
    }
  }

  #sayMedia() {
    const { mic, camera } = this.#media.switches;
    this.#send("call:media", { mic, camera });
  }

  #emit(command, data) {
    return this.#socket.emit(command, { call: this.call.id, ...data });
  }

  #send(command, data) {
    if (!this.call || this.call.state === "ended") return;
    this.#emit(command, data).catch((error) => this.#restartLater(error));
  }

  #leave() {
    clearInterval(this.#reports);
    this.#closePeer();
  }

  #closePeer() {
    clearTimeout(this.#restart);
    const pc = this.#pc;
    this.#pc = null;
    pc?.close();
  }

  #tell(event, detail) {
    this.dispatchEvent(new CustomEvent(event, { detail }));
  }
}

export function ownState(call) {
  return call.parties.find(({ me }) => me).state;
}
