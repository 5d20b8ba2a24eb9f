// Draws each mermaid block of the pages as an SVG that the site shows without a script.
// node render.mjs /usr/bin/chromium mermaid.min.js; scripts/diagrams calls it.
import { createHash } from "node:crypto";
import { readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, "..", "..");
const { chromium } = createRequire(join(root, "tests", "browser", "package.json"))("playwright-core");
const [executablePath, mermaid] = process.argv.slice(2);

/** Colours to draw with, and the variables of assets/site.css that replace them. */
const COLOURS = {
  "#aa0001": "var(--drawing-box)",
  "#aa0002": "var(--drawing-edge)",
  "#aa0003": "var(--drawing-line)",
  "#aa0004": "var(--drawing-text)",
  "#aa0005": "var(--drawing-note)",
  "#aa0006": "var(--drawing-group)",
  // Written into the shapes whatever the theme.
  "#eaeaea": "var(--drawing-box)",
  "#000000": "var(--drawing-line)",
};
const [box, edge, line, text, note, group] = Object.keys(COLOURS);
const themeVariables = {
  background: group, mainBkg: box, primaryColor: box, primaryBorderColor: edge, primaryTextColor: text,
  secondaryColor: group, tertiaryColor: group, lineColor: line, textColor: text, titleColor: text,
  nodeBorder: edge, nodeTextColor: text, clusterBkg: group, clusterBorder: line, edgeLabelBackground: group,
  actorBkg: box, actorBorder: edge, actorTextColor: text, actorLineColor: line, signalColor: line,
  signalTextColor: text, noteBkgColor: note, noteBorderColor: line, noteTextColor: text,
  labelBoxBkgColor: box, labelBoxBorderColor: edge, labelTextColor: text, loopTextColor: text,
  transitionColor: line, transitionLabelColor: text, stateBkg: box, stateLabelColor: text,
  labelBackgroundColor: group, compositeBackground: group, specialStateColor: line, innerEndBackground: line,
};
const settings = {
  startOnLoad: false,
  securityLevel: "strict",
  theme: "base",
  look: "classic",
  themeVariables,
  // The widest of the common fonts: in any other, the text has room.
  fontFamily: "DejaVu Sans",
  htmlLabels: false,
  flowchart: { htmlLabels: false, useMaxWidth: false, nodeSpacing: 24, rankSpacing: 36 },
  sequence: { useMaxWidth: false, mirrorActors: false },
  state: { useMaxWidth: false },
};

const sources = new Map();
const pages = readdirSync(join(root, "docs"), { recursive: true }).filter((name) => name.endsWith(".md"));
for (const page of pages) {
  for (const [, source] of readFileSync(join(root, "docs", page), "utf8").matchAll(/^```mermaid\n(.*?)\n```$/gms)) {
    sources.set(createHash("sha256").update(source.trim()).digest("hex").slice(0, 12), source);
  }
}
for (const file of readdirSync(here).filter((name) => name.endsWith(".svg"))) {
  if (!sources.has(file.replace(".svg", ""))) rmSync(join(here, file));
}

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
const page = await browser.newPage();
await page.setContent("<!doctype html><body></body>");
await page.addScriptTag({ path: mermaid });
await page.evaluate((settings) => window.mermaid.initialize(settings), settings);
for (const [name, source] of sources) {
  let drawn = await page.evaluate(draw, [`drawing-${name}`, source]);
  for (const [colour, variable] of Object.entries(COLOURS)) {
    const [r, g, b] = colour.match(/[0-9a-f]{2}/g).map((two) => parseInt(two, 16));
    drawn = drawn.replaceAll(colour, variable).replaceAll(`rgb(${r}, ${g}, ${b})`, variable);
  }
  writeFileSync(join(here, `${name}.svg`), `${drawn}\n`);
  console.log(`docs/diagrams/${name}.svg`);
}
await browser.close();

/** Runs in the page: one drawing, without the rules of its style sheet that style nothing. */
async function draw([id, source]) {
  const { svg } = await window.mermaid.render(id, source);
  document.body.innerHTML = svg;
  const drawing = document.body.firstElementChild;
  const style = drawing.querySelector("style");
  const used = [...style.sheet.cssRules].filter((rule) => rule.selectorText && document.querySelector(rule.selectorText));
  style.textContent = used.map((rule) => rule.cssText.replace(/font-family:[^;]*;/g, "font-family: inherit;")).join("\n");
  for (const each of drawing.querySelectorAll("[font-family]")) each.removeAttribute("font-family");
  for (const each of drawing.querySelectorAll("[style]")) each.style.fontFamily = "";
  return new XMLSerializer().serializeToString(drawing);
}
