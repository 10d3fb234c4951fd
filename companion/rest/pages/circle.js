// The health circle (健康圈): articles by category, doctors' topics, comments, likes.

import { button, field, guarded, h, shortTime } from "./dom.js";

const TOPICS = "医生话题";
const PAGE = 5;

export class Circle {
  #pane;
  #chosen = null;

  constructor(pane) {
    this.#pane = pane;
    this.tabs = h("div", { class: "buttons", role: "group", ariaLabel: "健康圈栏目" });
    this.list = h("ul", { class: "items", ariaLabel: "文章" });
    this.shown = h("div", { class: "reading" });
    this.element = h("details", {
      class: "circle", ontoggle: guarded(pane.tell, () => this.#open()),
    }, h("summary", {}, "健康圈"), this.tabs, this.list, this.shown);
  }

  async #open() {
    if (this.#chosen) return;
    const { items } = await this.#pane.api.get("/categories");
    const names = [...items.map(({ name }) => name), TOPICS];
    this.tabs.replaceChildren(...names.map((name) =>
      button(name, guarded(this.#pane.tell, () => this.#choose(name)), "quiet")));
    await this.#choose(names[0]);
  }

  async #choose(name) {
    this.#chosen = name;
    for (const tab of this.tabs.children) tab.ariaPressed = String(tab.textContent === name);
    this.list.replaceChildren();
    this.shown.replaceChildren();
    await this.#more(name === TOPICS ? "/topics?" : `/articles?category=${encodeURIComponent(name)}&`);
  }

  async #more(path, cursor = "") {
    const chosen = this.#chosen;
    const found = await this.#pane.api.get(`${path}limit=${PAGE}${cursor}`);
    // another tab was pressed meanwhile
    if (chosen !== this.#chosen) return;
    this.list.append(...found.items.map((post) => this.#item(post)), ...this.#rest(path, found.cursor));
  }

  #rest(path, cursor) {
    if (!cursor) return [];
    const row = h("li", {}, button("更多", guarded(this.#pane.tell, async () => {
      await this.#more(path, `&cursor=${cursor}`);
      row.remove();
    }), "link"));
    return [row];
  }

  #item(post) {
    return h("li", {},
      h("div", {}, h("strong", {}, post.title),
        h("p", {}, post.summary),
        h("p", { class: "hint" }, `${post.author.name} · ${shortTime(post.at)} · 评论 ${post.comment_count} · 点赞 ${post.like_count} · 分享 ${post.share_count}`)),
      button("阅读", guarded(this.#pane.tell, () => this.#read(post)), "quiet"));
  }

  async #read({ kind, id }) {
    const post = await this.#pane.api.get(`/${kind}s/${id}`);
    const text = h("div", { class: "text" });
    // made harmless by the server: text, structure and links alone
    text.innerHTML = post.html;
    this.shown.replaceChildren(
      h("article", { class: "card", ariaLabel: post.title }, h("h4", {}, post.title), text,
        h("div", { class: "buttons" }, heart(this.#pane, kind, post), this.#share(post))),
      new Talk(this.#pane, post.id).element);
    this.shown.scrollIntoView({ block: "nearest" });
  }

  #share(post) {
    const control = button(`分享 ${post.share_count}`, guarded(this.#pane.tell, async () => {
      await this.#pane.api.post(`/${post.kind}s/${post.id}/share`);
      control.textContent = `分享 ${++post.share_count}`;
    }), "quiet");
    return control;
  }
}

function heart(pane, kind, thing) {
  const show = () => {
    control.textContent = `点赞 ${thing.like_count}`;
    control.ariaPressed = String(thing.liked);
  };
  const control = button("", guarded(pane.tell, async () => {
    const path = `/likes/${kind}/${thing.id}`;
    await (thing.liked ? pane.api.remove(path) : pane.api.put(path));
    thing.liked = !thing.liked;
    thing.like_count += thing.liked ? 1 : -1;
    show();
  }), "quiet");
  show();
  return control;
}

// The comments of a post, or the replies to one of them: each opens a talk of its own.
class Talk {
  #pane;
  #post;
  #parent;

  constructor(pane, post, parent = null) {
    this.#pane = pane;
    this.#post = post;
    this.#parent = parent;
    const text = h("input", { required: true, maxLength: 500 });
    const form = h("form", {
      class: "row",
      onsubmit: guarded(pane.tell, async () => {
        await pane.api.post("/comments", { post, text: text.value.trim(), ...(parent && { parent }) });
        text.value = "";
        await this.load();
      }),
    }, field(parent ? "回复" : "评论", text), h("button", { type: "submit", class: "quiet" }, "发表"));
    this.list = h("ul", { class: "items", ariaLabel: parent ? "回复" : "评论" });
    this.element = h("div", { class: "talk" }, form, this.list);
    if (!parent) this.load().catch((error) => pane.tell(error.message));
  }

  async load() {
    const below = this.#parent ? `&parent=${this.#parent}` : "";
    const { items } = await this.#pane.api.get(`/comments?post=${this.#post}${below}&limit=50`);
    this.list.replaceChildren(...items.map((comment) => this.#item(comment)));
  }

  #item(comment) {
    const replies = new Talk(this.#pane, this.#post, comment.id);
    const remove = guarded(this.#pane.tell, async () => {
      await this.#pane.api.remove(`/comments/${comment.id}`);
      await this.load();
    });
    return h("li", {}, h("div", {},
      h("strong", {}, comment.author.name), ` ${comment.text}`,
      h("p", { class: "hint" }, shortTime(comment.at)),
      h("details", { ontoggle: guarded(this.#pane.tell, () => replies.load()) },
        h("summary", {}, comment.reply_count ? `共${comment.reply_count}条回复` : "回复"),
        replies.element)),
    h("div", { class: "buttons" }, heart(this.#pane, "comment", comment),
      comment.mine ? button("删除", remove, "quiet") : null));
  }
}
