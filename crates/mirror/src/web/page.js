
"use strict";
// Names come from the mirrored tree, whose writers nobody vouches for: they reach the page as text nodes only.

const STATUS_EVERY = 1000;
const HISTORY_EVERY = 5000;
const ROWS_MAX = 500;

let token = new URLSearchParams(location.search).get("token");
if (token !== null) {
  // Out of the address bar and of what is bookmarked or shared.
  sessionStorage.setItem("token", token);
  history.replaceState(null, "", location.pathname);
} else {
  token = sessionStorage.getItem("token");
}

let past = { trees: [] };
let range = "fine";
let kind = "all";

const find = (id) => document.getElementById(id);

function element(name, content, className) {
  const made = document.createElement(name);
  if (className) made.className = className;
  for (const part of [content].flat()) if (part !== undefined) made.append(part);
  return made;
}

async function load(path) {
  const headers = token === null ? {} : { Authorization: "Bearer " + token };
  const response = await fetch(path, { headers, cache: "no-store" });
  if (!response.ok) throw new Error((await response.text()).trim());
  return response.json();
}

// Figures

const number = (value) => value.toLocaleString();

function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) { value /= 1024; unit += 1; }
  return (unit === 0 ? Math.round(value) : value.toFixed(1)) + " " + units[unit];
}

function seconds(value) {
  if (value < 60) return value.toFixed(1) + " s";
  if (value < 3600) return Math.floor(value / 60) + " min";
  return (value / 3600).toFixed(1) + " h";
}

function clock(at) {
  const date = new Date(at * 1000);
  const isToday = date.toDateString() === new Date().toDateString();
  return isToday ? date.toLocaleTimeString() : date.toLocaleString();
}

// Replicas

function showStatus(status) {
  const replicas = status.trees.flatMap((tree) => tree.replicas);
  const inStep = replicas.filter((replica) => replica.state === "in-step").length;
  find("summary").className = inStep === replicas.length ? "in-step" : "busy";
  find("summary").textContent = `${inStep} of ${replicas.length} replicas in step, ${clock(status.now)}`;
  document.title = `${inStep}/${replicas.length} driftless`;
  find("trees").replaceChildren(...status.trees.flatMap((tree) => [
    element("h2", [tree.name + " ", element("small", tree.source === tree.name ? "" : tree.source)]),
    element("div", tree.replicas.map(card), "cards"),
  ]));
}

function card(replica) {
  const { totals, throughput, verification, failure } = replica;
  const figures = [
    ["lag", seconds(replica.lag)],
    ["waiting", number(replica.waiting)],
    ["speed", bytes(throughput.bytes_per_second) + "/s"],
    ["updated", number(totals.updates)],
    ["removed", number(totals.removals)],
    ["brought over", bytes(totals.bytes)],
  ];
  const lines = [];
  const line = (text, className) => lines.push(element("p", text, className));
  if (replica.brake !== null) line(`waits for approval: ${replica.brake_reason} (driftless approve ${replica.name})`, "braked");
  if (failure !== null) {
    const path = failure.path === null || failure.reason.includes(failure.path) ? "" : failure.path + ": ";
    line(`fails: ${path}${failure.reason} (${clock(failure.at)})`, "failed");
  }
  if (replica.refuses_deletions !== null) line("deletes nothing: " + replica.refuses_deletions, "failed");
  for (const lack of replica.lacks) line(lack, "braked");
  const standing = Object.entries(replica.standing);
  for (const [path, reason] of standing.slice(0, 5)) line(`stays different: ${path}: ${reason}`, "braked");
  if (standing.length > 5) line(`and ${standing.length - 5} more stay different`, "braked");
  if (verification !== null) {
    const word = verification.ended === null ? "verifying" : "verified " + clock(verification.ended);
    line(`${word}: ${number(verification.files)} files compared, ${number(verification.mended)} mended`, "faint");
  }
  const card = element("article", [
    element("h3", [element("span", replica.name), element("span", replica.state, "state " + replica.state)]),
    replica.place === replica.name ? undefined : element("p", replica.place, "place"),
    element("dl", figures.map(([name, value]) => element("div", [element("dt", name), element("dd", value)]))),
    ...lines,
  ], "card");
  return card;
}

