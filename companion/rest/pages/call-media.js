// The microphone and the camera of this side: asked for, chosen, switched, and named when blocked.

const VIDEO = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 24 } };
const AUDIO = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
const PROBLEMS = {
  NotAllowedError: "blocked", SecurityError: "blocked", NotSupportedError: "unsupported",
};

export class LocalMedia extends EventTarget {
  stream = new MediaStream();
  problems = { audio: null, video: null };
  #wanted = { audio: true, video: true };
  #chosen = { audio: undefined, video: undefined };

  // `deviceId` is this browser's, as the server knows it.
  constructor(deviceId) {
    super();
    this.deviceId = deviceId;
  }

  // Ask for both at once, so that the person is asked once; then for what is left of them.
  async open(media) {
    this.#wanted.video = media === "video";
    const kinds = this.#wanted.video ? ["audio", "video"] : ["audio"];
    try {
      this.#take(await this.#ask(kinds));
    } catch {
      for (const kind of kinds) await this.#open(kind);
    }
    this.#changed();
  }

  track(kind) {
    return this.stream.getTracks().find((track) => track.kind === kind) ?? null;
  }

  // As the other side is to see it: on, off, blocked.
  get switches() {
    return { mic: this.#switch("audio"), camera: this.#switch("video") };
  }

  setMic(on) {
    this.#wanted.audio = on;
    const track = this.track("audio");
    if (track) track.enabled = on;
    this.#changed();
  }

  // A camera that is off is let go, so that its light goes out.
  async setCamera(on) {
    this.#wanted.video = on;
    if (on && !this.track("video")) await this.#open("video");
    if (!on) this.#drop("video");
    this.#changed();
  }

  async choose(kind, deviceId) {
    this.#chosen[kind] = deviceId;
    this.#drop(kind);
    await this.#open(kind);
    this.#changed();
  }

  async devices() {
    const found = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
    const list = (kind) => found.filter((one) => one.kind === kind && one.deviceId);
    return { audio: list("audioinput"), video: list("videoinput") };
  }

  close() {
    for (const kind of ["audio", "video"]) this.#drop(kind);
  }

  #switch(kind) {
    if (["blocked", "unsupported"].includes(this.problems[kind])) return "blocked";
    return this.#wanted[kind] && this.track(kind) ? "on" : "off";
  }

  async #open(kind) {
    try {
      this.#take(await this.#ask([kind]));
    } catch (error) {
      this.problems[kind] = PROBLEMS[error.name] ?? "missing";
    }
  }

  #ask(kinds) {
    // a web-view may have no such thing at all
    if (!navigator.mediaDevices?.getUserMedia) {
      return Promise.reject(new DOMException("", "NotSupportedError"));
    }
    const constraints = (kind, base) => kinds.includes(kind) && { ...base, deviceId: this.#chosen[kind] };
    return navigator.mediaDevices.getUserMedia({
      audio: constraints("audio", AUDIO), video: constraints("video", VIDEO),
    });
  }

  #take(stream) {
    for (const track of stream.getTracks()) {
      this.#drop(track.kind);
      this.problems[track.kind] = null;
      track.enabled = this.#wanted[track.kind];
      track.onended = () => {
        // unplugged, or taken by another application
        this.problems[track.kind] = "missing";
        this.#drop(track.kind);
        this.#changed();
      };
      this.stream.addTrack(track);
    }
  }

  #drop(kind) {
    const track = this.track(kind);
    if (!track) return;
    track.onended = null;
    track.stop();
    this.stream.removeTrack(track);
  }

  #changed() {
    this.dispatchEvent(new CustomEvent("change"));
  }
}
