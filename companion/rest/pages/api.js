// REST below /api/v1, for one logged-in user: tokens, problem documents, uploads.

const API = "/api/v1";

export class Refusal extends Error {
  constructor(status, problem) {
    const why = Object.values(problem.fields ?? {});
    super(why.length ? why.join("；") : problem.detail || problem.title || "请求未成功，请稍后再试");
    this.status = status;
    this.code = problem.code ?? "internal";
  }
}

const read = (answer) => {
  if (answer.status === 204) return null;
  if (answer.headers.get("Content-Type") === "application/pdf") return answer.blob();
  return answer.json().catch(() => ({}));
};

export class Api {
  #access = null;
  #refresh = null;
  #refreshing = null;
  #onRefreshed = () => {};
  user = null;

  get token() {
    return this.#access;
  }

  async logIn(phone, password) {
    this.#keep(await this.#fetch("POST", "/auth/login", { phone, password }));
  }

  // Exchange a call page's one-time ticket for a session.
  redeem(ticket) {
    return this.#fetch("POST", "/call-tickets/redeem", { ticket });
  }

  // Go on with a session that began elsewhere; `onRefreshed` keeps each new refresh token.
  adopt(session, onRefreshed) {
    this.#onRefreshed = onRefreshed;
    this.#keep(session);
  }

  async logOut() {
    await this.post("/auth/logout").catch(() => {});
    this.#access = this.#refresh = this.user = null;
  }

  // Exchange the refresh token, once however many ask at the same moment: it is good for one use.
  refresh() {
    this.#refreshing ??= this.#fetch("POST", "/auth/refresh", { refresh_token: this.#refresh })
      .then((answer) => this.#keep(answer))
      .finally(() => (this.#refreshing = null));
    return this.#refreshing;
  }

  get(path) {
    return this.#authorised("GET", path);
  }

  post(path, body = {}) {
    return this.#authorised("POST", path, body, { "Idempotency-Key": crypto.randomUUID() });
  }

  patch(path, body) {
    return this.#authorised("PATCH", path, body);
  }

  put(path, body) {
    return this.#authorised("PUT", path, body);
  }

  remove(path) {
    return this.#authorised("DELETE", path);
  }

  async upload(file) {
    const form = new FormData();
    form.append("file", file);
    return this.#authorised("POST", "/files", form);
  }

  async #authorised(method, path, body, headers) {
    try {
      return await this.#fetch(method, path, body, headers);
    } catch (refusal) {
      if (refusal.status !== 401 || !this.#refresh) throw refusal;
      await this.refresh();
      return this.#fetch(method, path, body, headers);
    }
  }

  async #fetch(method, path, body, headers = {}) {
    const json = body !== undefined && !(body instanceof FormData);
    const answer = await fetch(API + path, {
      method,
      headers: {
        ...(this.#access && { Authorization: `Bearer ${this.#access}` }),
        ...(json && { "Content-Type": "application/json" }),
        ...headers,
      },
      body: json ? JSON.stringify(body) : body,
    }).catch(() => {
      throw new Refusal(0, { code: "unavailable", detail: "无法连接服务器，请检查网络后重试" });
    });
    const content = await read(answer);
    if (!answer.ok) throw new Refusal(answer.status, content ?? {});
    return content;
  }

  #keep({ access_token, refresh_token, user }) {
    this.#access = access_token;
    this.#refresh = refresh_token;
    this.user = user ?? this.user;
    this.#onRefreshed(refresh_token);
  }
}
