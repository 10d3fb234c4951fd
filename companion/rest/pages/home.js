// The first page: is the server well, whom can one log in as, and the three sides.

import { h } from "./dom.js";
import { DoctorView } from "./doctor.js";
import { Pane } from "./pane.js";
import { PatientView } from "./patient.js";
import { PharmacistView } from "./pharmacist.js";

const HEALTH_EVERY_MS = 5_000;
const ROLES = { patient: "患者", doctor: "医生", pharmacist: "药师", operator: "运营", admin: "管理员" };

const byId = (id) => document.getElementById(id);

async function showHealth() {
  const health = byId("health");
  const ready = await fetch("/readyz", { cache: "no-store" }).then(({ ok }) => ok, () => null);
  health.dataset.state = ready ? "connected" : "refused";
  health.textContent =
    ready === null ? "无法连接服务器" : ready ? "服务运行正常" : "服务暂不可用，正在恢复";
  setTimeout(showHealth, HEALTH_EVERY_MS);
}

function showAccounts(accounts) {
  byId("accounts").hidden = !accounts.length;
  byId("account-rows").replaceChildren(...accounts.map((account) =>
    h("tr", {},
      h("td", {}, ROLES[account.role] ?? account.role),
      h("td", {}, account.name), h("td", {}, account.phone), h("td", {}, account.password))));
}

// On a phone one side is seen at a time.
function switchSides() {
  const switches = [...document.querySelectorAll("[data-side]")];
  for (const control of switches) {
    control.addEventListener("click", () => {
      byId("sides").dataset.shown = control.dataset.side;
      for (const each of switches) each.setAttribute("aria-pressed", String(each === control));
    });
  }
}

async function start() {
  showHealth();
  switchSides();
  const { accounts } = await fetch("/demo.json").then((answer) => answer.json(), () => ({ accounts: [] }));
  showAccounts(accounts);
  const of = (role) => accounts.filter((account) => account.role === role);
  new Pane(byId("patient"), {
    role: "patient", title: "患者端", device: "h5", view: PatientView, accounts: of("patient"),
  });
  new Pane(byId("doctor"), {
    role: "doctor", title: "医生端", device: "desktop", view: DoctorView, accounts: of("doctor"),
  });
  new Pane(byId("pharmacist"), {
    role: "pharmacist", title: "药师端", device: "desktop", view: PharmacistView,
    accounts: of("pharmacist"),
  });
}

start();
