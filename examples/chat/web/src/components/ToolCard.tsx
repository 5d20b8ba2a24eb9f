import { type DynamicToolUIPart, getToolName, type ToolUIPart, type UITools } from "ai";
import { Chevron, Wrench } from "./icons";

type ToolPart = DynamicToolUIPart | ToolUIPart<UITools>;
type Look = { label: string; tone: "running" | "good" | "bad" | "calm" };

function lookOf(part: ToolPart, active: boolean, decidable: boolean): Look {
  switch (part.state) {
    case "input-streaming":
      return active ? { label: "Preparing", tone: "running" } : { label: "Unfinished", tone: "calm" };
    case "input-available":
      return active ? { label: "Running", tone: "running" } : { label: "Unfinished", tone: "calm" };
    case "output-available":
      return part.preliminary && active ? { label: "Running", tone: "running" } : { label: "Done", tone: "good" };
    case "output-error":
      return { label: "Failed", tone: "bad" };
    case "output-denied":
      return { label: "Denied", tone: "bad" };
    case "approval-requested":
      return { label: active || decidable ? "Needs approval" : "Not decided", tone: "calm" };
    case "approval-responded":
      return { label: part.approval.approved ? "Approved" : "Declined", tone: "calm" };
  }
}

type Props = { part: ToolPart; active: boolean; onDecide?: (approvalId: string, approved: boolean) => void };

/** A call in words; its tool, input and output are shown on demand, and before the user decides. */
export function ToolCard({ part, active, onDecide }: Props) {
  const decidable = part.state === "approval-requested" && onDecide !== undefined;
  const { label, tone } = lookOf(part, active, decidable);
  const name = part.title ?? inWords(getToolName(part));
  return (
    <div className="tool" role="group" data-testid="tool-card" data-state={part.state} aria-label={`${name}: ${label}`}>
      <details open={decidable}>
        <summary>
          <Wrench />
          <strong>{name}</strong>
          <span className={`pill ${tone}`}>{label}</span>
          <Chevron />
        </summary>
        <Row label="Tool" value={getToolName(part)} />
        <Row label="Input" value={part.input} />
        {part.state === "output-available" && <Row label="Output" value={part.output} />}
      </details>
      {part.state === "approval-requested" && onDecide && (
        <div className="tool-choice">
          <button type="button" className="button primary" onClick={() => onDecide(part.approval.id, true)}>
            Allow
          </button>
          <button type="button" className="button" onClick={() => onDecide(part.approval.id, false)}>
            Decline
          </button>
        </div>
      )}
      {part.state === "output-error" && <Row label="Error" value={part.errorText} />}
    </div>
  );
}

/** The name of a tool as a visitor reads it: "search_flights", "searchFlights" and "mcp__travel__search_flights" are "Search flights". */
function inWords(name: string): string {
  const own = name.split(/__|[.:/]/).findLast(Boolean) ?? name;
  const spaced = own.replace(/([a-z0-9])([A-Z])/g, "$1 $2").replace(/([A-Z])([A-Z][a-z])/g, "$1 $2");
  const words = spaced.split(/[\s_-]+/).filter(Boolean);
  const isAbbreviation = (word: string) => /^[A-Z]{2,}$/.test(word) && /[a-z]/.test(own);
  const text = words.map((word) => (isAbbreviation(word) ? word : word.toLowerCase())).join(" ");
  return text.charAt(0).toUpperCase() + text.slice(1) || name;
}

function Row({ label, value }: { label: string; value: unknown }) {
  if (value === undefined || JSON.stringify(value) === "{}") return null;
  return (
    <div className="tool-row">
      <span>{label}</span>
      <Value value={structured(value)} />
    </div>
  );
}

/** Tools often answer with JSON in a string. */
function structured(value: unknown): unknown {
  if (typeof value !== "string" || !/^\s*[[{]/.test(value)) return value;
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

function Value({ value }: { value: unknown }) {
  if (isFlatRecord(value)) {
    return (
      <dl>
        {Object.entries(value).map(([key, entry]) => (
          <div key={key}>
            <dt>{key}</dt>
            <dd>{typeof entry === "string" ? entry : JSON.stringify(entry)}</dd>
          </div>
        ))}
      </dl>
    );
  }
  return <pre>{typeof value === "string" ? value : JSON.stringify(value, null, 2)}</pre>;
}

/** True for an object that reads well with one line per entry, as most tool inputs and outputs do. */
function isFlatRecord(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const entries = Object.values(value);
  const short = (entry: unknown) => typeof entry !== "object" || JSON.stringify(entry).length <= 40;
  return entries.length > 0 && entries.length <= 12 && entries.every(short);
}
