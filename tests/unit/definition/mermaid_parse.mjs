// Parses every diagram of a JSON list with the real mermaid, and prints what it understood, as a JSON list.
import { readFileSync } from "node:fs";
import { JSDOM } from "jsdom";

// mermaid cleans labels with DOMPurify, which wants a document.
const { window } = new JSDOM("");
globalThis.window = window;
globalThis.document = window.document;
const { default: mermaid } = await import("mermaid");
mermaid.initialize({ startOnLoad: false });
// The first call of the public parser makes the kinds of diagrams known.
await mermaid.parse("stateDiagram-v2\n    [*] --> a");

// As mermaid itself does when it draws a label.
const decoded = (text) =>
  text.replace(/ﬂ°°(\d+)¶ß/g, (_, code) => String.fromCodePoint(Number(code)));

const results = [];
for (const text of JSON.parse(readFileSync(0, "utf8"))) {
  try {
    const { db } = await mermaid.mermaidAPI.getDiagramFromText(text);
    results.push({
      states: [...db.getStates()].map(([id, state]) => [id, state.descriptions.map(decoded)]),
      edges: db.getRelations().map(({ id1, id2, relationTitle }) => [id1, id2, decoded(relationTitle ?? "")]),
    });
  } catch (error) {
    results.push({ error: String(error) });
  }
}
process.stdout.write(JSON.stringify(results));
