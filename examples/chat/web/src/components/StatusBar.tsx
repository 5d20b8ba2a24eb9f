import { useState } from "react";
import type { ServerInfo, StreamStatus } from "../api";
import { KEPT, type Outage } from "../useChatSession";
import type { StoryEvent, Tone } from "../useStory";
import type { Reach } from "../useStreamStatus";
import { Chevron } from "./icons";

type Props = {
  reach: Reach;
  outage: Outage | null;
  busy: boolean;
  /** The answer has begun to appear. */
  begun: boolean;
  /** The answer has asked the user whether a call may run. */
  asks: boolean;
  /** Milliseconds from the last question to the first chunk of its answer. */
  latency: number | null;
  status: StreamStatus | null;
  story: StoryEvent[];
  info: ServerInfo | null;
  /** The process that writes or wrote the last answer. */
  writer: number | undefined;
};

const REACH_LABELS: Record<Reach, string> = { connected: "Connected", reconnecting: "Reconnecting…", offline: "Offline" };
const BACKENDS: Record<string, string> = { sqlite: "SQLite", postgresql: "PostgreSQL", memory: "memory" };

/** The current state in one sentence, and how it bodes: a lasting problem comes before the latest event. */
function headline({ reach, outage, busy, begun, asks, status, story }: Props): { text: string; tone: Tone } {
  if (reach === "offline") return { text: "Cannot reach the server. The page will reconnect on its own.", tone: "bad" };
  if (outage) return { text: begun ? `${outage.text} ${KEPT}` : outage.text, tone: "calm" };
  if (busy && status && status.state === "open" && status.attempt > 1) return { text: "The server stopped in mid-answer. Another one took the answer over.", tone: "good" };
  if (asks && !busy) return { text: "The answer waits for your decision.", tone: "calm" };
  return story.at(-1) ?? { text: "Every word of an answer is stored before it is shown.", tone: "good" };
}

export function StatusBar(props: Props) {
  const { reach, latency, status, story, info, writer } = props;
  const [open, setOpen] = useState(false);
  const { text, tone } = headline(props);
  return (
    <section className="status" aria-label="Stream status">
      <p className={`headline ${reach} ${tone}`} role="status">
        {text}
      </p>
      <button type="button" className="details-button" aria-expanded={open} aria-controls="details" onClick={() => setOpen(!open)}>
        Details
        <Chevron />
      </button>
      <div className="details" id="details" role="region" aria-label="Details" tabIndex={0} hidden={!open}>
        <dl>
          <Fact name="connection" value={reach}>
            {REACH_LABELS[reach]}
          </Fact>
          <Fact name="version" value={status?.version ?? ""}>
            {status?.version ?? "none yet"}
          </Fact>
          {latency !== null && <Fact name="first chunk">{`after ${(latency / 1000).toFixed(1)} s`}</Fact>}
          <Fact name="chunks" value={status?.chunks ?? 0} label="stored chunks">
            {status?.chunks ?? 0}
          </Fact>
          {info && (
            <>
              <Fact name="process" value={writer ?? info.pid}>
                {writer ? `${writer} wrote the answer` : `${info.pid} serves this page`}
              </Fact>
              <Fact name="model">{info.model}</Fact>
              <Fact name="database">{BACKENDS[info.backend] ?? info.backend}</Fact>
            </>
          )}
        </dl>
        {story.length > 0 && <Log story={story} />}
      </div>
    </section>
  );
}

type FactProps = { name: string; value?: string | number; label?: string; children: string | number };

function Fact({ name, value, label = name, children }: FactProps) {
  return (
    <div>
      <dt>{label}</dt>
      <dd data-testid={`status-${name}`} data-value={value}>
        {children}
      </dd>
    </div>
  );
}

function Log({ story }: { story: StoryEvent[] }) {
  return (
    <>
      <h2>What happened</h2>
      <ol>
        {story.toReversed().map((event) => (
          <li key={event.id} className={event.tone}>
            <time dateTime={event.at.toISOString()}>{event.at.toLocaleTimeString([], { hour12: false })}</time>
            {event.text}
          </li>
        ))}
      </ol>
    </>
  );
}
