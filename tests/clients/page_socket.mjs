// Drives the first page's socket.js against a server: one JSON line for each thing that happened.

const [url, module] = process.argv.slice(2);
const { Socket } = await import(module);

const say = (what, detail) => console.log(JSON.stringify({ what, detail }));
let token = "expired";

const socket = new Socket(url, async (refusal) => {
  if (refusal) {
    say("refused", refusal.code);
    token = refusal.code === "forbidden" ? null : "good";
  }
  if (!token) throw new Error("no way in");
  return { token, device: "h5" };
});

const connected = () =>
  new Promise((resolve) => {
    socket.addEventListener("state", function once({ detail }) {
      if (detail !== "connected") return;
      socket.removeEventListener("state", once);
      resolve();
    });
  });

socket.on("state", (state) => say("state", state));
socket.on("greeting", (greeting) => say("greeting", greeting));

let ready = connected();
socket.connect();
await ready;

say("answer", await socket.emit("echo", { text: "您好" }));
await socket
  .emit("refuse", {})
  .catch(({ code, message, retry }) => say("error", { code, message, retry }));

// ten at once: each answer belongs to its own question
const many = await Promise.all([...Array(10).keys()].map((n) => socket.emit("echo", { n })));
say("answers", many.map(({ n }) => n));

// past the first heartbeat and the limit after it of the server, so that a missing pong would show
await new Promise((resolve) => setTimeout(resolve, 2_200));
say("alive", socket.state);

ready = connected();
const hanging = socket.emit("hang", {});
socket.lose();
await hanging.catch(({ code, retry }) => say("lost", { code, retry }));
await ready;

ready = connected();
socket.emit("cut", {}).catch(() => {});
await ready;

await socket.emit("forbid", {});
await socket.emit("cut", {}).catch(() => {});
await new Promise((resolve) => socket.on("state", (state) => state === "refused" && resolve()));
await socket.emit("echo", {}).catch(({ code }) => say("after", code));
