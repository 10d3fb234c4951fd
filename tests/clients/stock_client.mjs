// Drives a server with the stock socket.io-client: one JSON line for each thing that happened.
//
// It finds two demo users in one text consultation, sends, loses the engine under the socket,
// lets the client come back by itself, and resumes by after_seq.

import { io } from "socket.io-client";

const [url] = process.argv.slice(2);
const PASSWORD = "wenzhen-2026";
const say = (what, detail) => console.log(JSON.stringify({ what, detail }));

async function rest(token, method, path, body) {
  const answer = await fetch(`${url}/api/v1${path}`, {
    method,
    headers: {
      ...(token && { Authorization: `Bearer ${token}` }),
      ...(body && { "Content-Type": "application/json" }),
    },
    body: body && JSON.stringify(body),
  });
  const content = answer.status === 204 ? null : await answer.json();
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(content)}`);
  return content;
}

const logIn = async (phone) =>
  (await rest(null, "POST", "/auth/login", { phone, password: PASSWORD })).access_token;

function connect(token, device) {
  const socket = io(url, {
    transports: ["websocket"],
    auth: { token, device, device_id: `stock-${device}` },
    reconnectionDelay: 100,
    reconnectionDelayMax: 200,
    forceNew: true,
  });
  const connected = new Promise((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("connect_error", reject);
  });
  return { socket, connected };
}

const next = (socket, event) =>
  new Promise((resolve) => socket.once(event, resolve));

const patientToken = await logIn("13800000002");
const doctorToken = await logIn("13900000004");

const first = async (path) => (await rest(patientToken, "GET", path)).items[0];
const doctor = await first(`/doctors?q=${encodeURIComponent("神农")}`);
const person = await first("/people");

const stranger = connect("none", "bot");
const refusal = await stranger.connected.catch((error) => error);
stranger.socket.disconnect();
say("refused", { message: refusal.message, code: refusal.data?.code });

const made = await rest(patientToken, "POST", "/consultations", {
  doctor: doctor.id, mode: "text", person: person.id, seen_before: true,
  description: "反复头痛一周，休息后稍有缓解", images: [], consent_version: "1",
});
say("made", made.state);

const patient = connect(patientToken, "mini_program");
const doctorSide = connect(doctorToken, "desktop");
await Promise.all([patient.connected, doctorSide.connected]);

const one = { consultation: made.id };
const accepted = await doctorSide.socket.emitWithAck("consultation:accept", one);
say("accepted", accepted.consultation?.state);

const joined = await patient.socket.emitWithAck("room:join", { room: made.room });
say("joined", { ok: joined.ok, open: joined.room.open, first: joined.messages[0]?.kind });

const send = (socket, client_id, text) =>
  socket.emitWithAck("message:send", { room: made.room, client_id, kind: "text", body: { text } });

const heard = next(doctorSide.socket, "message:new");
const sent = await send(patient.socket, "s-1", "您好");
say("sent", { ok: sent.ok, next: sent.message.seq === joined.room.last_seq + 1 });
say("heard", { same: (await heard).id === sent.message.id });

const again = await send(patient.socket, "s-1", "您好");
say("again", { same: JSON.stringify(again.message) === JSON.stringify(sent.message) });

say("unknown", (await patient.socket.emitWithAck("no:such", {})).error.code);
say("closed_engine", patient.socket.io.engine.transport.name);

// the engine is closed under the socket, the doctor writes on, the client reconnects by itself
const away = next(patient.socket, "disconnect");
const back = next(patient.socket, "connect");
patient.socket.io.engine.close();
say("away", await away);
await send(doctorSide.socket, "d-1", "请描述");
await send(doctorSide.socket, "d-2", "有无发热");
await back;
const place = { room: made.room, after_seq: sent.message.seq };
const resumed = await patient.socket.emitWithAck("room:join", place);
say("resumed", {
  seqs: resumed.messages.map(({ seq }) => seq - sent.message.seq),
  texts: resumed.messages.map(({ body }) => body.text),
});

const ended = await patient.socket.emitWithAck("consultation:end", one);
say("ended", ended.consultation?.state);
say("after", (await send(doctorSide.socket, "d-3", "再见")).error.code);

patient.socket.disconnect();
doctorSide.socket.disconnect();
