// The peer connection of one side of a call; for a new generation of the call a new one is made.
//
// Perfect negotiation (W3C WebRTC 1.0, «Perfect negotiation example»): the server says who is polite.
// The other one, the doctor, offers first. The relay waits for offers, and is never polite.

import { Meter } from "./call-stats.js";
import { RemoteStreams } from "./call-streams.js";

const PATIENCE_MS = 4_000;

export class Peer {
  #media;
  #polite;
  #relayed;
  #say;
  #described;
  #renew;
  #makingOffer = false;
  #ignoring = false;
  #closed = false;
  #waiting = [];
  #work = Promise.resolve();
  #restart = 0;
  #streams = new RemoteStreams();
  #meter;

  // `say(command, data)` resolves to the answer; `described` is called after each agreement,
  // `linked(state)` when the connection's state changes, `renew` when only a new peer can help.
  constructor(call, { iceServers, iceTransportPolicy, media, say, described, linked, renew }) {
    this.#media = media;
    this.#polite = call.polite;
    this.#relayed = call.mode === "relay";
    this.#say = say;
    this.#described = described;
    this.#renew = renew;
    const pc = new RTCPeerConnection({ iceServers, iceTransportPolicy, bundlePolicy: "max-bundle" });
    this.connection = pc;
    this.#meter = new Meter(pc);
    pc.onnegotiationneeded = () => this.#offer();
    pc.onicecandidate = ({ candidate }) =>
      this.#say("call:candidate", { candidate: candidate?.toJSON() ?? { candidate: "" } })
        .catch((error) => this.lost(error));
    pc.onconnectionstatechange = () => {
      this.#watch(pc.connectionState);
      linked(pc.connectionState);
    };
    for (const kind of call.media === "video" ? ["audio", "video"] : ["audio"]) {
      const track = media.track(kind);
      if (track) pc.addTrack(track, media.stream);
      else pc.addTransceiver(kind, { direction: "recvonly" });
    }
    // the first offer may get lost too: the other side may not be back yet
    this.#restartIn(PATIENCE_MS);
  }

  // What the other side says is done one after another, as it was said.
  take(type, sdp) {
    this.#inTurn(() => this.#agree(type, sdp));
  }

  takeCandidate(candidate) {
    this.#inTurn(() => this.#addCandidate(candidate));
  }

  // A signal was refused or lost: the socket resumes, or the next restart says it all again.
  lost(error) {
    if (this.#closed) return;
    console.warn("call signal lost", error.code ?? error.name);
    this.#restartIn(PATIENCE_MS);
  }

  // Find another way for the media; the offer that says so goes out by itself.
  restart() {
    if (this.#closed || this.connection.connectionState === "connected") return;
    // the relay begins with a side anew, and leaves the others as they are
    if (this.#relayed) return this.#renew();
    this.connection.restartIce();
    // an offer nobody answered keeps the next one from being asked for: it is said anew
    if (this.connection.signalingState === "have-local-offer") this.#offer();
    this.#restartIn(PATIENCE_MS);
  }

  // Send what the microphone and the camera give now.
  async mediaChanged() {
    for (const kind of ["audio", "video"]) {
      const transceiver = this.connection.getTransceivers()
        .find(({ receiver }) => receiver.track.kind === kind);
      const track = this.#media.track(kind);
      if (!transceiver || transceiver.sender.track === track) continue;
      await transceiver.sender.replaceTrack(track);
      // it had nothing to send before: the other side must be told that it has now
      if (track && transceiver.direction === "recvonly") transceiver.direction = "sendrecv";
    }
  }

  // Give [user, stream] of each whose media changed since the last time; null: gone.
  heard(parties) {
    return this.connection.remoteDescription ? this.#streams.update(this.connection, parties) : [];
  }

  measure() {
    return this.#meter.read();
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#restart);
    this.connection.close();
  }

  async #offer() {
    const pc = this.connection;
    // who is polite lets the other one begin, so that the first offers don't meet; the relay waits
    if (this.#closed || (this.#polite && !this.#relayed && !pc.remoteDescription)) return;
    try {
      this.#makingOffer = true;
      await pc.setLocalDescription();
      if (this.#closed) return;
      const { sdp } = await this.#say("call:offer", { sdp: pc.localDescription.sdp });
      // in its turn: an offer of the relay's may be behind it
      if (sdp) this.take("answer", sdp);
    } catch (error) {
      this.lost(error);
    } finally {
      this.#makingOffer = false;
    }
  }

  #inTurn(work) {
    this.#work = this.#work.then(() => this.#closed || work()).catch((error) => this.lost(error));
  }

  async #agree(type, sdp) {
    const pc = this.connection;
    if (type === "answer" && pc.signalingState !== "have-local-offer") return;
    const collision = type === "offer" && (this.#makingOffer || pc.signalingState !== "stable");
    this.#ignoring = collision && !this.#polite;
    if (this.#ignoring) return;
    await pc.setRemoteDescription({ type, sdp });
    for (const candidate of this.#waiting.splice(0)) await this.#addCandidate(candidate);
    if (type === "offer") {
      await pc.setLocalDescription();
      await this.#say("call:answer", { sdp: pc.localDescription.sdp });
    }
    if (!this.#closed) this.#described();
  }

  async #addCandidate(candidate) {
    if (!this.connection.remoteDescription) {
      this.#waiting.push(candidate);
      return;
    }
    try {
      await this.connection.addIceCandidate(candidate);
    } catch (error) {
      // those of an offer that was not taken belong to nothing
      if (!this.#ignoring) throw error;
    }
  }

  #watch(state) {
    if (state === "connected") clearTimeout(this.#restart);
    if (state === "disconnected") this.#restartIn(2_000);
    if (state === "failed") this.#restartIn(0);
  }

  #restartIn(ms) {
    clearTimeout(this.#restart);
    this.#restart = setTimeout(() => this.restart(), ms);
  }
}