// Charts

const CHARTS = [
  ["lag", (sample) => sample.lag, seconds],
  ["waiting paths", (sample) => sample.waiting, number],
  ["speed", (sample, span) => sample.bytes / span, (value) => bytes(value) + "/s"],
];

function showCharts() {
  const span = range === "fine" ? 5 : 120;
  find("charts").replaceChildren(...past.trees.flatMap((tree) => tree.replicas.flatMap((replica) => [
    element("h3", tree.name + " \u2192 " + replica.name),
    element("div", CHARTS.map(([name, value, words]) => {
      const points = replica[range].map((sample) => [sample.at, value(sample, span)]);
      return chart(name, points, words);
    }), "charts"),
  ])));
}

function chart(name, points, words) {
  const most = Math.max(0, ...points.map(([, value]) => value));
  const last = points.length === 0 ? "no samples yet" : "now " + words(points[points.length - 1][1]);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const set = (node, attributes) => Object.entries(attributes).forEach(([key, value]) => node.setAttribute(key, value));
  set(svg, { viewBox: "0 0 720 100", preserveAspectRatio: "none", role: "img", "aria-label": `${name}: ${last}, at most ${words(most)}` });
  if (points.length > 0) {
    const length = range === "fine" ? 3600 : 86400;
    const end = points[points.length - 1][0];
    const x = (at) => (720 * (1 - (end - at) / length)).toFixed(1);
    const y = (value) => (98 - 94 * (most === 0 ? 0 : value / most)).toFixed(1);
    const line = points.map(([at, value]) => `L${x(at)} ${y(value)}`).join("");
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    set(path, { class: "area", d: `M${x(points[0][0])} 98${line}L${x(end)} 98` });
    svg.append(path);
  }
  return element("figure", [
    element("figcaption", [element("span", name), element("span", `${last}, at most ${words(most)}`)]),
    svg,
  ]);
}

// Recent changes and failures

function showRecent() {
  const words = find("search").value.toLowerCase().split(" ").filter((word) => word !== "");
  const rows = [];
  for (const tree of past.trees) {
    for (const replica of tree.replicas) {
      if (kind !== "failures") {
        for (const change of replica.changes) {
          const what = change.kind + (change.is_dir ? " directory" : "");
          rows.push([change.at, replica.name, what, change.path, ""]);
        }
      }
      if (kind !== "changes") {
        for (const failure of replica.failures) {
          const often = failure.times > 1 ? `failed ${failure.times} times` : "failed";
          rows.push([failure.at, replica.name, often, failure.path ?? "", failure.reason]);
        }
      }
    }
  }
  const isFound = (row) => {
    const text = row.slice(1).join(" ").toLowerCase();
    return words.every((word) => text.includes(word));
  };
  const found = rows.filter(isFound).sort((one, other) => other[0] - one[0]);
  find("found").textContent = `${number(found.length)} of ${number(rows.length)}`;
  find("recent").replaceChildren(...found.slice(0, ROWS_MAX).map(([at, ...cells]) => {
    const isFailure = cells[1].startsWith("failed");
    return element("tr", [clock(at), ...cells].map((cell) => element("td", cell)), isFailure ? "failed" : "");
  }));
}

// Controls, and the clockwork

function choose(attribute, change) {
  const buttons = document.querySelectorAll(`button[data-${attribute}]`);
  for (const button of buttons) {
    button.addEventListener("click", () => {
      for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
      change(button.dataset[attribute]);
    });
  }
}

async function every(pause, step) {
  for (;;) {
    if (!document.hidden) {
      try {
        await step();
      } catch (error) {
        find("summary").className = "failed";
        find("summary").textContent = "no answer: " + error.message;
      }
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

choose("range", (chosen) => { range = chosen; showCharts(); });
choose("kind", (chosen) => { kind = chosen; showRecent(); });
find("search").addEventListener("input", showRecent);
every(STATUS_EVERY, async () => showStatus(await load("status.json")));
every(HISTORY_EVERY, async () => { past = await load("history.json"); showCharts(); showRecent(); });
