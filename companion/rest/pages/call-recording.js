// Being recorded: the question, the sign that it runs, and the way out of it (V8).

import { h } from "./dom.js";

export class RecordingBar {
  #place;
  #say;
  #drawn = "";
  #text;

  // `say` tells the server whether this side agrees; `text` gives what is agreed to.
  constructor(place, say, text) {
    this.#place = place;
    this.#say = say;
    this.#text = text;
  }

  draw(call) {
    const view = this.#view(call);
    if (view === this.#drawn) return;
    this.#drawn = view;
    this.#place.hidden = !view;
    this.#place.dataset.view = view;
    this.#place.replaceChildren(...this.#parts(view));
  }

  #view(call) {
    const own = call.parties.find(({ me }) => me);
    if (!["connecting", "connected"].includes(call.state) || own.state !== "in") return "";
    if (call.recording) return "running";
    if (!call.recording_asked_by) return own.role === "doctor" ? "offered" : "";
    return call.consents.includes(own.user) ? "waiting" : "asked";
  }

  #parts(view) {
    const button = (label, agrees) =>
      h("button", { type: "button", onclick: () => this.#say(agrees) }, label);
    switch (view) {
      case "running":
        return [h("strong", { class: "live" }, "正在录制"), button("停止录制", false)];
      case "offered":
        return [button("录制通话", true)];
      case "waiting":
        return [h("span", {}, "已同意录制，等待对方同意…"), button("取消录制", false)];
      case "asked":
        return [h("span", {}, "医生请求录制本次通话，是否同意？"), this.#agreement(),
          button("同意", true), button("不同意", false)];
    }
    return [];
  }

  #agreement() {
    const text = h("p", {});
    const box = h("details", {}, h("summary", {}, "录制同意书"), text);
    box.addEventListener("toggle", async () => {
      text.textContent ||= await this.#text();
    });
    return box;
  }
}
