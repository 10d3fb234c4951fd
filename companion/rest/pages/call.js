// The call page. It opens with a one-time ticket, /call?ticket=…, and survives a reload.

import { Api } from "./api.js";
import { CallClient, ownState } from "./call-client.js";
import { LocalMedia } from "./call-media.js";
import { RecordingBar } from "./call-recording.js";
import { Tiles } from "./call-tiles.js";
import { PROBLEMS, hms, peerWords, stage, stateWords, tileWords } from "./call-words.js";
import { h } from "./dom.js";
import { Socket } from "./socket.js";

const KEPT = "wenzhen-call";
const GOOD_RTT_MS = 250;
const POOR_RTT_MS = 600;
const GOOD_LOSS = 0.03;
const POOR_LOSS = 0.1;

const $ = (id) => document.getElementById(id);
const root = $("call");
const parameters = new URLSearchParams(location.search);

class Page {
  #api = new Api();
  #socket;
  #client;
  #media;
  #me;
  #entered = false;
  #link = "connecting";
  #quality = "";
  #tiles = new Tiles($("others"));
  #devices = {};
  #recording = new RecordingBar(
    $("recording"),
    (agrees) => this.#client.consent(agrees).catch((error) => this.#tell(error.message)),
    () => this.#recordingConsent(),
  );

  async open() {
    // before the ticket is used: elsewhere it is still good
    if (!globalThis.RTCPeerConnection) throw new Error("当前环境不支持通话，请用系统浏览器打开");
    const ticket = parameters.get("ticket");
    if (ticket) {
      // out of the address at once: it is of no more use, and belongs in nobody's history
      const rest = new URLSearchParams(parameters);
      rest.delete("ticket");
      history.replaceState(null, "", rest.size ? `/call?${rest}` : "/call");
      this.#keep(await this.#api.redeem(ticket));
    } else {
      await this.#restore();
    }
    this.#media = new LocalMedia(this.kept.device_id);
    this.#media.addEventListener("change", () => this.#drawLocal());
    this.#socket = new Socket(location.origin, (refusal) => this.#credentials(refusal));
    this.#client = new CallClient(this.#socket, {
      media: this.#media, relayOnly: parameters.get("relay") === "only",
    });
    globalThis.callClient = this.#client; // for support: its peer connection's statistics
    this.#listen();
    this.#socket.connect();
  }

  #keep({ access_token, refresh_token, user, call, device_id }) {
    this.kept = { user, call, device_id };
    this.#me = user;
    sessionStorage.setItem(KEPT, JSON.stringify({ ...this.kept, refresh_token }));
    this.#api.adopt({ access_token, refresh_token, user }, (refreshed) =>
      sessionStorage.setItem(KEPT, JSON.stringify({ ...this.kept, refresh_token: refreshed })));
  }

  async #restore() {
    const stored = JSON.parse(sessionStorage.getItem(KEPT) ?? "null");
    if (!stored) throw new Error("通话链接已失效，请从问诊中重新进入");
    this.kept = { user: stored.user, call: stored.call, device_id: stored.device_id };
    this.#me = stored.user;
    this.#api.adopt({ refresh_token: stored.refresh_token, user: stored.user }, (refreshed) =>
      sessionStorage.setItem(KEPT, JSON.stringify({ ...this.kept, refresh_token: refreshed })));
    await this.#api.refresh();
  }

  async #credentials(refusal) {
    if (refusal?.code === "unauthenticated") await this.#api.refresh();
    else if (refusal) throw refusal;
    return { token: this.#api.token, device: "h5", device_id: this.kept.device_id };
  }

  #listen() {
    this.#socket
      .on("state", (state) => {
        if (state === "connected" && !this.#entered) this.#enter().catch((error) => this.#fail(error));
        if (state === "refused") this.#fail(new Error("登录已失效，请从问诊中重新进入"));
        this.#draw();
      })
      .on("session:expiring", async () => {
        await this.#api.refresh();
        await this.#socket.emit("session:refresh", { token: this.#api.token });
      });
    this.#client
      .on("change", () => this.#draw())
      .on("remote", ({ user, stream }) => this.#play(user, stream))
      .on("link", (link) => { this.#link = link; this.#draw(); })
      .on("quality", (stats) => this.#judge(stats))
      .on("peer", ({ user, mic, camera }) => { this.#devices[user] = { mic, camera }; this.#draw(); })
      .on("ended", (call) => this.#end(call));
    setInterval(() => this.#drawState(), 500);
  }

  // After a ticket or a reload: learn what the call is doing, and be in it again where it goes on.
  async #enter() {
    this.#entered = true;
    const { call } = await this.#socket.emit("call:resume", { call: this.kept.call, fresh: false });
    root.dataset.media = call.media;
    await this.#media.open(call.media);
    await this.#fillDevices();
    await this.#client.resume(this.kept.call);
    if (parameters.get("accept") && ownState(call) === "rung") {
      await this.#client.accept(this.kept.call);
    }
  }

  #play(user, stream) {
    const video = $("remote");
    const again = () => (this.#call.group ? this.#tiles.playAll() : video.play());
    const wait = () => this.#tell("点击画面以播放声音", again);
    if (this.#call.group) {
      this.#tiles.show(user, stream).catch(wait);
    } else {
      if (video.srcObject !== stream) video.srcObject = stream;
      if (stream) video.play().catch(wait);
    }
    this.#draw();
  }

  #judge({ rtt_ms = 0, loss = 0 }) {
    if (loss > POOR_LOSS || rtt_ms > POOR_RTT_MS) this.#quality = "网络较差";
    else if (loss > GOOD_LOSS || rtt_ms > GOOD_RTT_MS) this.#quality = "网络一般";
    else this.#quality = "网络良好";
    this.#drawState();
  }

  async #end(call) {
    this.#media.close();
    sessionStorage.removeItem(KEPT);
    if (!call.ended_at && !call.group) {
      this.ended = await this.#api.get(`/calls/${call.id}`).catch(() => call);
    }
    this.#draw();
    await this.#api.logOut();
    this.#socket.close();
  }

  #fail(error) {
    root.dataset.state = "ended";
    $("state").textContent = error.message || "通话无法打开";
    $("controls").replaceChildren();
    sessionStorage.removeItem(KEPT);
  }

  get #call() {
    return this.ended ?? this.#client?.call;
  }

  #draw() {
    const call = this.#call;
    if (!call) return;
    const others = call.parties.filter(({ state, me }) => !me && (!call.group || state === "in"));
    const peer = others[0] ?? call.parties.find(({ me }) => !me);
    const elsewhere = this.#client.elsewhere;
    if (elsewhere) this.#media.close();
    root.dataset.state = elsewhere ? "elsewhere" : stage(call);
    root.dataset.group = call.group ? "yes" : "no";
    $("peer").textContent = call.group ? others.map(({ name }) => name).join("、") || "会诊通话" : peer.name;
    document.querySelector(".face").dataset.name = peer.name.slice(0, 1);
    const theirs = this.#devices[peer.user] ?? peer;
    this.#tiles.name(others, (one) => tileWords(call, one, this.#devices[one.user]));
    const picture = call.media === "video" && theirs.camera === "on" && $("remote").srcObject;
    root.dataset.picture = picture ? "yes" : "no";
    $("peer-devices").textContent = call.group ? "" : peerWords(call, theirs);
    this.#recording.draw(elsewhere ? { ...call, state: "ended" } : call);
    this.#drawState();
    this.#drawControls(call);
  }

  async #recordingConsent() {
    const { items } = await this.#api.get("/consents");
    return items.find(({ kind }) => kind === "recording").text;
  }

  #drawState() {
    const call = this.#call;
    if (call) $("state").textContent = this.#stateWords(call);
  }

  #stateWords(call) {
    return stateWords(call, {
      elsewhere: this.#client.elsewhere,
      cut: this.#socket.state !== "connected" || this.#link === "lost",
      lasted: () => lasted(call),
      quality: this.#quality,
    });
  }

  #drawControls(call) {
    const key = [root.dataset.state, call.started_by, JSON.stringify(this.#media.switches)].join();
    if (this.drawn === key) return;
    this.drawn = key;
    $("controls").replaceChildren(...this.#controls(call));
  }

  #controls(call) {
    const client = this.#client;
    const mine = call.started_by === this.#me.id;
    const end = (label, work) => this.#button("hang-up", label, work, { class: "end" });
    if (stage(call) === "ringing" && mine) return [end("取消", () => client.cancel())];
    if (stage(call) === "ringing") {
      return [
        end("拒绝", () => client.decline()),
        this.#button("phone", "接听", () => client.accept(call.id), { class: "accept" }),
      ];
    }
    if (call.state === "ended" || client.elsewhere) return [];
    return [...this.#switches(call), end("挂断", () => client.hangUp())];
  }

  #switches(call) {
    const { mic, camera } = this.#media.switches;
    const muted = this.#button(mic === "on" ? "mic" : "mic-off", mic === "on" ? "静音" : "取消静音",
      () => this.#media.setMic(mic !== "on"), { ariaPressed: String(mic === "on") });
    if (call.media === "audio") return [muted];
    return [muted, this.#button(camera === "on" ? "camera" : "camera-off", camera === "on" ? "关闭摄像头" : "打开摄像头",
      () => this.#media.setCamera(camera !== "on"), { ariaPressed: String(camera === "on") })];
  }

  #button(icon, label, work, attributes) {
    const onclick = async ({ currentTarget }) => {
      currentTarget.disabled = true;
      try {
        await work();
      } catch (error) {
        this.#tell(error.message || "操作未成功，请稍后再试");
      } finally {
        currentTarget.disabled = false;
      }
    };
    return h("button", { type: "button", "data-icon": icon, onclick, ...attributes }, label);
  }

  #drawLocal() {
    const { camera } = this.#media.switches;
    root.dataset.camera = camera === "on" ? "on" : "off";
    $("local").srcObject = camera === "on" ? this.#media.stream : null;
    const kinds = root.dataset.media === "video" ? ["audio", "video"] : ["audio"];
    const problems = kinds.map((kind) => {
      const problem = this.#media.problems[kind];
      return problem && PROBLEMS[problem][kind];
    });
    this.#tell(problems.filter(Boolean).join(" "));
    this.#draw();
  }

  async #fillDevices() {
    const found = await this.#media.devices();
    for (const [id, kind] of [["mics", "audio"], ["cameras", "video"]]) {
      const select = $(id);
      select.parentElement.hidden = kind === "video" && root.dataset.media === "audio";
      select.replaceChildren(...found[kind].map((one, n) =>
        h("option", { value: one.deviceId }, one.label || `设备 ${n + 1}`)));
      select.onchange = () => this.#media.choose(kind, select.value);
    }
  }

  #tell(text, onclick = null) {
    $("problem").textContent = text;
    $("problem").hidden = !text;
    $("problem").onclick = onclick && (() => { onclick(); this.#tell(""); });
  }

  fail(error) {
    this.#fail(error);
  }
}

// The hospital's clock may not be this device's: count from when it was seen connected here.
function lasted(call) {
  const key = `${KEPT}-since-${call.id}`;
  const since = Number(sessionStorage.getItem(key) ?? Date.now());
  sessionStorage.setItem(key, since);
  return hms((Date.now() - since) / 1000);
}

const page = new Page();
page.open().catch((error) => page.fail(error));
