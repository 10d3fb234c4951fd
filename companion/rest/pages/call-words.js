// What the call page says, and of what.

import { ownState } from "./call-client.js";

const MEDIA = { audio: "语音", video: "视频" };
const ENDED = {
  hung_up: "通话已结束", declined: "对方已拒绝", missed: "对方无人接听", cancelled: "对方已取消",
  failed: "未能接通，请稍后再试", network: "网络中断，通话已结束",
};
const DROPPED = "网络不稳定，正在重新连接…";
const BLOCKED = {
  audio: "麦克风被禁用，对方听不到您：请在浏览器或微信的设置中允许使用麦克风。",
  video: "摄像头被禁用，对方看不到您：可以在设置中允许，或只用语音继续。",
};
const MISSING = {
  audio: "没有找到可用的麦克风，对方听不到您。",
  video: "没有找到可用的摄像头，将以语音继续。",
};
const UNSUPPORTED = {
  audio: "这里无法使用麦克风，对方听不到您：可以换用系统浏览器进入通话。",
  video: "这里无法使用摄像头，对方看不到您。",
};
export const PROBLEMS = { blocked: BLOCKED, missing: MISSING, unsupported: UNSUPPORTED };

// A group's call may be connected while this side is still asked.
export function stage(call) {
  return ownState(call) === "rung" && call.state !== "ended" ? "ringing" : call.state;
}

// `cut`: this side's socket or media are away. `lasted` tells for how long it has been connected.
export function stateWords(call, { elsewhere, cut, lasted, quality }) {
  if (elsewhere) return "已在您的其他设备上接听";
  const media = MEDIA[call.media];
  const absent = !call.group && call.parties.find(({ me }) => !me).present === false;
  switch (stage(call)) {
    case "ringing":
      return isMine(call) ? `正在呼叫，等待对方接听${media}通话…` : `您有新的${media}通话，是否接听？`;
    case "connecting":
      return "正在接通…";
    case "connected":
      if (cut) return DROPPED;
      if (absent) return "对方网络中断，正在等待对方回来…";
      return [lasted(), quality].filter(Boolean).join(" · ");
    case "ended":
      return call.duration_s >= 1 ? `${endWords(call)} · 时长 ${hms(call.duration_s)}` : endWords(call);
  }
  return "";
}

// What the other side switched off, or may not use.
export function peerWords(call, { mic, camera }) {
  if (!["connecting", "connected"].includes(call.state)) return "";
  const words = { off: "已关闭", blocked: "被禁用" };
  const parts = [];
  if (mic !== "on") parts.push(`对方麦克风${words[mic]}`);
  if (call.media === "video" && camera !== "on") parts.push(`对方摄像头${words[camera]}`);
  return parts.join(" · ");
}

// The same on one of several tiles, with whose it is.
export function tileWords(call, party, devices = party) {
  const away = party.present ? "" : "网络中断";
  const words = peerWords(call, devices).replaceAll("对方", "");
  return [party.name, words, away].filter(Boolean).join(" · ");
}

export function hms(seconds) {
  const two = (n) => String(Math.floor(n)).padStart(2, "0");
  return `${two(seconds / 3600)}:${two((seconds / 60) % 60)}:${two(seconds % 60)}`;
}

function endWords(call) {
  if (isMine(call) && call.end_reason === "cancelled") return "通话已取消";
  if (!isMine(call)) {
    if (call.end_reason === "missed") return "未接听，通话已结束";
    if (call.end_reason === "declined") return "您已拒绝通话";
  }
  return ENDED[call.end_reason] ?? "通话已结束";
}

function isMine({ parties, started_by }) {
  return parties.find(({ me }) => me).user === started_by;
}
