// The reference: REST by its OpenAPI document, the socket by its AsyncAPI document.

import { h } from "./dom.js";
import { fieldsOf, follow, typeOf } from "./schema.js";

const METHODS = ["get", "post", "put", "patch", "delete"];
const CODES = [
  ["bad_request", "请求内容有误，fields 指出哪个字段、为什么"],
  ["unauthenticated", "没有有效的令牌"],
  ["forbidden", "无权访问，或内容不存在：两者回答相同"],
  ["conflict", "当前状态不允许此操作"],
  ["too_large", "内容过大"],
  ["rate_limited", "过于频繁，retry_after_ms 后再试"],
  ["closed", "会话已结束，不能再发送"],
  ["unavailable", "部分服务暂时不可用，可以重试"],
  ["internal", "未知错误，可以重试"],
];

function fieldTable(title, rows) {
  if (!rows.length) return null;
  return h("div", {}, h("h4", {}, title), h("div", { class: "scroll" }, h("table", {},
    h("thead", {}, h("tr", {}, ["字段", "类型", "必填", "说明"].map((word) => h("th", {}, word)))),
    h("tbody", {}, rows.map((row) => h("tr", {},
      h("td", {}, h("code", {}, row.name)), h("td", {}, h("code", {}, row.type)),
      h("td", {}, row.required ? "是" : ""),
      h("td", {}, [row.description, row.bounds].filter(Boolean).join("；"))))))));
}

function operation(id, marks, summary, ...parts) {
  const body = parts.flat().filter(Boolean);
  return h("details", { class: "operation", id },
    h("summary", {}, ...marks, h("span", { class: "hint" }, summary ?? "")),
    h("div", {}, body.length ? body : h("p", { class: "hint" }, "没有字段")));
}

const jsonOf = (content) => Object.values(content ?? {})[0]?.schema;

function example(title, content) {
  const value = Object.values(content ?? {})[0]?.example;
  if (value === undefined) return null;
  return h("details", {}, h("summary", {}, title), h("pre", {}, JSON.stringify(value, null, 2)));
}

// An object's fields, or its type where it has none.
function shape(title, schema, document) {
  if (!schema) return null;
  const rows = fieldsOf(schema, document);
  return rows.length ? fieldTable(title, rows) : h("p", {}, `${title}：`, h("code", {}, typeOf(schema, document)));
}

function restOperation(path, method, spec, document) {
  const parameters = (spec.parameters ?? []).map((given) => follow(given, document)).map((p) => ({
    name: `${p.name} (${p.in})`, required: p.required, type: typeOf(p.schema, document),
    bounds: "", description: p.description ?? "",
  }));
  const answers = Object.entries(spec.responses ?? {})
    .filter(([status]) => status.startsWith("2"))
    .flatMap(([status, answer]) => {
      const { content } = follow(answer, document);
      return [shape(`回答 ${status}`, jsonOf(content), document), example("回答示例", content)];
    });
  const { content: asked } = follow(spec.requestBody, document);
  const open = spec.security?.length === 0;
  const roles = spec["x-roles"] ? `仅 ${spec["x-roles"].join("、")}` : "";
  return operation(`${method}-${path}`,
    [h("span", { class: "method" }, method.toUpperCase()), h("code", {}, path)],
    [spec.summary, open ? "无需登录" : "", roles].filter(Boolean).join(" · "),
    fieldTable("参数", parameters),
    shape("请求体", jsonOf(asked), document), example("请求示例", asked), ...answers);
}

function restGroups(document) {
  const groups = new Map();
  for (const [path, methods] of Object.entries(document.paths ?? {})) {
    for (const method of METHODS.filter((name) => methods[name])) {
      const tag = methods[method].tags?.[0] ?? path.split("/")[3] ?? "其他";
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(restOperation(path, method, methods[method], document));
    }
  }
  return groups;
}

// What a client sends is what the server receives: AsyncAPI 3 tells it from the server's side.
function socketOperation(key, spec, document) {
  const message = follow(spec.messages?.[0] ?? Object.values(follow(spec.channel, document).messages ?? {})[0], document);
  const roles = spec["x-roles"] ? `仅 ${spec["x-roles"].join("、")}` : "";
  return operation(`socket-${key}`, [h("code", {}, message.name ?? key)],
    [spec.summary ?? message.summary, roles].filter(Boolean).join(" · "),
    fieldTable("字段", fieldsOf(message.payload, document)));
}

function socketGroups(document) {
  const groups = new Map([["命令", []], ["事件", []]]);
  for (const [key, spec] of Object.entries(document.operations ?? {})) {
    groups.get(spec.action === "receive" ? "命令" : "事件").push(socketOperation(key, spec, document));
  }
  return groups;
}

function errorCodes() {
  return h("section", { id: "codes" }, h("h2", {}, "错误码"), h("div", { class: "scroll" }, h("table", {},
    h("tbody", {}, CODES.map(([code, words]) =>
      h("tr", {}, h("th", {}, h("code", {}, code)), h("td", {}, words)))))));
}

async function part(title, key, address, groupsOf) {
  const section = h("section", { id: key }, h("h2", {}, title));
  const links = h("ul");
  try {
    const answer = await fetch(address);
    if (!answer.ok) throw new Error(`${address} 回答 ${answer.status}`);
    const document = await answer.json();
    if (document.info?.description) section.append(h("p", { class: "about" }, document.info.description));
    for (const [name, operations] of groupsOf(document)) {
      if (!operations.length) continue;
      const id = `${key}-${name}`;
      section.append(h("h3", { id }, name), ...operations);
      links.append(h("li", {}, h("a", { href: `#${id}` }, name)));
    }
  } catch (error) {
    section.append(h("p", { class: "problem" }, `无法读取文档：${error.message}`));
  }
  return { section, entry: [h("a", { href: `#${key}` }, title), links] };
}

const parts = await Promise.all([
  part("REST 接口", "rest", "/api/v1/openapi.json", restGroups),
  part("Socket.IO 命令与事件", "socket", "/asyncapi.json", socketGroups),
]);
document.getElementById("contents").replaceChildren(
  ...parts.flatMap(({ entry }) => entry), h("a", { href: "#codes" }, "错误码"));
document.getElementById("reference").replaceChildren(
  ...parts.map(({ section }) => section), errorCodes());
