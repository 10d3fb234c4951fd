// What stands in a room as a person sees it: cards, pictures, recordings.

import { button, h, shortTime } from "./dom.js";
import { drawPrescription } from "./prescription.js";
import { SEX } from "./words.js";

// `onload` is called when a picture takes its room.
export function drawContent({ kind, body }, onload) {
  if (kind === "image" && body.url) {
    return h("a", { href: body.url, target: "_blank", rel: "noopener" },
      h("img", { src: body.thumbnail_url ?? body.url, alt: "图片", class: "picture", onload }));
  }
  if (kind === "image") return "图片发送中…";
  if (kind === "voice") return h("audio", { src: body.url, controls: true });
  if (kind === "video") return h("video", { src: body.url, controls: true, class: "picture" });
  return body.text;
}

const CARDS = {
  case: drawCase,
  history: drawHistory,
  prescription: drawPrescription,
  group_invitation: drawInvitation,
  group_conclusion: drawConclusion,
};

// `session.enterGroup` opens a group consultation's room.
export function drawCard(body, session) {
  const draw = CARDS[body.card];
  if (draw) return draw(body, session);
  return h("pre", { class: "card" }, JSON.stringify(body, null, 2));
}

function drawCase({ person, description, images = [], at }) {
  return h("article", { class: "card", ariaLabel: "病历卡" },
    h("h4", {}, "就诊人信息"),
    h("p", {}, `${person.name} · ${SEX[person.sex] ?? person.sex} · ${person.age} 岁`),
    h("p", {}, description),
    h("div", { class: "pictures" }, images.map((image) =>
      h("a", { href: image.url, target: "_blank", rel: "noopener" },
        h("img", { src: image.thumbnail_url ?? image.url, alt: "病情图片", class: "picture" })))),
    h("p", { class: "meta" }, shortTime(at)));
}

function drawHistory({ messages }) {
  return h("details", { class: "card", ariaLabel: "问诊记录" },
    h("summary", {}, `问诊记录（${messages.length} 条）`),
    messages.map(({ name, text, at }) => h("p", {}, `${shortTime(at)} ${name}：${text}`)));
}

function drawInvitation({ group, text }, session) {
  return h("article", { class: "card", ariaLabel: "会诊邀请" },
    h("h4", {}, "会诊邀请"), h("p", {}, text),
    session.me.role === "patient"
      ? button("进入会诊", () => session.enterGroup(group), "primary") : null);
}

function drawConclusion({ title, conclusion, opinions }) {
  return h("article", { class: "card", ariaLabel: "会诊结论" },
    h("h4", {}, `会诊结论 · ${title}`),
    opinions.map(({ name, text }) => h("p", {}, `${name}医生意见：${text}`)),
    h("p", {}, h("strong", {}, conclusion)));
}
