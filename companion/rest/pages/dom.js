// Small helpers for building the page: elements, times, notes to the person.

// h("button", { class: "quiet", type: "button", onclick }, "结束") — text is never read as HTML.
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name === "class" ? "class" : name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export const button = (label, onclick, kind = "") =>
  h("button", { type: "button", class: kind, onclick }, label);

let fields = 0;

export function field(label, control, hint = null) {
  control.id = `field-${++fields}`;
  return h("div", { class: "field" }, h("label", { htmlFor: control.id }, label), control, hint);
}

// Do what a person asked for; meanwhile its control rests, and a refusal is told in words.
export function guarded(tell, work) {
  return async (event) => {
    event?.preventDefault?.();
    const control = event?.submitter ?? event?.currentTarget;
    if (control) control.disabled = true;
    try {
      await work(event);
    } catch (error) {
      tell(error.message || "操作未成功，请稍后再试");
    } finally {
      if (control) control.disabled = false;
    }
  };
}

// A booked time is the hospital's, wherever the reader is.
const timeZone = "Asia/Shanghai";
const clock = new Intl.DateTimeFormat("zh-CN", { timeZone, hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat("zh-CN", { timeZone, month: "numeric", day: "numeric" });

export function shortTime(text) {
  const at = new Date(text);
  const today = day.format(at) === day.format(new Date());
  return today ? clock.format(at) : `${day.format(at)} ${clock.format(at)}`;
}

export function remaining(text) {
  const seconds = Math.max(0, Math.floor((new Date(text) - Date.now()) / 1000));
  const two = (n) => String(n).padStart(2, "0");
  return `${two(Math.floor(seconds / 3600))}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
}

export const money = (fen) => (fen ? `¥${(fen / 100).toFixed(2)}` : "免费");
